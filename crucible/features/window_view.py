"""The Forge kit's features: the last n bars, prices over the last close and volumes over the last volume.

A window of n bars is 5 n neighbouring numbers of one table with a row per bar, so the matrix of all windows is that
table seen with other strides: it costs nothing to make. Windows are normalised when they are read, a batch at a time;
the dense matrix, which is n times as large as the bars, need never exist.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from crucible.errors import DataError
from crucible.features.frame import Frame
from crucible.market.bars import PRICES

_FIELDS = (*PRICES, "volume")
_BATCH = 512  # windows: what fits the cache


class WindowView:
    """All complete windows of n bars, lazily.

    Parameters
    ----------
    bars : pyarrow.Table
        ``BAR_SCHEMA``, ascending.
    interval : timedelta
        Length of a bar.
    n : int
        Bars per window.

    Attributes
    ----------
    times : numpy.ndarray
        Shape (m,), ``datetime64[us]``, UTC: prediction times, the close of each window's newest bar. A window that
        misses a bar, or whose newest bar had no volume, is not among them.
    names : tuple of str
        The 5 n columns: ``open_0, high_0, low_0, close_0, volume_0`` are those of the oldest bar.

    Raises
    ------
    DataError
        If there are fewer bars than a window has.
    """

    def __init__(self, bars: pa.Table, interval: timedelta, n: int) -> None:
        frame = Frame.of(bars, interval)
        if len(frame.times) < n:
            raise DataError(f"A window has {n} bars, and there are {len(frame.times)}.")
        self.n = n
        self.names = tuple(f"{name}_{age}" for age in range(n) for name in _FIELDS)
        self._table = np.ascontiguousarray(np.column_stack([frame.columns[name] for name in _FIELDS]))
        self._windows = np.lib.stride_tricks.as_strided(
            self._table,
            (len(frame.times) - n + 1, n, 5),
            (self._table.strides[0], *self._table.strides),
            writeable=False,
        )
        missing = np.concatenate([[0], np.cumsum(~np.isfinite(self._table).all(axis=1))])
        whole = missing[n:] == missing[:-n]
        with np.errstate(invalid="ignore"):
            self._rows = np.flatnonzero(whole & (self._table[n - 1 :, 4] > 0))
        self.times = frame.times[n - 1 :][self._rows].view("datetime64[us]")

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Windows, and columns."""
        return len(self._rows), 5 * self.n

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        """Return normalised windows, float64, shape (len(index), 5 n), or (5 n,) for a single one."""
        if isinstance(index, int | np.integer):
            return self._read(self._rows[[index]])[0]
        return self._read(self._rows[index])

    def dense(self, dtype: Any = np.float32) -> np.ndarray:
        """Return the whole matrix, shape (m, 5 n): n times as large as the bars; the view does without."""
        out = np.empty(self.shape, dtype=dtype)

        def fill(low: int) -> None:
            rows = self._rows[low : low + _BATCH]
            part = out[low : low + _BATCH].reshape(-1, self.n, 5)
            np.divide(self._windows[rows], self._scale(rows), out=part, casting="same_kind")

        with ThreadPoolExecutor(2) as pool:  # NumPy releases the interpreter's lock
            list(pool.map(fill, range(0, len(self), _BATCH)))
        return out

    def _read(self, rows: np.ndarray) -> np.ndarray:
        return (self._windows[rows] / self._scale(rows)).reshape(len(rows), -1)

    def _scale(self, rows: np.ndarray) -> np.ndarray:
        last = self._table[rows + self.n - 1]
        return np.concatenate([np.repeat(last[:, 3:4], 4, axis=1), last[:, 4:5]], axis=1)[:, None, :]


def as_sequence(view: WindowView, batch: int = 4096) -> Any:
    """Return the view as a LightGBM ``Sequence``: the data set is binned a batch at a time."""
    import lightgbm

    class _Windows(lightgbm.Sequence):
        batch_size = batch

        def __getitem__(self, index: int | slice | list[int]) -> np.ndarray:
            return view[np.asarray(index) if isinstance(index, list) else index]

        def __len__(self) -> int:
            return len(view)

    return _Windows()
