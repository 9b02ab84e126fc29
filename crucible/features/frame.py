"""Bars on an unbroken grid: one row per interval, NaN where a bar is missing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa

from crucible.errors import DataError
from crucible.market.bars import PRICES, open_times


@dataclass(frozen=True)
class Frame:
    """Bars on their grid.

    Attributes
    ----------
    times : numpy.ndarray
        Shape (n,), int64: bar closes, microseconds since 1970-01-01T00:00Z, evenly spaced.
    columns : dict of str to numpy.ndarray
        ``open, high, low, close, volume, r, r_before, close_before``, each of shape (n,), float64.
    first : int
        Number of the first bar, counted in bars of this grid.
    """

    times: np.ndarray
    columns: dict[str, np.ndarray]
    first: int

    @classmethod
    def of(cls, bars: pa.Table, interval: timedelta) -> Frame:
        """Return the frame of ``bars`` (``BAR_SCHEMA``, ascending, on one grid of ``interval``, shifted or not).

        Raises
        ------
        DataError
            If there are no bars.
        """
        if bars.num_rows == 0:
            raise DataError("There are no bars to compute features from.")
        step = interval // timedelta(microseconds=1)
        opened = open_times(bars)
        slots = (opened - opened[0]) // step
        rows = int(slots[-1]) + 1
        columns = {}
        for name in (*PRICES, "volume"):
            values = np.concatenate([np.from_dlpack(chunk) for chunk in bars[name].chunks if len(chunk)])
            if rows == len(values):
                columns[name] = values
            else:
                columns[name] = np.full(rows, np.nan)
                columns[name][slots] = values
        before = _before(columns["close"])
        columns["r"] = np.log(columns["close"] / before)
        columns["r_before"] = _before(columns["r"])
        columns["close_before"] = before
        times = opened[0] + step * np.arange(1, rows + 1, dtype=np.int64)
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


def _before(values: np.ndarray) -> np.ndarray:
    out = np.empty_like(values)
    out[:1] = np.nan
    out[1:] = values[:-1]
    return out


def _nullable(values: np.ndarray) -> pa.Array:
    missing = np.isnan(values)
    return pa.array(values, mask=missing if missing.any() else None)
