"""The kline query of Binance's API over a market: parameters, error codes, and what the clock has let happen."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from crucible.market.klines import INTERVALS, LIMIT
from crucible.practice.candles import Candles
from crucible.practice.market import Market

_DEFAULT_LIMIT = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER = re.compile(r"^[0-9]{1,20}$")
# all twelve columns of a row, in Binance's notation; formatting 1000 rows takes about 3 ms
_ROW = '[%d,"%.8f","%.8f","%.8f","%.8f","%.8f",%d,"%.8f",%d,"%.8f","%.8f","0"]'


class BadParameter(Exception):
    """A request that Binance answers with HTTP 400 and this code and text."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


@dataclass(frozen=True)
class KlineQuery:
    """A checked request; times in milliseconds, both ends inclusive, ``None`` where not given."""

    symbol: str
    length_ms: int
    start_ms: int | None
    end_ms: int | None
    limit: int


def parse_query(market: Market, parameters: Mapping[str, str]) -> KlineQuery:
    """Return the request in ``parameters``.

    Raises
    ------
    BadParameter
        With the code that Binance uses: -1102 missing, -1100 no number, -1120 interval, -1121 symbol, -1130 limit.
    """
    symbol, interval = (_mandatory(parameters, name) for name in ("symbol", "interval"))
    if symbol not in market.symbols:
        raise BadParameter(-1121, "Invalid symbol.")
    if interval not in INTERVALS or INTERVALS[interval] % market.base:
        raise BadParameter(-1120, "Invalid interval.")
    limit = _integer(parameters, "limit")
    if limit is not None and not 1 <= limit <= LIMIT:
        raise BadParameter(-1130, "Data sent for parameter 'limit' is not valid.")
    return KlineQuery(
        symbol,
        INTERVALS[interval] // timedelta(milliseconds=1),
        _integer(parameters, "startTime"),
        _integer(parameters, "endTime"),
        limit or _DEFAULT_LIMIT,
    )


def klines(market: Market, query: KlineQuery, now: datetime) -> str:
    """Return the JSON array that answers ``query`` at the instant ``now``.

    As on the real exchange the last row may be the candle that is still open; here it is made of the base candles that
    have closed so far, so nothing of the future shows.
    """
    now_ms = (now - _EPOCH) // timedelta(milliseconds=1)
    length = query.length_ms
    first_ms = _ms(market.first)
    opening = now_ms // length * length  # when the candle that is open now opened
    stop = min(opening, opening if query.end_ms is None else query.end_ms + 1)
    start = first_ms if query.start_ms is None else max(query.start_ms, first_ms)
    # without a start the newest rows are meant
    found = (newest if query.start_ms is None else _oldest)(market, query, start, stop)
    wanted = start <= opening and (query.end_ms is None or opening <= query.end_ms)
    if wanted and (query.start_ms is None or len(found) < query.limit):
        current = open_candle(market, query, opening, now_ms)
        found = Candles.join([found, current])
        found = found.rows(max(len(found) - query.limit, 0), len(found))
    return rows_json(found, length)


def _oldest(market: Market, query: KlineQuery, start: int, stop: int) -> Candles:
    # where there are gaps, `limit` rows span more than `limit` lengths, so this looks on
    found = Candles.none()
    while start < stop and len(found) < query.limit:
        until = min(stop, start + (query.limit + 1) * query.length_ms)
        found = Candles.join([found, market.candles(query.symbol, query.length_ms, start, until)])
        start = until
        if market.last is not None and start > _ms(market.last):
            break
    return found.rows(0, query.limit)


def newest(market: Market, query: KlineQuery, start: int, stop: int) -> Candles:
    """Return the newest ``query.limit`` candles that open in ``[start, stop)`` milliseconds, oldest first."""
    if market.last is not None:
        stop = min(stop, _ms(market.last))
    found = Candles.none()
    while start < stop and len(found) < query.limit:
        since = max(start, stop - (query.limit + 1) * query.length_ms)
        found = Candles.join([market.candles(query.symbol, query.length_ms, since, stop), found])
        stop = since
    return found.rows(max(len(found) - query.limit, 0), len(found))


def open_candle(market: Market, query: KlineQuery, opening: int, now_ms: int) -> Candles:
    """Return the candle that is open so far, or none: flat at the last close where no base candle of it has closed yet.

    Parameters
    ----------
    market : Market
        What is traded.
    query : KlineQuery
        Its symbol and length count.
    opening, now_ms : int
        When the candle opened, and the present instant, in milliseconds since 1970.
    """
    if opening < _ms(market.first):
        return Candles.none()
    if market.last is not None and now_ms >= _ms(market.last):
        return Candles.none()
    base = market.base // timedelta(milliseconds=1)
    closed = now_ms // base * base
    parts = market.candles(query.symbol, base, opening, closed)
    if len(parts):
        numbers = parts.open[0], parts.high.max(), parts.low.min(), parts.close[-1], parts.volume.sum()
    else:
        before = market.candles(query.symbol, base, opening - base, opening)
        if not len(before):
            return Candles.none()
        price = before.close[-1]
        numbers = price, price, price, price, 0.0
    return Candles(np.array([opening], dtype=np.int64), *(np.array([number]) for number in numbers))


def rows_json(candles: Candles, length_ms: int) -> str:
    """Return the JSON array of Binance's twelve columns."""
    # trade counts and the takers' half are not simulated; they follow from the volume so that they are plausible
    quote = candles.volume * (candles.open + candles.close) / 2
    trades = np.ceil(quote / 1000).astype(np.int64)
    columns = (
        *candles.columns(),
        candles.time + length_ms - 1,
        quote,
        trades,
        candles.volume / 2,
        quote / 2,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return "[" + ",".join([_ROW % row for row in rows]) + "]"


class KlineFeed:
    """Where a listener stands in a stream such as ``btcusdt@kline_1m``: it hears of each candle once.

    Parameters
    ----------
    market : Market
        What is traded.
    name : str
        The stream. One that does not exist has no events.
    now_ms : int
        The present instant in milliseconds since 1970; nothing that closed until then is told.
    """

    def __init__(self, market: Market, name: str, now_ms: int) -> None:
        symbol, _, self._interval = name.partition("@kline_")
        length = INTERVALS.get(self._interval, timedelta.max)
        # Binance's stream names are in lower case only
        exists = symbol == symbol.lower() and symbol.upper() in market.symbols and self._interval in INTERVALS
        self._query: KlineQuery | None = None
        if exists and not length % market.base:
            length_ms = length // timedelta(milliseconds=1)
            self._query = KlineQuery(symbol.upper(), length_ms, None, None, LIMIT)
            self._opening = now_ms // length_ms * length_ms  # candles that opened before this one are done with
        self._market = market

    def closed(self, now_ms: int) -> list[dict[str, Any]]:
        """Return the events of what has closed since this was asked last, oldest first; of many the newest 1000."""
        if self._query is None or now_ms < self._opening + self._query.length_ms:
            return []
        since, self._opening = self._opening, now_ms // self._query.length_ms * self._query.length_ms
        return self._events(self._query, newest(self._market, self._query, since, self._opening), now_ms, True)

    def current(self, now_ms: int) -> list[dict[str, Any]]:
        """Return the event of the open candle, if there is one; ask for what has closed first."""
        if self._query is None or now_ms < self._opening:
            return []
        return self._events(self._query, open_candle(self._market, self._query, self._opening, now_ms), now_ms, False)

    def _events(self, query: KlineQuery, candles: Candles, now_ms: int, closed: bool) -> list[dict[str, Any]]:
        events = []
        # by way of the HTTP answer, so that both say the same to the last digit
        for row in json.loads(rows_json(candles, query.length_ms)):
            kline = dict(zip("tohlcvTqnVQB", row, strict=True))
            # trades are not simulated; their numbers ascend, and a candle without trades has -1, as on the exchange
            first = row[0] * 1000 if kline["n"] else -1
            last = first + kline["n"] - 1 if kline["n"] else -1
            kline |= {"s": query.symbol, "i": self._interval, "f": first, "L": last, "x": closed}
            events.append({"e": "kline", "E": now_ms, "s": query.symbol, "k": kline})
        return events


def _mandatory(parameters: Mapping[str, str], name: str) -> str:
    value = parameters.get(name, "")
    if not value:
        raise BadParameter(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return value


def _integer(parameters: Mapping[str, str], name: str) -> int | None:
    if name not in parameters:
        return None
    if not _INTEGER.match(parameters[name]):
        raise BadParameter(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(parameters[name])


def _ms(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
