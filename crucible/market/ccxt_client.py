"""One ccxt client with its base URL adjusted, its errors told in one sentence, and bounded retries."""

from __future__ import annotations

import importlib
import logging
import time
from typing import Any
from urllib.parse import urlsplit

from crucible.errors import SettingsError, SourceError
from crucible.market.source import Retry

log = logging.getLogger(__name__)
# an exchange may say these in an error of its own, for which ccxt knows no more than that it is one
_PASSING = frozenset({408, 418, 429, *range(500, 600)})
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class CcxtClient:
    """ccxt's synchronous client of one exchange; requests go through its own signing, rate limiter and error table.

    Parameters
    ----------
    exchange : str
        ccxt's name of the exchange, for example ``binance``.
    base_url : str
        ``http://host:port`` to use in place of the exchange's hosts; empty for the real ones.
    rate_limit_ms : float, optional
        Least time between two requests of weight 1, in milliseconds. By default ccxt's figure for this exchange,
        and none at a loopback ``base_url``.
    retry : Retry, optional
        What is done about answers 429, 418 and 5xx, timeouts, and answers that are cut or no JSON. A refused
        connection is reported at once.

    Attributes
    ----------
    where : str
        What to call the exchange in messages.
    client : object
        The ccxt client.

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
        retry: Retry | None = None,
    ) -> None:
        self._retry = retry or Retry()
        client_class = getattr(importlib.import_module(f"ccxt.{exchange}"), exchange)
        options = {"enableLastJsonResponse": True, "enableLastHttpResponse": True}
        self.client = client_class({"enableRateLimit": True, **options, "timeout": int(self._retry.timeout * 1000)})
        self._status = 0
        self.client.session.hooks["response"].append(self._note_status)
        self.where = f"{exchange} at {base_url}" if base_url else exchange
        if base_url:
            host = check_url(base_url)
            self.client.urls["api"] = _moved(self.client.urls["api"], base_url.rstrip("/"))
            if rate_limit_ms is None and host in LOOPBACK:
                rate_limit_ms = 0.0
        if rate_limit_ms is not None:
            self.client.rateLimit = rate_limit_ms

    def call(self, method: str, *arguments: Any, symbol: str = "") -> Any:
        """Call ``method`` of the ccxt client, again where a failure may pass.

        Raises
        ------
        SourceError
            If the exchange cannot be reached, refuses, or knows no such ``symbol``.
        """
        import ccxt

        for attempt in range(self._retry.attempts):
            try:
                self._status = 0
                answer = getattr(self.client, method)(*arguments)
                if self.client.last_http_response and self.client.last_json_response is None:
                    raise ccxt.ExchangeNotAvailable(f"no JSON: {str(self.client.last_http_response)[:60]!r}")
                return answer
            except ccxt.BadSymbol as error:
                raise SourceError(f"{self.where} knows no symbol {symbol!r}.") from error
            except ccxt.BaseError as error:
                if _refused(error):
                    raise SourceError(f"{self.where} cannot be reached: the connection was refused.") from error
                if not isinstance(error, ccxt.OperationFailed) and self._status not in _PASSING:
                    raise SourceError(f"{self.where} refused: {_short(error)}.") from error
                self._pause(error, attempt)
        raise AssertionError("a policy has at least one attempt")

    def _pause(self, error: Exception, attempt: int) -> None:
        """Wait before the next attempt, or give up."""
        wait = self._retry.wait(attempt, self._retry_after())
        if attempt + 1 == self._retry.attempts or wait > self._retry.patience:
            reason = f"{type(error).__name__}: {_short(error)}"
            asks = f"; it asks to wait {wait:.0f} s" if wait > self._retry.patience else ""
            raise SourceError(f"{self.where} gave no answer in {attempt + 1} attempts ({reason}){asks}.") from error
        log.warning("%s: %s; trying again in %.2f s", self.where, _short(error), wait)
        time.sleep(wait)

    def _retry_after(self) -> float | None:
        if self._status not in _PASSING:
            return None
        value = (self.client.last_response_headers or {}).get("Retry-After", "")
        return float(value) if value.replace(".", "", 1).isdigit() else None

    def _note_status(self, response: Any, *_: Any, **__: Any) -> None:
        self._status = response.status_code


def check_url(base_url: str) -> str:
    """Return the host of ``base_url``.

    Raises
    ------
    SettingsError
        If it is no HTTP URL.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"The exchange URL {base_url!r} is not http://host:port; see CRUCIBLE_EXCHANGE_URL.")
    return parts.hostname


def _moved(urls: Any, base_url: str) -> Any:
    """Return ccxt's tree of URLs with every host replaced; the paths stay."""
    if isinstance(urls, dict):
        return {key: _moved(value, base_url) for key, value in urls.items()}
    return base_url + urlsplit(urls).path if isinstance(urls, str) else urls


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
