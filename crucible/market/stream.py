"""Binance's kline stream: candles as they form, and the word that one has closed."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import pyarrow as pa
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from crucible.errors import SchemaError, SourceError
from crucible.market.bars import from_micros
from crucible.market.klines import bars_of_klines, interval_name

HOSTS = {
    "binance": "wss://stream.binance.com:9443",
    "binanceus": "wss://stream.binance.us:9443",
    "binance_perpetual": "wss://fstream.binance.com",
}
"""The sources that have a stream."""


@dataclass(frozen=True)
class Candle:
    """One message of the stream.

    Attributes
    ----------
    bars : pyarrow.Table
        The candle as a table of one row, ``BAR_SCHEMA``; not final unless ``closed``.
    opened : datetime
        When it opened, UTC.
    closed : bool
        Whether the exchange says that it has closed.
    """

    bars: pa.Table
    opened: datetime
    closed: bool


class KlineStream:
    """A connection to the stream of one symbol and interval; a context manager, for one thread.

    Parameters
    ----------
    source : str
        One of :data:`HOSTS`.
    symbol : str
        For example ``BTCUSDT``.
    interval : timedelta
        Length of a bar.
    base_url : str
        ``http://host:port`` of a server with the same API, for example the practice exchange; empty for the real one.
    timeout : float
        Seconds for connecting.
    """

    def __init__(
        self, source: str, symbol: str, interval: timedelta, base_url: str = "", *, timeout: float = 10.0
    ) -> None:
        self._source, self._symbol, self._interval = source, symbol, interval
        name = f"{symbol.lower()}@kline_{interval_name(interval, source)}"
        self._url = f"{_websocket(base_url) or HOSTS[source]}/stream?streams={name}"
        self._timeout = timeout
        self._context: AbstractContextManager[ClientConnection]
        self._connection: ClientConnection

    def __enter__(self) -> Self:
        """Connect.

        Raises
        ------
        SourceError
            If the exchange does not answer, or refuses.
        """
        options: dict[str, Any] = {"open_timeout": self._timeout, "close_timeout": 0.5, "proxy": None}
        try:
            self._context = connect(self._url, max_size=1 << 20, **options)
            self._connection = self._context.__enter__()
        except (OSError, TimeoutError, InvalidHandshake, EOFError) as error:
            raise SourceError(
                f"The stream of {self._source} cannot be reached: {error or type(error).__name__}."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, trace)

    def next(self, timeout: float) -> Candle | None:
        """Return the next candle, or None if there is none within ``timeout`` seconds.

        Raises
        ------
        SourceError
            If the connection ends, or the message makes no sense.
        """
        try:
            text = self._connection.recv(timeout=timeout)
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            raise SourceError(f"The stream of {self._source} ended: {error}.") from error
        return self._candle(text)

    def _candle(self, text: str | bytes) -> Candle:
        try:
            kline: dict[str, Any] = json.loads(text)["data"]["k"]
            if kline["s"] != self._symbol:
                raise ValueError(f"it is about {kline['s']}")
            row = [kline[key] for key in ("t", "o", "h", "l", "c", "v")]
            bars = bars_of_klines([row], self._interval, f"the stream of {self._source}")
            return Candle(bars, from_micros(int(kline["t"]) * 1000), kline["x"] is True)
        except (ValueError, KeyError, TypeError, SchemaError) as error:
            raise SourceError(f"The stream of {self._source} sent nonsense: {error!r}.") from error


def _websocket(base_url: str) -> str:
    parts = urlsplit(base_url.rstrip("/"))
    return f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}" if base_url else ""
