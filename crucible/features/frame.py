"""Bars on an unbroken grid: one row per interval, NaN where a bar is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crucible.errors import DataError
from crucible.market.bars import PRICES, open_times

OWN = ("open", "high", "low", "close", "volume", "r", "r_before", "close_before")
"""Columns of the own symbol that an expression may name, besides ``t``."""

ACROSS = ("peers_r", "peers_up", "spread_r")
"""Columns over all symbols: mean return of the peers, share of them that rose, spread of returns, own one included."""


CLOCK = ("day_share", "week_share")
"""Columns of the clock, at the bar's close, UTC: how much of the day, and of the week since Monday, is over."""

_DAY = 86_400_000_000
_MONDAY = 3 * _DAY  # 1970 began on a Thursday


def base_columns(peers: Sequence[str]) -> tuple[str, ...]:
    """Return every column that an expression may name, for peers by their prefixes."""
    theirs = [f"{peer}_{name}" for peer in peers for name in OWN]
    return (*OWN, *CLOCK, *theirs, *(ACROSS if peers else ()))


@dataclass(frozen=True)
class Frame:
    """Bars on their grid.

    Attributes
    ----------
    times : numpy.ndarray
        Shape (n,), int64: bar closes, microseconds since 1970-01-01T00:00Z, evenly spaced.
    columns : dict of str to numpy.ndarray
        Those of :func:`base_columns`, each of shape (n,), float64.
    first : int
        Number of the first bar, counted in bars of this grid.
    """

    times: np.ndarray
    columns: dict[str, np.ndarray]
    first: int

    @classmethod
    def of(cls, bars: pa.Table, interval: timedelta, peers: Sequence[str] = ()) -> Frame:
        """Return the frame of ``bars`` (``BAR_SCHEMA``, ascending, on one grid of ``interval``, shifted or not).

        Bars of peers are further columns of the same table, see :func:`crucible.market.peers.join_peers`.

        Raises
        ------
        DataError
            If there are no bars, or those of a peer are not beside them.
        """
        if bars.num_rows == 0:
            raise DataError("There are no bars to compute features from.")
        step = interval // timedelta(microseconds=1)
        opened = open_times(bars)
        slots = (opened - opened[0]) // step
        rows = int(slots[-1]) + 1
        columns: dict[str, np.ndarray] = {}
        for prefix in ("", *(f"{peer}_" for peer in peers)):
            if f"{prefix}close" not in bars.column_names:
                raise DataError(f"The bars of {prefix.rstrip('_').upper()}, a peer, are not beside the own ones.")
            for name in (*PRICES, "volume"):
                values = np.concatenate([_numbers(chunk) for chunk in bars[prefix + name].chunks if len(chunk)])
                if rows != len(values):
                    spread, values = values, np.full(rows, np.nan)
                    values[slots] = spread
                columns[prefix + name] = values
            before = _before(columns[f"{prefix}close"])
            columns[f"{prefix}r"] = np.log(columns[f"{prefix}close"] / before)
            columns[f"{prefix}r_before"] = _before(columns[f"{prefix}r"])
            columns[f"{prefix}close_before"] = before
        if peers:
            columns |= _across(columns, peers)
        times = opened[0] + step * np.arange(1, rows + 1, dtype=np.int64)
        columns["day_share"] = times % _DAY / _DAY
        columns["week_share"] = (times + _MONDAY) % (7 * _DAY) / (7 * _DAY)
        return cls(times, columns, int(opened[0] // step))

    def part(self, low: int, high: int) -> Frame:
        """Return the rows from ``low`` to before ``high``."""
        columns = {name: values[low:high] for name, values in self.columns.items()}
        return Frame(self.times[low:high], columns, self.first + low)

    def row_of(self, micros: int) -> int | None:
        """Return the row that closes at ``micros``, if its bar is there."""
        row = int(np.searchsorted(self.times, micros))
        there = row < len(self.times) and self.times[row] == micros and np.isfinite(self.columns["close"][row])
        return row if there else None

    def to_arrow(self, names: tuple[str, ...], extra: dict[str, np.ndarray], rows: slice) -> pa.Table:
        """Return columns of the frame and ``extra`` ones as a table; NaN is null, ``t`` a timestamp without zone."""
        times = pa.array(self.times[rows]).view(pa.timestamp("us"))
        found = {name: self.columns[name][rows] for name in names} | {
            name: values[rows] for name, values in extra.items()
        }
        return pa.table({"t": times, **{name: _nullable(values) for name, values in found.items()}})


def _across(columns: dict[str, np.ndarray], peers: Sequence[str]) -> dict[str, np.ndarray]:
    theirs = np.stack([columns[f"{peer}_r"] for peer in peers])
    up = np.where(np.isnan(theirs), np.nan, theirs > 0)
    everyone = np.vstack([columns["r"], theirs])
    return dict(zip(ACROSS, (theirs.mean(axis=0), up.mean(axis=0), everyone.std(axis=0)), strict=True))


def _numbers(chunk: pa.Array) -> np.ndarray:
    return np.from_dlpack(pc.fill_null(chunk, np.nan) if chunk.null_count else chunk)


def _before(values: np.ndarray) -> np.ndarray:
    out = np.empty_like(values)
    out[:1] = np.nan
    out[1:] = values[:-1]
    return out


def _nullable(values: np.ndarray) -> pa.Array:
    missing = np.isnan(values)
    return pa.array(values, mask=missing if missing.any() else None)
