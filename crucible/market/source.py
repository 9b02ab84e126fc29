"""Where bars come from: the protocol of a source, and the sources by name."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from crucible.errors import SourceError
from crucible.market.ledger import Cause
from crucible.venue import ARCHIVE, PERPETUAL

BUILT_IN = ("binance", "binanceus", "binance_perpetual", "binance_archive", "binance_perpetual_archive", "allora")
"""Sources with a client of their own; every other name is one of ccxt's, with ``_perpetual`` for its swaps."""


@dataclass(frozen=True)
class Page:
    """All closed bars that a source has in ``[start, end)``: what is not in ``bars`` is missing at the source."""

    start: datetime
    end: datetime
    bars: pa.Table


class Source(Protocol):
    """An exchange, archive or data service that serves bars, on the calling thread.

    Attributes
    ----------
    name : str
        As a recipe names it.
    venue : str
        Whose bars they are; the store keeps them under this name. ``binance_archive`` serves the venue ``binance``.
    absence : str
        What it means when it has no bar between two others, one of :data:`~crucible.market.ledger.Cause`.
    """

    name: str
    venue: str
    absence: Cause

    def bars(self, symbol: str, interval: timedelta, start: datetime, end: datetime) -> Iterator[Page]:
        """Yield the closed bars with ``start <= open_time < end``, page by page, oldest first.

        The pages need not cover the range: what the source does not reach (not listed yet, not archived yet, too
        long ago) is in none of them.

        Parameters
        ----------
        symbol : str
            Base and quote currency in one word, for example ``BTCUSDT``.
        interval : timedelta
            Length of a bar.
        start, end : datetime
            Aware instants. Bars that have not closed by the exchange's own clock are never yielded.

        Raises
        ------
        SourceError
            If the source cannot be reached, refuses, or answers nonsense.
        """
        ...

    def now(self) -> datetime:
        """Return the exchange's server time, UTC; raises :class:`SourceError` as :meth:`bars` does."""
        ...


@dataclass(frozen=True)
class Retry:
    """How often a request is tried again, and how long is waited in between.

    The n-th wait is ``base * 2**n`` seconds, at most ``cap``, or as long as the exchange's ``Retry-After`` says; when
    that is more than ``patience`` seconds the request is given up.
    """

    attempts: int = 5
    base: float = 0.25
    cap: float = 8.0
    patience: float = 120.0
    timeout: float = 10.0
    """Seconds until a request without an answer counts as failed."""

    def wait(self, attempt: int, retry_after: float | None) -> float:
        """Return the seconds to wait after the failed ``attempt`` (counted from 0)."""
        return min(self.base * 2**attempt, self.cap) if retry_after is None else retry_after


def open_source(name: str, base_url: str = "", api_key: str = "", retry: Retry | None = None) -> Source:
    """Return the source called ``name``.

    Parameters
    ----------
    name : str
        One of :data:`BUILT_IN`, or ccxt's name of an exchange, with ``_perpetual`` for its linear swaps.
    base_url : str
        ``http://host:port`` of a server with the same API, for example the practice exchange; empty for the real one.
    api_key : str
        For the one source that needs a key, ``allora``.
    retry : Retry, optional
        What is done about answers 429, 418 and 5xx, and about timeouts.

    Raises
    ------
    SourceError
        If there is no such source, or its key is missing; with the nearest name.
    SettingsError
        If ``base_url`` is no HTTP URL.
    """
    if name == "allora":
        from crucible.market.allora_source import AlloraSource

        return AlloraSource(api_key, base_url, retry=retry)
    if name.endswith(ARCHIVE) and name in BUILT_IN:
        from crucible.market.archive_source import ArchiveSource

        return ArchiveSource(name, base_url, retry=retry)
    if name in BUILT_IN:
        from crucible.market.binance_source import BinanceSource

        return BinanceSource(name, base_url, retry=retry)
    known = ccxt_exchanges()
    if name.removesuffix(PERPETUAL) not in known:
        near = difflib.get_close_matches(name, [*BUILT_IN, *known], n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(BUILT_IN)} and the exchanges of ccxt."
        raise SourceError(f"There is no source {name!r}; {hint}")
    from crucible.market.ccxt_source import CcxtSource

    return CcxtSource(name, base_url, retry=retry)


def ccxt_exchanges() -> list[str]:
    """Return ccxt's names of exchanges, without importing any of them."""
    spec = importlib.util.find_spec("ccxt")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return sorted(path.stem for folder in folders for path in Path(folder).glob("*.py") if path.stem != "__init__")
