"""Longer bars made of shorter ones, on UTC boundaries or on a grid that is shifted against them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa

from crucible.duration import format_duration
from crucible.errors import SchemaError
from crucible.market.bars import BAR_SCHEMA, to_micros

# one thread per connection: the order of additions, and so the last bit of a volume, never changes.
# arg_min and arg_max take the first open and the last close by time, in whatever order the rows come
_QUERY = """
SELECT make_timestamp(bar * {length} + {offset}) AS open_time,
       arg_min(open, micros) AS open, max(high) AS high, min(low) AS low, arg_max(close, micros) AS close,
       sum(volume) AS volume, count(*) AS parts
FROM (SELECT *, epoch_us(open_time) AS micros, (epoch_us(open_time) - {offset}) // {length} AS bar FROM bars)
GROUP BY bar
ORDER BY bar
"""


@dataclass(frozen=True)
class Resampled:
    """Longer bars.

    Attributes
    ----------
    bars : pyarrow.Table
        The complete ones, ``BAR_SCHEMA``, ascending.
    incomplete : int
        How many had closed, but lacked too many of their parts; they are not among ``bars``.
    """

    bars: pa.Table
    incomplete: int


def resample(
    bars: pa.Table,
    base: timedelta,
    interval: timedelta,
    *,
    offset: timedelta = timedelta(0),
    complete: float = 1.0,
    closed_at: datetime | None = None,
) -> Resampled:
    """Return bars of length ``interval``.

    Parameters
    ----------
    bars : pyarrow.Table
        Closed bars of length ``base``, ``BAR_SCHEMA``; bars may be missing, and their order does not matter.
    base, interval : timedelta
        ``interval`` is a multiple of ``base``.
    offset : timedelta
        How far the grid is shifted: with 3 minutes, hourly bars open and close at three past. A multiple of ``base``.
    complete : float
        The least share of its parts that a bar needs, above 0 and at most 1. A bar with fewer is left out, and so is
        never a feature: an hour of which one minute is known is not an hour.
    closed_at : datetime, optional
        The present: only bars that have closed by then. By default the close of the newest part, which is right
        for a history and careful for the newest bar.

    Raises
    ------
    SchemaError
        If the lengths do not fit one another.
    """
    if interval % base or offset % base or not timedelta(0) <= offset < interval:
        raise SchemaError(
            f"Bars of {format_duration(interval)} shifted by {offset} cannot be made of bars of "
            f"{format_duration(base)}; both must be multiples of it, and the shift shorter than the bar."
        )
    if not 0 < complete <= 1:
        raise SchemaError(f"A bar can be complete to a share above 0 and at most 1, not {complete}.")
    if not bars.num_rows or (interval == base and not offset):
        return Resampled(bars, 0)
    micros = timedelta(microseconds=1)
    length, shift = interval // micros, offset // micros
    naive = bars.set_column(0, "open_time", bars["open_time"].cast(pa.timestamp("us")))
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        connection.register("bars", naive)
        found = connection.sql(_QUERY.format(length=length, offset=shift)).to_arrow_table()
    opened = found["open_time"].cast(pa.int64()).to_numpy()
    if closed_at is None:
        newest = bars["open_time"].cast(pa.int64()).to_numpy().max() + base // micros
    else:
        newest = to_micros(closed_at.astimezone(UTC))
    closed = opened + length <= newest
    enough = found["parts"].to_numpy() >= math.ceil(complete * (interval // base) - 1e-9)
    table = found.drop_columns(["parts"]).filter(pa.array(closed & enough)).cast(_naive_schema())
    table = table.set_column(0, BAR_SCHEMA.field(0), table["open_time"].cast(BAR_SCHEMA.field(0).type))
    return Resampled(table.cast(BAR_SCHEMA), int((closed & ~enough).sum()))


def _naive_schema() -> pa.Schema:
    return pa.schema([pa.field("open_time", pa.timestamp("us")), *[pa.field(f.name, f.type) for f in BAR_SCHEMA][1:]])
