"""Columns of candles as numpy arrays, and several short candles made into one long one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

MINUTE_MS = 60_000


@dataclass(frozen=True)
class Candles:
    """Candles of one length, oldest first; every array has shape (n,).

    Attributes
    ----------
    time : numpy.ndarray
        int64, open times in milliseconds since 1970-01-01T00:00Z.
    open, high, low, close : numpy.ndarray
        float64, prices.
    volume : numpy.ndarray
        float64, base currency.
    """

    time: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray

    def __len__(self) -> int:
        return len(self.time)

    def columns(self) -> tuple[np.ndarray, ...]:
        """Return the six arrays in Binance's order."""
        return self.time, self.open, self.high, self.low, self.close, self.volume

    def rows(self, first: int, last: int) -> Self:
        """Return the candles ``[first, last)`` as views."""
        return type(self)(*(column[first:last] for column in self.columns()))

    def between(self, start_ms: int, end_ms: int) -> Self:
        """Return the candles with ``start_ms <= open time < end_ms``."""
        first, last = np.searchsorted(self.time, [start_ms, end_ms])
        return self.rows(int(first), max(int(first), int(last)))

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """Return the candles of all parts, one after the other."""
        return cls(*(np.concatenate(columns) for columns in zip(*(part.columns() for part in parts), strict=True)))

    @classmethod
    def none(cls) -> Self:
        """Return no candles."""
        return cls(np.empty(0, dtype=np.int64), *(np.empty(0) for _ in range(5)))

    def merge(self, base_ms: int, length_ms: int) -> Self:
        """Return candles of ``length_ms`` made of these, which are ``base_ms`` long.

        A long candle of which a part is missing is left out: nobody knows what it would have been.
        """
        if length_ms == base_ms or not len(self):
            return self
        slot = self.time // length_ms
        first = np.flatnonzero(np.diff(slot, prepend=slot[0] - 1))
        last = np.append(first[1:], len(slot)) - 1
        whole = last - first + 1 == length_ms // base_ms
        merged = (
            slot[first] * length_ms,
            self.open[first],
            np.maximum.reduceat(self.high, first),
            np.minimum.reduceat(self.low, first),
            self.close[last],
            np.add.reduceat(self.volume, first),
        )
        return type(self)(*(column[whole] for column in merged))
