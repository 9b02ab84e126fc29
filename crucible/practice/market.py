"""What the practice exchange trades: the protocol of a market."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from crucible.practice.candles import Candles


class Market(Protocol):
    """Candles of some symbols, all of them, whatever the time is: the exchange hides what has not happened yet."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """What is traded."""
        ...

    @property
    def base(self) -> timedelta:
        """Length of the shortest candle; longer ones are made of it."""
        ...

    @property
    def first(self) -> datetime:
        """When the first candle opens, UTC."""
        ...

    @property
    def last(self) -> datetime | None:
        """When the last candle closes, UTC; ``None`` for a market without an end."""
        ...

    def candles(self, symbol: str, length_ms: int, start_ms: int, end_ms: int) -> Candles:
        """Return the whole candles of ``length_ms`` that open in ``[start_ms, end_ms)``, oldest first.

        Parameters
        ----------
        symbol : str
            One of :attr:`symbols`.
        length_ms : int
            Length of a candle in milliseconds, a multiple of :attr:`base`.
        start_ms, end_ms : int
            Milliseconds since 1970-01-01T00:00Z.
        """
        ...
