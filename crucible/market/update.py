"""A recipe's bars brought up to date from its sources, with fail-over from one to the next."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from crucible.errors import SourceError
from crucible.market.ingest import IngestReport, Progress, ingest, missing_ranges
from crucible.market.repair import OtherSource, RepairReport, fill
from crucible.market.series import Series
from crucible.market.source import Retry, Source, open_source
from crucible.market.store import BarStore
from crucible.settings import Settings
from crucible.venue import split_source, venue_of

_LOG = logging.getLogger(__name__)
_PRACTICE = ("binance", "binanceus", "binance_perpetual")  # whose API the practice exchange speaks


@dataclass(frozen=True)
class Sources:
    """The sources of one recipe that can be opened, in its order.

    Attributes
    ----------
    own : tuple of Source
        Those of the venue whose bars they are.
    others : tuple of OtherSource
        Those that may fill gaps.
    """

    own: tuple[Source, ...]
    others: tuple[OtherSource, ...]

    @property
    def all(self) -> tuple[Source, ...]:
        """Every source, own ones first."""
        return (*self.own, *(other.source for other in self.others))


def open_sources(names: Sequence[str], symbol: str, settings: Settings, retry: Retry | None = None) -> Sources:
    """Open the sources called ``names`` (``binance``, ``coinbase:BTCUSD``).

    Where ``settings.exchange_url`` names an exchange, only sources that speak its API are opened: a simulated market
    must not be mended with bars of a real one.

    Raises
    ------
    SourceError
        If none of the first one's venue can be opened.
    """
    venue = venue_of(split_source(names[0], symbol)[0])
    own: list[Source] = []
    others: list[OtherSource] = []
    refused: list[SourceError] = []
    for text in names:
        name, called = split_source(text, symbol)
        if settings.exchange_url and name not in _PRACTICE:
            _LOG.info("%s is not asked: the exchange at %s takes its place", name, settings.exchange_url)
            continue
        try:
            source = open_source(name, settings.exchange_url, settings.allora_key, retry)
        except SourceError as error:
            refused.append(error)
            _LOG.warning("%s", error)
            continue
        if source.venue == venue:
            own.append(source)
        else:
            others.append(OtherSource(source, called))
    if not own:
        raise (
            refused[0]
            if refused
            else SourceError(
                f"None of {', '.join(names)} can be asked at {settings.exchange_url}; it speaks the API of binance."
            )
        )
    return Sources(tuple(own), tuple(others))


def update(
    sources: Sources,
    store: BarStore,
    series: Series,
    start: datetime,
    end: datetime,
    progress: Progress | None = None,
) -> IngestReport:
    """Bring ``[start, end)`` up to date; where the own sources fail, fill what lacks from the others.

    Parameters
    ----------
    sources : Sources
        From :func:`open_sources`.
    store, series, start, end, progress
        As in :func:`crucible.market.ingest.ingest`.

    Raises
    ------
    SourceError
        If the own sources fail, and nothing of what lacks can be had from another one that agrees with them.
    StoreError, ProcessError
        If the store cannot be written.
    """
    try:
        return ingest(sources.own, store, series, start, end, progress)
    except SourceError:
        lacking = missing_ranges(store, series, start, end)
        report = RepairReport(lacking)
        fill(sources.others, store, series, lacking, report)
        if not report.filled:
            raise
        coverage = store.coverage(series)
        rows = sum(report.filled.values())
        _LOG.warning("%s failed; %d bars were taken from %s", series.source, rows, ", ".join(report.filled))
        return IngestReport(tuple(lacking), rows, 0, coverage.rows, coverage.gaps, tuple(sorted(report.months)))
