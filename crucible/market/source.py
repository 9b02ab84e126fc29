"""Where bars come from: the protocol of a source, and the sources by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import pyarrow as pa

from crucible.errors import SourceError

SOURCES = ("binance", "binanceus")
"""The sources that a recipe can name."""


class Source(Protocol):
    """An exchange that serves bars. Every request is made in the call, on the calling thread."""

    name: str

    def bars(self, symbol: str, interval: timedelta, start: datetime, end: datetime) -> Iterator[pa.Table]:
        """Yield the closed bars with ``start <= open_time < end``, page by page, oldest first.

        Parameters
        ----------
        symbol : str
            The exchange's own id, for example ``BTCUSDT``.
        interval : timedelta
            Length of a bar.
        start, end : datetime
            Aware instants. Bars that have not closed by the exchange's own clock are never yielded.

        Raises
        ------
        SourceError
            If the exchange cannot be reached, refuses, or answers nonsense.
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

    def wait(self, attempt: int, retry_after: float | None) -> float:
        """Return the seconds to wait after the failed ``attempt`` (counted from 0)."""
        return min(self.base * 2**attempt, self.cap) if retry_after is None else retry_after


def open_source(name: str, base_url: str = "") -> Source:
    """Return the source called ``name``.

    Parameters
    ----------
    name : str
        One of :data:`SOURCES`.
    base_url : str
        ``http://host:port`` of a server with the same API, for example the practice exchange; empty for the real one.

    Raises
    ------
    SourceError
        If there is no such source.
    SettingsError
        If ``base_url`` is no HTTP URL.
    """
    if name not in SOURCES:
        raise SourceError(f"There is no source {name!r}; there are: {', '.join(SOURCES)}.")
    from crucible.market.ccxt_source import CcxtSource

    return CcxtSource(name, base_url)
