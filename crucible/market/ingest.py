"""Bars from sources into the store: only what is missing is asked for, of one source after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from crucible.errors import SourceError
from crucible.market.bars import ceil_micros, floor_time, to_micros
from crucible.market.ledger import Note, Span
from crucible.market.series import Gap, spans_where
from crucible.market.source import Source
from crucible.market.store import BarStore, Series

_LOG = logging.getLogger(__name__)
_PAGES_PER_WRITE = 20  # a partition is written whole each time, so pages are gathered first

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class IngestReport:
    """What an ingestion did.

    Attributes
    ----------
    requested_ranges : tuple of (datetime, datetime)
        The ranges ``[start, end)`` that were missing and were asked for.
    rows_new : int
        Bars that were not there before.
    rows_revised : int
        Bars that the source has changed since they were stored, or that replace another source's.
    rows_total : int
        Bars of the series afterwards.
    gaps : tuple of Gap
        Bars that are missing between the first and the last of the series.
    months : tuple of str
        Partitions that were written, as ``2026-01``.
    """

    requested_ranges: tuple[Span, ...]
    rows_new: int
    rows_revised: int
    rows_total: int
    gaps: tuple[Gap, ...]
    months: tuple[str, ...]


def ingest(
    sources: Sequence[Source],
    store: BarStore,
    series: Series,
    start: datetime,
    end: datetime,
    progress: Progress | None = None,
) -> IngestReport:
    """Bring the store up to date for ``start <= open_time < end``.

    Each missing range is offered to the sources in their order; what the first does not reach, or fails to answer, is
    offered to the next. What was fetched before a failure is kept, so the next call goes on from there. A range for
    which a source says that it has no bars is noted in the gap ledger and not asked for again. Where the newest
    stored bar is followed by new ones it is asked for once more, which finds a revision at no cost.

    Parameters
    ----------
    sources : sequence of Source
        Where bars come from. Those of another venue than the series' are passed over: see
        :func:`crucible.market.repair.fill`.
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
        If a range is left that a source failed to answer; the ledger then says so.
    StoreError, ProcessError
        If the store cannot be written.
    """
    missing = missing_ranges(store, series, start, end)
    fetching = _Fetching(store, series, sum((high - low) // series.interval for low, high in missing), progress)
    last = store.coverage(series).last
    errors: dict[str, SourceError] = {}
    for low, high in missing:
        again = low - series.interval if last is not None and low == last + series.interval else low
        left: list[Span] = [(again, high)]
        failed: list[Span] = []
        for source in _own(sources, series):
            if source.name in errors:
                failed = left
                continue
            left, error = fetching.take(source, left)
            if error is None:
                failed = []
            else:
                _LOG.warning("%s, bars of %s: %s", source.name, series, error)
                errors[source.name] = error
                failed = left
            if not left:
                break
        fetching.note_failure(failed, errors)
        fetching.finish((high - low) // series.interval)
    coverage = store.coverage(series)
    if fetching.failures:
        raise next(iter(errors.values()))
    return IngestReport(
        tuple(missing), fetching.rows_new, fetching.rows_revised, coverage.rows, coverage.gaps,
        tuple(sorted(fetching.months)),
    )  # fmt: skip


def missing_ranges(store: BarStore, series: Series, start: datetime, end: datetime) -> list[Span]:
    """Return the ranges of ``[start, end)`` that are neither stored nor known to be missing at the source itself.

    Bars that a repair took from another source count as missing: the series' own are asked for until they are there.
    """
    step = series.interval // timedelta(microseconds=1)
    first, stop = ceil_micros(start, series.interval), ceil_micros(end, series.interval)
    wanted = np.zeros(max((stop - first) // step, 0), dtype=bool)
    coverage = store.coverage(series)
    if coverage.first is None or coverage.last is None:
        wanted[:] = True
    else:
        # a full store is the usual case, and its manifests say so without a bar being read
        filled = [(item.start, item.end) for part in store.manifests(series).values() for item in part.filled]
        outside = [(start, coverage.first), (coverage.last + series.interval, end)]
        for low, high in [*outside, *((gap.start, gap.end) for gap in coverage.gaps), *filled]:
            wanted[_index(low, first, step) : _index(high, first, step)] = True
    for low, high in store.ledger(series).settled():
        wanted[_index(low, first, step) : _index(high, first, step)] = False
    return spans_where(wanted, first, step)


def history_span(now: datetime, history: timedelta, interval: timedelta) -> Span:
    """Return ``[start, end)`` of a history that ends with the newest bar closed at ``now``."""
    end = floor_time(now, interval)
    return end - history, end


def present(sources: Iterable[Source]) -> datetime:
    """Return the time by the first source that tells it.

    Raises
    ------
    SourceError
        If none does; what the first one said.
    """
    first: SourceError | None = None
    for source in sources:
        try:
            return source.now()
        except SourceError as error:
            first = first or error
    raise first or SourceError("There is no source to ask for the time.")


class _Fetching:
    """One ingestion under way: writes pages in batches, notes what lacks, and counts."""

    def __init__(self, store: BarStore, series: Series, expected: int, progress: Progress | None) -> None:
        self._store, self._series = store, series
        self._expected, self._progress = expected, progress
        self._done = 0
        self.rows_new = self.rows_revised = 0
        self.months: set[str] = set()
        self.failures = 0

    def take(self, source: Source, spans: Sequence[Span]) -> tuple[list[Span], SourceError | None]:
        """Fetch ``spans`` from ``source``; return what its pages did not cover, and what stopped it."""
        left: list[Span] = []
        for index, (low, high) in enumerate(spans):
            covered: list[Span] = []
            tables: list[pa.Table] = []
            error = None
            try:
                for page in source.bars(self._series.symbol, self._series.interval, low, high):
                    covered.append((page.start, page.end))
                    if page.bars.num_rows:
                        tables.append(page.bars)
                    if len(tables) == _PAGES_PER_WRITE:
                        self._write(tables, source)
                        tables = []
                    self._tell((page.end - low) // self._series.interval)
            except SourceError as fault:
                error = fault
            finally:
                if tables:
                    self._write(tables, source)
                self._note_absent(covered, source)
            left += _uncovered(low, high, covered)
            if error is not None:
                return [*left, *spans[index + 1 :]], error
        return left, None

    def note_failure(self, spans: Sequence[Span], errors: dict[str, SourceError]) -> None:
        """Write down that ``spans`` were asked for in vain."""
        self.failures += len(spans)
        name, error = next(iter(errors.items()), ("", None))
        self._store.ledger(self._series).add(
            Note(low, high, "failed fetch", name, self._store.clock.now(), str(error)) for low, high in spans
        )

    def finish(self, bars: int) -> None:
        """Count a range of so many bars as dealt with."""
        self._done += bars
        self._tell(0)

    def _tell(self, bars: int) -> None:
        if self._progress:
            self._progress(min(self._done + bars, self._expected), self._expected)

    def _write(self, tables: Sequence[pa.Table], source: Source) -> None:
        report = self._store.write(self._series, pa.concat_tables(tables), source=source.name)
        self.rows_new += report.rows_new
        self.rows_revised += report.rows_changed
        self.months.update(report.months)

    def _note_absent(self, covered: Sequence[Span], source: Source) -> None:
        first = self._store.coverage(self._series).first
        self._store.ledger(self._series).add(
            Note(low, high, "not listed" if first is None or high <= first else source.absence, source.name, now)
            for now in [self._store.clock.now()]
            for span in _joined(covered)
            for low, high in missing_ranges(self._store, self._series, *span)
        )


def _own(sources: Iterable[Source], series: Series) -> list[Source]:
    return [source for source in sources if source.venue == series.source]


def _index(instant: datetime, first: int, step: int) -> int:
    return max(-(-(to_micros(instant) - first) // step), 0)


def _joined(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for low, high in spans:
        if joined and low <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    return joined


def _uncovered(low: datetime, high: datetime, covered: Iterable[Span]) -> list[Span]:
    left, cursor = [], low
    for start, end in _joined(covered):
        if cursor < start:
            left.append((cursor, start))
        cursor = max(cursor, end)
    return [*left, (cursor, high)] if cursor < high else left
