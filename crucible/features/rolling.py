"""Aggregates over the last n bars, in one pass whatever n is.

A frame is cut into blocks of n bars, counted from 1970-01-01T00:00Z and not from where the data begin. A window of n
bars then is the end of one block and the beginning of the next, and an aggregate of it is one running aggregate from
the left and one from the right (van Herk 1992). Nothing is ever subtracted, so nothing cancels; and the live tail adds
the same numbers in the same order as the whole history, so both get the same bits. A missing value anywhere in a window
makes the aggregate missing, and no other.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray


@dataclass
class Rolling:
    """Aggregates over columns of one frame.

    Parameters
    ----------
    first : int
        Number of the frame's first bar, counted in bars since 1970-01-01T00:00Z.
    rows : int
        Bars in the frame, missing ones included.
    """

    first: int
    rows: int
    _sums: dict[tuple[str, int], Array] = field(default_factory=dict, repr=False)
    _locks: dict[tuple[str, int], threading.Lock] = field(default_factory=dict, repr=False)

    def sum(self, name: str, values: Array, n: int) -> Array:
        """Return the sum over the last n bars, shape (rows,); ``name`` tells equal columns apart from others."""
        key = name, n
        with self._locks.setdefault(key, threading.Lock()):  # two features that want the same sum wait for one
            if key not in self._sums:
                left, right = self._sides(values, n, np.add, 0.0)
                self._sums[key] = self._met(left, right, n, np.add)
            return self._sums[key]

    def extreme(self, values: Array, n: int, pick: np.ufunc) -> Array:
        """Return the least (``np.minimum``) or greatest (``np.maximum``) over the last n bars."""
        none = np.inf if pick is np.minimum else -np.inf
        left, right = self._sides(values, n, pick, none)
        return self._met(left, right, n, pick)

    def fade(self, values: Array, n: int, half_lives: float) -> Array:
        """Return the sum over the last n bars with weights that halve ``half_lives`` times within the window.

        The newest bar has weight 1, one of age k has ``0.5 ** (half_lives * k / n)``.
        """
        position = (self.first + np.arange(self.rows)) % n
        shrinking = 0.5 ** (half_lives * np.arange(n) / n)
        shrunk = shrinking[position]
        left, right = self._sides(values * (1.0 / shrinking)[position], n, np.add, 0.0)
        # an age that reaches back into the block before is n more than the positions say
        return self._met(left * shrunk, right, n, np.add, weight=shrunk * 0.5**half_lives)

    def ranked(self, values: Array, n: int, power: int, name: str) -> Array:
        """Return ``sum(k ** power * value)`` over the last n bars, where k is the bar's age: 0 for the newest."""
        if power == 0:
            return self.sum(name, values, n)
        here = ((self.first + np.arange(self.rows)) % n).astype(np.float64)
        total = np.zeros(self.rows)
        # age = here - there, and "there" is n less in the block before: expand the power of the difference
        for exponent in range(power + 1):
            left, right = self._sides(values * here**exponent, n, np.add, 0.0)
            rest = power - exponent
            term = self._met(left * here**rest, right, n, np.add, weight=(here + n) ** rest)
            total += (-1.0) ** exponent * math.comb(power, exponent) * term
        return total

    def ago(self, values: Array, n: int) -> Array:
        """Return the value n bars ago."""
        out = np.full(self.rows, np.nan)
        if n < self.rows:
            out[n:] = values[: self.rows - n]
        return out

    def _sides(self, values: Array, n: int, combine: np.ufunc, none: float) -> tuple[Array, Array]:
        """Return the running aggregate of each block from its left end, and from its right end."""
        before = self.first % n
        end = before + self.rows
        whole = np.empty(end + -end % n)
        whole[:before], whole[before:end], whole[end:] = none, values, none
        # a column of the transposed blocks is one bar of every block: added as vectors, one bar after the other
        bars = np.ascontiguousarray(whole.reshape(-1, n).T)
        left, right = np.empty_like(bars), np.empty_like(bars)
        left[0], right[-1] = bars[0], bars[-1]
        for k in range(1, n):
            combine(left[k - 1], bars[k], out=left[k])
            combine(right[-k], bars[-k - 1], out=right[-k - 1])
        return left.T.reshape(-1)[before:end], right.T.reshape(-1)[before:end]

    def _met(self, left: Array, right: Array, n: int, combine: np.ufunc, weight: Array | None = None) -> Array:
        """Return the aggregate of each window: from the block's beginning, and from the end of the one before."""
        out = np.empty(self.rows)
        out[: n - 1] = np.nan
        if n > self.rows:
            return out
        tail = right[: self.rows - n + 1]
        combine(left[n - 1 :], tail if weight is None else tail * weight[n - 1 :], out=out[n - 1 :])
        # a window that is exactly one block is whole on the left side already
        exact = n - 1 + -(self.first + n) % n
        out[exact::n] = left[exact::n]
        return out


def moments(rolling: Rolling, name: str, values: Array, n: int, order: int) -> tuple[Array, ...]:
    """Return the mean over the last n bars, and the central moments (divided by n) from the second to ``order``."""
    raw, power = [], values
    for k in range(1, order + 1):
        raw.append(rolling.sum(name if k == 1 else f"({name})^{k}", power, n) / n)
        power = power * values if k < order else power
    mean = raw[0]
    with np.errstate(invalid="ignore"):
        central = [np.maximum(raw[1] - mean**2, 0.0)]
        if order > 2:
            central.append(raw[2] - 3 * mean * raw[1] + 2 * mean**3)
        if order > 3:
            central.append(raw[3] - 4 * mean * raw[2] + 6 * mean**2 * raw[1] - 3 * mean**4)
    return (mean, *central)
