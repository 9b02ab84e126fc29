"""History from a source into the store: only what is missing is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from crucible.market.bars import ceil_micros, floor_time, from_micros, open_times, to_micros
from crucible.market.series import Gap
from crucible.market.source import Source
from crucible.market.store import BarStore, Series

_PAGES_PER_WRITE = 20  # a partition is written whole each time, so pages are gathered first
Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class IngestReport:
    """What an ingestion did.

    Attributes
    ----------
    requested_ranges : tuple of (datetime, datetime)
        The ranges ``[start, end)`` that were missing and were asked for.
    rows_new : int
        Bars that were not there before.
    rows_total : int
        Bars of the series afterwards.
    gaps : tuple of Gap
        Bars that are missing between the first and the last of the series.
    """

    requested_ranges: tuple[Span, ...]
    rows_new: int
    rows_total: int
    gaps: tuple[Gap, ...]


def ingest(
    source: Source,
    store: BarStore,
    series: Series,
    start: datetime,
    end: datetime,
    progress: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """Bring the store up to date for ``start <= open_time < end``.

    What was fetched before a failure is kept, so the next call goes on from there. Where the source served later bars
    but none in between, it has none: such ranges are noted and not asked for again.

    Parameters
    ----------
    source : Source
        Where bars come from.
    store : BarStore
        Where they go.
    series : Series
        Which bars.
    start, end : datetime
        Aware instants; ``end`` may lie in the future, where no bar has closed.
    progress : callable, optional
        Called with (bars done, bars missing at first) after every page.

    Raises
    ------
    SourceError
        If the source fails.
    StoreError, ProcessError
        If the store cannot be written.
    """
    missing = missing_ranges(store, series, start, end)
    expected = sum((high - low) // series.interval for low, high in missing)
    done = rows_new = 0
    for low, high in missing:
        cursor = low
        pages: list[pa.Table] = []
        try:
            for page in source.bars(series.symbol, series.interval, low, high):
                pages.append(page)
                cursor = from_micros(int(open_times(page)[-1])) + series.interval
                if len(pages) == _PAGES_PER_WRITE:
                    rows_new += store.write(series, pa.concat_tables(pages)).rows_new
                    pages = []
                if progress:
                    progress(done + (cursor - low) // series.interval, expected)
        finally:
            if pages:
                rows_new += store.write(series, pa.concat_tables(pages)).rows_new
        done += (high - low) // series.interval
        _note_absent(store, series, low, cursor)
    if progress:
        progress(expected, expected)
    coverage = store.coverage(series)
    return IngestReport(tuple(missing), rows_new, coverage.rows, coverage.gaps)


def missing_ranges(store: BarStore, series: Series, start: datetime, end: datetime) -> list[Span]:
    """Return the ranges of ``[start, end)`` that are neither stored nor known to be absent at the source."""
    step = series.interval // timedelta(microseconds=1)
    first, stop = ceil_micros(start, series.interval), ceil_micros(end, series.interval)
    wanted = np.ones(max((stop - first) // step, 0), dtype=bool)
    times = store.times(series)
    inside = times[(times >= first) & (times < stop)]
    wanted[(inside - first) // step] = False
    for low, high in store.absent(series):
        wanted[max((to_micros(low) - first) // step, 0) : max((to_micros(high) - first) // step, 0)] = False
    edges = np.flatnonzero(np.diff(wanted.astype(np.int8), prepend=0, append=0))
    return [
        (from_micros(first + int(low) * step), from_micros(first + int(high) * step))
        for low, high in zip(edges[::2], edges[1::2], strict=True)
    ]


def history_span(now: datetime, history: timedelta, interval: timedelta) -> Span:
    """Return ``[start, end)`` of a history that ends with the newest bar closed at ``now``."""
    end = floor_time(now, interval)
    return end - history, end


def _note_absent(store: BarStore, series: Series, low: datetime, served_until: datetime) -> None:
    """Note what the source skipped before the last bar that it served."""
    holes: Sequence[Span] = missing_ranges(store, series, low, served_until)
    if holes:
        store.note_absent(series, holes)
