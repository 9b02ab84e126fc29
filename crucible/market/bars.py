"""The bar table: its columns, and the one check that every bar passes before it is stored or used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crucible.duration import format_duration
from crucible.errors import SchemaError

PRICES = ("open", "high", "low", "close")

BAR_SCHEMA: pa.Schema = pa.schema(
    [
        pa.field("open_time", pa.timestamp("us", "UTC"), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in (*PRICES, "volume")),
    ]
)
"""``open_time`` is the instant at which the bar opens, UTC; prices are in the quote currency, volume in the base one.

A bar covers ``[open_time, open_time + interval)`` and exists only once that instant has passed.
"""


def check_bars(table: pa.Table, interval: timedelta, origin: str) -> pa.Table:
    """Return ``table`` as :data:`BAR_SCHEMA`: sorted, on the interval's grid, every number usable.

    Other columns are dropped. Missing bars are legal here: a gap is reported by whoever needs the bars.

    Parameters
    ----------
    table : pyarrow.Table
        At least the columns of :data:`BAR_SCHEMA`; ``open_time`` with a time zone.
    interval : timedelta
        Length of a bar; bars open at multiples of it since 1970-01-01T00:00Z.
    origin : str
        What to call the table in messages, usually a path.

    Raises
    ------
    SchemaError
        In one sentence: the first fault, and the row (counted from 0) where it is.
    """
    for field in BAR_SCHEMA:
        if field.name not in table.column_names:
            raise SchemaError(f"{origin} has no column {field.name!r}; it has: {', '.join(table.column_names)}.")
    if table.num_rows == 0:
        raise SchemaError(f"{origin} holds no bars.")
    bars = pa.table([_column(table, field, origin) for field in BAR_SCHEMA], schema=BAR_SCHEMA)
    _check_times(open_times(bars), interval, origin)
    _check_numbers(bars, origin)
    return bars


def open_times(bars: pa.Table) -> np.ndarray:
    """Return the open times of ``bars`` as microseconds since 1970-01-01T00:00Z, int64, shape (n,)."""
    # not by to_numpy(), which imports pandas if it is installed: a fifth of a second in a cold process
    parts = [np.from_dlpack(chunk.view(pa.int64())) for chunk in bars["open_time"].chunks if len(chunk)]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype=np.int64), *parts])


def to_micros(instant: datetime) -> int:
    """Return ``instant`` as whole microseconds since 1970-01-01T00:00Z."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """Return the UTC instant that is ``micros`` microseconds after 1970-01-01T00:00Z."""
    return _EPOCH + timedelta(microseconds=int(micros))


def floor_time(instant: datetime, interval: timedelta) -> datetime:
    """Return the last multiple of ``interval`` at or before ``instant``, UTC."""
    return instant.astimezone(UTC) - (instant - _EPOCH) % interval


def ceil_micros(instant: datetime, interval: timedelta) -> int:
    """Return the first multiple of ``interval`` at or after ``instant``, in microseconds since 1970-01-01T00:00Z."""
    step = interval // timedelta(microseconds=1)
    return -(-to_micros(instant) // step) * step


def empty_bars() -> pa.Table:
    """Return a bar table without rows."""
    return BAR_SCHEMA.empty_table()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _column(table: pa.Table, field: pa.Field, origin: str) -> pa.ChunkedArray:
    column = table[field.name]
    if field.name == "open_time":
        if not pa.types.is_timestamp(column.type) or column.type.tz is None:
            raise SchemaError(f"{origin}: open_time is {column.type}; it must be a timestamp with a time zone.")
    elif not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise SchemaError(f"{origin}: column {field.name!r} is {column.type}; it must be numeric.")
    if column.null_count:
        raise SchemaError(f"{origin}: column {field.name!r} is empty in row {_first(pc.is_null(column).to_numpy())}.")
    try:
        column = column.cast(field.type)
    except pa.ArrowInvalid as error:
        raise SchemaError(f"{origin}: column {field.name!r} does not fit {field.type}: {error}.") from error
    # minus zero is zero, so that equal bars are equal bytes
    return pc.add(column, 0.0) if field.name == "volume" else column


def _check_times(times: np.ndarray, interval: timedelta, origin: str) -> None:
    step = np.diff(times)
    if (step < 0).any():
        row = _first(step < 0) + 1
        raise SchemaError(
            f"{origin} is not sorted: row {row} opens at {_iso(times[row])}, before the row above it; "
            "sort it by open_time."
        )
    if (step == 0).any():
        row = _first(step == 0) + 1
        raise SchemaError(f"{origin} holds the bar of {_iso(times[row])} twice (row {row}); remove one.")
    off = times % (interval // timedelta(microseconds=1)) != 0
    if off.any():
        row = _first(off)
        raise SchemaError(
            f"{origin}: row {row} opens at {_iso(times[row])}, which is not on the grid "
            f"of {format_duration(interval)} bars; is the interval right?"
        )


def _check_numbers(bars: pa.Table, origin: str) -> None:
    values = {name: bars[name].to_numpy() for name in (*PRICES, "volume")}
    for name, column in values.items():
        bad = ~np.isfinite(column) | ((column <= 0) if name in PRICES else (column < 0))
        if bad.any():
            row = _first(bad)
            need = "above 0" if name in PRICES else "0 or more"
            raise SchemaError(f"{origin}: {name} is {column[row]} in row {row}; it must be a finite number {need}.")
    low_side = np.minimum(values["open"], values["close"])
    high_side = np.maximum(values["open"], values["close"])
    bad = (values["low"] > low_side) | (values["high"] < high_side)
    if bad.any():
        row = _first(bad)
        numbers = ", ".join(f"{name} {values[name][row]}" for name in PRICES)
        raise SchemaError(f"{origin}: row {row} is impossible ({numbers}); low <= open, close <= high must hold.")


def _first(mask: np.ndarray) -> int:
    return int(np.argmax(mask))


def _iso(micros: int) -> str:
    return from_micros(micros).isoformat()
