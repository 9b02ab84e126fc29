"""Mending gaps: the series' own source is asked again, then another one, whose bars must agree with ours around it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from crucible.errors import SourceError
from crucible.market.bars import empty_bars, open_times, to_micros
from crucible.market.ingest import ingest
from crucible.market.ledger import GapLedger, Note, Span
from crucible.market.quarantine import put_bars_aside
from crucible.market.series import spans_where
from crucible.market.source import Source
from crucible.market.store import BarStore, Gap, Series

_LOG = logging.getLogger(__name__)

TOLERANCE = 0.005
"""Largest difference between two sources' closes of the same bar, as |log ratio|: 0.5 %."""

_MARGIN = 24  # bars on either side that are compared
_LEAST = 3  # fewer bars in common prove nothing


@dataclass(frozen=True)
class OtherSource:
    """A source of another venue, and what the symbol is called there."""

    source: Source
    symbol: str


@dataclass
class RepairReport:
    """What a repair did.

    Attributes
    ----------
    asked : list of (datetime, datetime)
        The gaps ``[start, end)`` that were looked into.
    own : int
        Bars that the series' own source had after all.
    filled : dict of str to int
        Bars taken from other sources, by source.
    refused : list of str
        One sentence per gap that another source could have filled, and why it was not believed.
    left : int
        Bars still missing in these gaps.
    months : set of str
        Partitions that were written, as ``2026-01``.
    """

    asked: list[Span]
    own: int = 0
    filled: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    left: int = 0
    months: set[str] = field(default_factory=set)


def repair(
    own: Sequence[Source],
    others: Sequence[OtherSource],
    store: BarStore,
    series: Series,
    gaps: Sequence[Span],
    *,
    tolerance: float = TOLERANCE,
    progress: Callable[[int, int], None] | None = None,
) -> RepairReport:
    """Try to mend ``gaps`` of ``series``.

    Parameters
    ----------
    own : sequence of Source
        Sources of the series' venue, asked first, although the ledger says that they have nothing.
    others : sequence of OtherSource
        Asked for what is left then, in order; see :func:`fill`.
    store, series
        Which bars.
    gaps : sequence of (datetime, datetime)
        Which gaps ``[start, end)``.
    tolerance : float
        See :data:`TOLERANCE`.
    progress : callable, optional
        Called with (gaps done, gaps) after every gap.

    Raises
    ------
    StoreError, ProcessError
        If the store cannot be written. A source that fails is noted in the ledger, and the next one is asked.
    """
    report = RepairReport(list(gaps))
    ledger = store.ledger(series)
    for index, (start, end) in enumerate(gaps):
        before = [note for note in ledger.notes() if note.start < end and start < note.end]
        ledger.forget([(start, end)])
        try:
            answer = ingest(own, store, series, start, end)
            report.own += answer.rows_new + answer.rows_revised
            report.months.update(answer.months)
        except SourceError as error:
            _LOG.warning("%s", error)
            ledger.add(before)
        fill(others, store, series, _missing(store, series, start, end), report, tolerance=tolerance)
        _remember(ledger, before, _missing(store, series, start, end))
        report.left += sum((high - low) // series.interval for low, high in _missing(store, series, start, end))
        if progress:
            progress(index + 1, len(gaps))
    return report


def fill(
    others: Sequence[OtherSource],
    store: BarStore,
    series: Series,
    gaps: Sequence[Span],
    report: RepairReport,
    *,
    tolerance: float = TOLERANCE,
) -> None:
    """Fill ``gaps`` with the bars of other sources, where these agree with ours around the gap.

    The bars are stored as the other source's (column ``filled_from``), and give way to our own when these come. A
    source that disagrees by more than ``tolerance`` is not believed: its bars are put into quarantine, and the ledger
    says so. Volumes are not compared: two exchanges never trade the same amount.
    """
    for start, end in gaps:
        for other in others:
            left = _missing(store, series, start, end)
            if not left:
                break
            span = left[0][0], left[-1][1]
            try:
                _fill_one(other, store, series, span, report, tolerance)
            except SourceError as error:
                _LOG.warning("%s: %s", other.source.name, error)


def _fill_one(
    other: OtherSource, store: BarStore, series: Series, gap: Span, report: RepairReport, tolerance: float
) -> None:
    margin = _MARGIN * series.interval
    pages = other.source.bars(other.symbol, series.interval, gap[0] - margin, gap[1] + margin)
    theirs = pa.concat_tables([empty_bars(), *(page.bars for page in pages)])
    times = open_times(theirs)
    inside = (times >= to_micros(gap[0])) & (times < to_micros(gap[1]))
    offered = theirs.filter(pa.array(inside))
    if not offered.num_rows:
        return
    name = other.source.venue
    ours = store.read(series, gap[0] - margin, gap[1] + margin)
    common, largest = compare(ours, theirs)
    now, where = store.clock.now(), f"{gap[0]:%Y-%m-%d %H:%M} to {gap[1]:%Y-%m-%d %H:%M}"
    if common < _LEAST:
        why = f"{name} shares only {common} bars with {series} around {where}: nothing to check it against"
    elif largest > tolerance:
        why = f"{name} differs from {series} by {largest:.2%} around {where}, more than {tolerance:.2%}"
    else:
        written = store.write(series, offered, source=other.source.name, filled_from=name)
        report.filled[name] = report.filled.get(name, 0) + written.rows_new
        report.months.update(written.months)
        return
    _LOG.warning("%s", why)
    put_bars_aside(store, Series(name, other.symbol, series.interval), offered, why)
    report.refused.append(f"{why}.")
    store.ledger(series).add([Note(*gap, "disagreement", name, now, why)])


def compare(ours: pa.Table, theirs: pa.Table) -> tuple[int, float]:
    """Return how many bars both tables have, and the largest |log ratio| of their closes."""
    _, here, there = np.intersect1d(open_times(ours), open_times(theirs), assume_unique=True, return_indices=True)
    if not len(here):
        return 0, 0.0
    ratio = np.log(ours["close"].to_numpy()[here] / theirs["close"].to_numpy()[there])
    return len(here), float(np.abs(ratio).max())


def _remember(ledger: GapLedger, before: Sequence[Note], missing: Sequence[Span]) -> None:
    """Note again what was known of bars that are still missing, where nothing newer is known."""
    gaps = [Gap(low, high, (high - low) // ledger.series.interval) for low, high in missing]
    silent = [piece for piece in ledger.explain(gaps) if piece.cause == "not fetched"]
    ledger.add(
        replace(note, start=max(note.start, piece.start), end=min(note.end, piece.end))
        for piece in silent
        for note in before
        if note.start < piece.end and piece.start < note.end
    )


def _missing(store: BarStore, series: Series, start: datetime, end: datetime) -> list[Span]:
    """Return what lacks in ``[start, end)``, whoever's bars the others are."""
    step = series.interval // timedelta(microseconds=1)
    first = to_micros(start)
    lacking = np.ones((to_micros(end) - first) // step, dtype=bool)
    lacking[(open_times(store.read(series, start, end)) - first) // step] = False
    return spans_where(lacking, first, step)
