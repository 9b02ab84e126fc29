"""Bars from any exchange that ccxt knows, through its unified API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pyarrow as pa

from crucible.clock import Clock, SystemClock
from crucible.duration import format_duration
from crucible.errors import SchemaError, SourceError
from crucible.market.bars import BAR_SCHEMA, ceil_micros, check_bars, floor_time, from_micros, open_times, to_micros
from crucible.market.ccxt_client import CcxtClient
from crucible.market.ledger import Cause
from crucible.market.source import Page, Retry
from crucible.venue import PERPETUAL, market_of

_PAGE = 500
# most bars per request, where ccxt's own figure is not what the API grants
_PAGES = {"coinbase": 300}
# exchanges that serve the newest so many bars of an interval, whatever was asked for
_DEPTH = {"kraken": 720}


class CcxtSource:
    """Bars of one exchange's spot market, or of its linear perpetual swaps.

    Parameters
    ----------
    name : str
        ccxt's name of the exchange, with ``_perpetual`` for its swaps.
    base_url, rate_limit_ms, retry
        As in :class:`~crucible.market.ccxt_client.CcxtClient`.
    clock : Clock, optional
        Used only where the exchange does not tell its time; the newest bar is then believed to have closed when the
        exchange has sent one after it.

    Raises
    ------
    SettingsError
        If ``base_url`` is no HTTP URL.
    """

    absence: Cause = "no trades"  # the usual way: no bar where nothing was traded

    def __init__(
        self,
        name: str,
        base_url: str = "",
        *,
        rate_limit_ms: float | None = None,
        retry: Retry | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = self.venue = name
        self._exchange = name.removesuffix(PERPETUAL)
        self._client = CcxtClient(self._exchange, base_url, rate_limit_ms=rate_limit_ms, retry=retry)
        if not self._client.client.has.get("fetchOHLCV"):
            raise SourceError(f"{self._exchange} serves no bars.")
        self._clock = clock or SystemClock()
        self._tells_time = bool(self._client.client.has.get("fetchTime"))

    def now(self) -> datetime:
        """Return the exchange's server time, UTC; the clock's where the exchange does not tell it.

        Raises
        ------
        SourceError
            If the exchange cannot be reached, refuses, or answers nonsense.
        """
        if not self._tells_time:
            return self._clock.now()
        answer = self._client.call("fetch_time")
        if not isinstance(answer, int) or answer <= 0:
            raise SourceError(f"{self._client.where} answered {str(answer)[:80]!r} when asked for the time.")
        return from_micros(answer * 1000)

    def bars(self, symbol: str, interval: timedelta, start: datetime, end: datetime) -> Iterator[Page]:
        """Yield the closed bars with ``start <= open_time < end``; see :class:`~crucible.market.source.Source`.

        The head of the first page counts as unknown, not as missing: an exchange that keeps only so many bars looks
        just like one where nothing was traded.
        """
        step = interval // timedelta(microseconds=1)
        cursor, stop = ceil_micros(start, interval), ceil_micros(end, interval)
        if cursor >= stop:
            return
        now = self.now()
        stop = min(stop, to_micros(floor_time(now, interval)))
        if self._exchange in _DEPTH:
            cursor = max(cursor, to_micros(floor_time(now, interval)) - (_DEPTH[self._exchange] - 1) * step)
        known_from: int | None = None
        confirmed = False
        while cursor < stop:
            until = min(stop, cursor + self._page_length() * step)
            bars = self._page(symbol, interval, cursor, until)
            if bars is None:
                # a page can be empty by accident: that nothing was traded is believed when it is said twice
                cursor = until if confirmed else cursor
                confirmed = not confirmed
                continue
            confirmed = False
            times = open_times(bars)
            after = int(times[-1]) + step
            yield Page(from_micros(int(times[0]) if known_from is None else known_from), from_micros(after), bars)
            known_from = cursor = after

    def _page(self, symbol: str, interval: timedelta, first: int, until: int) -> pa.Table | None:
        what = f"{self._client.where}, bars of {symbol}"
        rows = self._client.call(
            "fetch_ohlcv", self._market(symbol), self._timeframe(interval), first // 1000, self._page_length(),
            {"until": until // 1000 - 1}, symbol=symbol,
        )  # fmt: skip
        try:
            inside = [row for row in rows if first <= int(row[0]) * 1000]
            if not self._tells_time:
                inside = inside[:-1]  # it may still be open
            inside = [row for row in inside if int(row[0]) * 1000 < until]
            if not inside:
                return None
            times = pa.array([int(row[0]) * 1000 for row in inside], pa.int64()).cast(BAR_SCHEMA.field(0).type)
            numbers = [pa.array([row[index] for row in inside], pa.float64()) for index in range(1, 6)]
            return check_bars(pa.table([times, *numbers], names=BAR_SCHEMA.names), interval, what)
        except (SchemaError, pa.ArrowException, TypeError, ValueError, IndexError) as error:
            raise SourceError(f"The exchange answered nonsense: {what}: {error}") from error

    def _page_length(self) -> int:
        stated = (self._client.client.features or {}).get("spot", {}).get("fetchOHLCV") or {}
        return _PAGES.get(self._exchange, int(stated.get("limit") or _PAGE))

    def _timeframe(self, interval: timedelta) -> str:
        name = format_duration(interval)
        offered = self._client.client.timeframes or {}
        if name not in offered:
            raise SourceError(f"{self.name} has no bars of {name}; it has {', '.join(offered)}.")
        return name

    def _market(self, symbol: str) -> str:
        """Return ccxt's symbol; a spot source never finds a swap, and the other way round."""
        markets = self._client.client.markets or self._client.call("load_markets")
        wanted = market_of(self.name)
        for market in markets.values():
            if market["base"] + market["quote"] != symbol:
                continue
            if market["spot"] if wanted == "spot" else market["swap"] and market["linear"]:
                return str(market["symbol"])
        raise SourceError(f"{self._client.where} knows no {wanted} market {symbol!r}.")
