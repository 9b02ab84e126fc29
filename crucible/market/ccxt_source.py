"""Bars from a real exchange through ccxt, or from a server that speaks its API."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from crucible.errors import SchemaError, SettingsError, SourceError
from crucible.market.bars import ceil_micros, floor_time, from_micros, open_times, to_micros
from crucible.market.klines import LIMIT, bars_of_klines, interval_name
from crucible.market.source import Retry

log = logging.getLogger(__name__)


class CcxtSource:
    """Binance's spot market (or a sister exchange with the same API) through ccxt's synchronous client.

    Requests go through ccxt's own request path: its signing, rate limiter and error table.

    Parameters
    ----------
    exchange : str
        ccxt's name of the exchange: ``binance`` or ``binanceus``.
    base_url : str
        ``http://host:port`` to use in place of the exchange's hosts; empty for the real ones.
    rate_limit_ms : float, optional
        Least time between two requests of weight 1, in milliseconds. By default ccxt's figure for this exchange,
        and none at a loopback ``base_url``.
    timeout : float
        Seconds until a request without an answer counts as failed.
    retry : Retry
        What is done about answers 429, 418 and 5xx, and about timeouts. A refused connection is reported at once.

    Raises
    ------
    SettingsError
        If ``base_url`` is no HTTP URL.
    """

    def __init__(
        self,
        exchange: str,
        base_url: str = "",
        *,
        rate_limit_ms: float | None = None,
        timeout: float = 10.0,
        retry: Retry | None = None,
    ) -> None:
        self.name = exchange
        self._retry = retry or Retry()
        client_class = getattr(importlib.import_module(f"ccxt.{exchange}"), exchange)
        self._client = client_class({"enableRateLimit": True, "timeout": int(timeout * 1000)})
        self._where = f"{exchange} at {base_url}" if base_url else exchange
        if base_url:
            host = _check_url(base_url)
            api = self._client.urls["api"]
            self._client.urls["api"] = {
                key: base_url.rstrip("/") + urlsplit(url).path for key, url in api.items() if isinstance(url, str)
            }
            if rate_limit_ms is None and host in ("127.0.0.1", "localhost", "::1"):
                rate_limit_ms = 0.0
        if rate_limit_ms is not None:
            self._client.rateLimit = rate_limit_ms
        self._seen_now: datetime | None = None  # the exchange's clock only moves on: what had closed then is closed

    def now(self) -> datetime:
        """Return the exchange's server time, UTC.

        Raises
        ------
        SourceError
            If the exchange cannot be reached, refuses, or answers nonsense.
        """
        answer = self._call("public_get_time", {})
        if not isinstance(answer, dict) or not str(answer.get("serverTime", "")).isdigit():
            raise SourceError(f"{self._where} answered {str(answer)[:80]!r} when asked for the time.")
        self._seen_now = from_micros(int(answer["serverTime"]) * 1000)
        return self._seen_now

    def bars(self, symbol: str, interval: timedelta, start: datetime, end: datetime) -> Iterator[pa.Table]:
        """Yield the closed bars with ``start <= open_time < end``; see :class:`~crucible.market.source.Source`."""
        cursor, stop = ceil_micros(start, interval), ceil_micros(end, interval)
        if cursor < stop and (self._seen_now is None or to_micros(self._seen_now) < stop):
            stop = min(stop, to_micros(floor_time(self.now(), interval)))
        confirmed = False
        while cursor < stop:
            page = self._page(symbol, interval, cursor, stop)
            if page is None:
                # a page can be empty by accident: the end of the data is believed when it is said twice
                if confirmed:
                    return
                confirmed = True
                continue
            confirmed = False
            yield page
            cursor = int(open_times(page)[-1]) + interval // timedelta(microseconds=1)

    def _page(self, symbol: str, interval: timedelta, first: int, stop: int) -> pa.Table | None:
        answer = self._call(
            "public_get_klines",
            {
                "symbol": symbol,
                "interval": interval_name(interval, self.name),
                "startTime": first // 1000,
                "endTime": stop // 1000 - 1,
                "limit": LIMIT,
            },
        )
        what = f"{self._where}, bars of {symbol}"
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

    def _call(self, method: str, params: dict[str, Any]) -> Any:
        import ccxt

        for attempt in range(self._retry.attempts):
            try:
                return getattr(self._client, method)(params)
            except ccxt.BadSymbol as error:
                raise SourceError(f"{self._where} knows no symbol {params.get('symbol')!r}.") from error
            except ccxt.OperationFailed as error:  # network faults, 429, 418, 5xx
                if _refused(error):
                    raise SourceError(f"{self._where} cannot be reached: the connection was refused.") from error
                wait = self._retry.wait(attempt, self._retry_after(error))
                if attempt + 1 == self._retry.attempts or wait > self._retry.patience:
                    reason = f"{type(error).__name__}: {_short(error)}"
                    asks = f"; it asks to wait {wait:.0f} s" if wait > self._retry.patience else ""
                    raise SourceError(
                        f"{self._where} gave no answer in {attempt + 1} attempts ({reason}){asks}."
                    ) from error
                log.warning("%s: %s; trying again in %.2f s", self._where, _short(error), wait)
                time.sleep(wait)
            except ccxt.BaseError as error:
                raise SourceError(f"{self._where} refused: {_short(error)}.") from error
        raise AssertionError("a policy has at least one attempt")

    def _retry_after(self, error: Exception) -> float | None:
        import ccxt

        if not isinstance(error, ccxt.DDoSProtection | ccxt.RateLimitExceeded | ccxt.ExchangeNotAvailable):
            return None
        value = (self._client.last_response_headers or {}).get("Retry-After", "")
        return float(value) if value.replace(".", "", 1).isdigit() else None


def _check_url(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"The exchange URL {base_url!r} is not http://host:port; see CRUCIBLE_EXCHANGE_URL.")
    return parts.hostname


def _refused(error: BaseException) -> bool:
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, ConnectionRefusedError):
            return True
        # requests wraps urllib3's errors as arguments, not as causes
        reason = getattr(chain.args[0], "reason", None) if chain.args else None
        chain = chain.__cause__ or chain.__context__ or (reason if isinstance(reason, BaseException) else None)
    return False


def _short(error: Exception) -> str:
    return str(error).replace("\n", " ").rstrip(". ")[:200]
