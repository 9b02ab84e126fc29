"""A rolling window of the newest bars of one symbol, in memory, safe to read while it is fed."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from crucible.market.bars import BAR_SCHEMA, PRICES, ceil_micros, from_micros, open_times, to_micros
from crucible.market.series import spans_where

_COLUMNS = (*PRICES, "volume")


class BarWindow:
    """The newest ``capacity`` closed bars; one slot per interval, so a missing bar is an empty slot.

    Parameters
    ----------
    interval : timedelta
        Length of a bar.
    capacity : int
        How many intervals are kept.
    """

    def __init__(self, interval: timedelta, capacity: int) -> None:
        self.interval = interval
        self.capacity = capacity
        self._step = interval // timedelta(microseconds=1)
        self._lock = threading.Lock()
        self._values = np.full((capacity, len(_COLUMNS)), np.nan)
        self._own = np.zeros(capacity, dtype=bool)
        self._absent = np.zeros(capacity, dtype=bool)  # the source was asked, and has no bar here
        self._end: int | None = None  # open time, in micros, of the slot after the newest

    @property
    def newest_close(self) -> datetime | None:
        """When the newest bar closed, UTC; None while there is none."""
        with self._lock:
            return None if self._end is None else from_micros(self._end)

    def put(self, bars: pa.Table, *, own: bool = True) -> int:
        """Take in closed bars, in any order; bars older than the window are passed over.

        Parameters
        ----------
        bars : pyarrow.Table
            ``BAR_SCHEMA``.
        own : bool
            Whether they are the series' own source's. Another source's bars only go into empty slots.

        Returns
        -------
        int
            How many bars replaced others with different values: the source has revised them.
        """
        if not bars.num_rows:
            return 0
        times = open_times(bars)
        values = np.column_stack([bars[name].to_numpy() for name in _COLUMNS])
        with self._lock:
            self._reach(int(times.max()) + self._step)
            slots = (times - self._first()) // self._step
            inside = slots >= 0
            slots, values = slots[inside], values[inside]
            if not own:
                empty = np.isnan(self._values[slots, 0])
                slots, values = slots[empty], values[empty]
            before = self._values[slots]
            revised = self._own[slots] & (before != values).any(axis=1) & ~np.isnan(before[:, 0])
            self._values[slots] = values
            self._own[slots] = own
            self._absent[slots] = False
            return int(revised.sum())

    def holes(self, end: datetime) -> list[tuple[datetime, datetime]]:
        """Return the ranges ``[start, end)`` of open times that lack, from the window's beginning up to ``end``.

        Slots with another source's bar count as lacking: our own source may have it by now. Those of which
        :meth:`note_absent` was told do not.
        """
        stop = ceil_micros(end, self.interval)
        with self._lock:
            first = max(stop, self._end or stop) - self.capacity * self._step
            count = (stop - first) // self._step
            lacking = np.ones(max(count, 0), dtype=bool)
            if self._end is not None:
                known = np.flatnonzero(self._own | self._absent) * self._step + self._first()
                slots = (known - first) // self._step
                lacking[slots[(slots >= 0) & (slots < count)]] = False
        return spans_where(lacking, first, self._step)

    def note_absent(self, start: datetime) -> None:
        """Take note that the source was asked for everything from ``start`` on: it has no bar where none is here."""
        with self._lock:
            if self._end is None:
                return
            times = self._first() + np.arange(self.capacity, dtype=np.int64) * self._step
            self._absent |= (times >= to_micros(start)) & ~self._own

    def bars(self, start: datetime, end: datetime) -> pa.Table:
        """Return the bars with ``start <= open_time < end``, ascending; what is missing is not there."""
        with self._lock:
            if self._end is None:
                return BAR_SCHEMA.empty_table()
            times = self._first() + np.arange(self.capacity, dtype=np.int64) * self._step
            there = ~np.isnan(self._values[:, 0]) & (times >= to_micros(start)) & (times < to_micros(end))
            values = self._values[there]
        opened = pa.array(times[there]).cast(BAR_SCHEMA.field(0).type)
        return pa.table([opened, *(pa.array(column) for column in values.T.copy())], schema=BAR_SCHEMA)

    def grow(self, capacity: int) -> None:
        """Keep at least ``capacity`` intervals from now on."""
        with self._lock:
            extra = capacity - self.capacity
            if extra > 0:
                self._values = np.vstack([np.full((extra, len(_COLUMNS)), np.nan), self._values])
                self._own = np.concatenate([np.zeros(extra, dtype=bool), self._own])
                self._absent = np.concatenate([np.zeros(extra, dtype=bool), self._absent])
                self.capacity = capacity

    def _first(self) -> int:
        assert self._end is not None
        return self._end - self.capacity * self._step

    def _reach(self, end: int) -> None:
        if self._end is None:
            self._end = end
            return
        shift = (end - self._end) // self._step
        if shift <= 0:
            return
        self._end = end
        for column, empty in ((self._values, np.nan), (self._own, False), (self._absent, False)):
            kept = column[shift:].copy() if shift < self.capacity else column[:0].copy()
            column[: len(kept)] = kept
            column[len(kept) :] = empty
