"""Binance's klines: its spot market, its American sister, and its USD-margined perpetuals."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pyarrow as pa

from crucible.errors import SchemaError, SourceError
from crucible.market.bars import ceil_micros, empty_bars, floor_time, from_micros, open_times, to_micros
from crucible.market.ccxt_client import CcxtClient
from crucible.market.klines import LIMIT, bars_of_klines, interval_name
from crucible.market.ledger import Cause
from crucible.market.source import Page, Retry

_LATE = timedelta(days=1)

# our name -> ccxt's, and the methods of its client for klines and for the time
_API = {
    "binance": ("binance", "public_get_klines", "public_get_time"),
    "binanceus": ("binanceus", "public_get_klines", "public_get_time"),
    "binance_perpetual": ("binanceusdm", "fapipublic_get_klines", "fapipublic_get_time"),
}


class BinanceSource:
    """Bars from Binance's kline endpoints, or from a server that speaks them.

    The raw endpoints are used, and not ccxt's unified ones: they need no list of all markets (megabytes), and their
    numbers arrive as text, so that a bar is the exchange's to the last digit.

    Parameters
    ----------
    name : str
        ``binance``, ``binanceus`` or ``binance_perpetual``.
    base_url, rate_limit_ms, retry
        As in :class:`~crucible.market.ccxt_client.CcxtClient`.

    Raises
    ------
    SettingsError
        If ``base_url`` is no HTTP URL.
    """

    absence: Cause = "exchange down"  # it sends a bar for every interval, with volume 0 where nothing was traded

    def __init__(
        self,
        name: str,
        base_url: str = "",
        *,
        rate_limit_ms: float | None = None,
        retry: Retry | None = None,
    ) -> None:
        exchange, self._klines, self._time = _API[name]
        self.name = self.venue = name
        self._client = CcxtClient(exchange, base_url, rate_limit_ms=rate_limit_ms, retry=retry)
        self._seen_now: datetime | None = None  # the exchange's clock only moves on: what had closed then is closed

    def now(self) -> datetime:
        """Return the exchange's server time, UTC.

        Raises
        ------
        SourceError
            If the exchange cannot be reached, refuses, or answers nonsense.
        """
        answer = self._client.call(self._time)
        if not isinstance(answer, dict) or not str(answer.get("serverTime", "")).isdigit():
            raise SourceError(f"{self._client.where} answered {str(answer)[:80]!r} when asked for the time.")
        self._seen_now = from_micros(int(answer["serverTime"]) * 1000)
        return self._seen_now

    def bars(self, symbol: str, interval: timedelta, start: datetime, end: datetime) -> Iterator[Page]:
        """Yield the closed bars with ``start <= open_time < end``; see :class:`~crucible.market.source.Source`."""
        cursor, stop = ceil_micros(start, interval), ceil_micros(end, interval)
        if cursor < stop and (self._seen_now is None or to_micros(self._seen_now) < stop):
            stop = min(stop, to_micros(floor_time(self.now(), interval)))
        confirmed = False
        while cursor < stop:
            bars = self._page(symbol, interval, cursor, stop)
            if bars is None:
                # a page can be empty by accident: the end of the data is believed when it is said twice
                if confirmed:
                    # that it has none of long ago is final; what is recent may be late
                    past = min(stop, to_micros(floor_time((self._seen_now or self.now()) - _LATE, interval)))
                    if cursor < past:
                        yield Page(from_micros(cursor), from_micros(past), empty_bars())
                    return
                confirmed = True
                continue
            confirmed = False
            after = int(open_times(bars)[-1]) + interval // timedelta(microseconds=1)
            yield Page(from_micros(cursor), from_micros(after), bars)
            cursor = after

    def _page(self, symbol: str, interval: timedelta, first: int, stop: int) -> pa.Table | None:
        answer = self._client.call(
            self._klines,
            {
                "symbol": symbol,
                "interval": interval_name(interval, self.name),
                "startTime": first // 1000,
                "endTime": stop // 1000 - 1,
                "limit": LIMIT,
            },
            symbol=symbol,
        )
        what = f"{self._client.where}, bars of {symbol}"
        if not isinstance(answer, list):
            raise SourceError(f"{what}: it answered {str(answer)[:80]!r} instead of a list of bars.")
        if not answer:
            return None
        try:
            page = bars_of_klines(answer, interval, what)
        except SchemaError as error:
            raise SourceError(f"The exchange answered nonsense: {error}") from error
        times = open_times(page)
        if times[0] < first or times[-1] >= stop:
            raise SourceError(
                f"{what}: asked for {from_micros(first)} to {from_micros(stop)}, it sent {from_micros(times[0])} "
                f"to {from_micros(times[-1])}; it repeats itself or ignores startTime and endTime."
            )
        return page
