"""Synchronous HTTP for data services without a client library: bounded retries, ``Retry-After``, whole bodies."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import requests

from crucible.errors import SourceError
from crucible.market.source import Retry

log = logging.getLogger(__name__)


class Http:
    """Requests to one service.

    Parameters
    ----------
    where : str
        What to call the service in messages.
    headers : mapping, optional
        Sent with every request; never shown in a message.
    retry : Retry, optional
        What is done about answers 429, 418 and 5xx, about timeouts, and about bodies that are cut.
    """

    def __init__(self, where: str, *, headers: Mapping[str, str] | None = None, retry: Retry | None = None) -> None:
        self._where = where
        self._retry = retry or Retry()
        self._session = requests.Session()
        self._session.trust_env = False  # as ccxt does: no proxy of the environment gets between
        self._session.headers.update(headers or {})

    def get(self, url: str, params: Mapping[str, Any] | None = None) -> bytes | None:
        """Return the body at ``url``; ``None`` where there is nothing (404).

        Raises
        ------
        SourceError
            If the service cannot be reached, or refuses.
        """
        response = self._send("GET", url, params=params)
        return None if response.status_code == 404 else response.content

    def json(self, url: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON at ``url``; raises :class:`SourceError` also where it is none."""
        response = self._send("GET", url, params=params)
        if response.status_code == 404:
            raise SourceError(f"{self._where} has nothing at {url}.")
        try:
            return response.json()
        except ValueError as error:
            raise SourceError(f"{self._where} answered {response.text[:80]!r} instead of JSON.") from error

    def post(self, url: str, body: Mapping[str, Any], *, accept: tuple[int, ...]) -> int:
        """Post ``body`` as JSON and return the status, one of ``accept``; raises :class:`SourceError` otherwise."""
        response = self._send("POST", url, json=body, accept=accept)
        return response.status_code

    def _send(self, method: str, url: str, accept: tuple[int, ...] = (200, 404), **options: Any) -> requests.Response:
        for attempt in range(self._retry.attempts):
            retry_after = None
            try:
                response = self._session.request(method, url, timeout=self._retry.timeout, **options)
                if response.status_code in accept:
                    return response
                reason = f"HTTP {response.status_code}"
                if response.status_code not in (408, 418, 429) and response.status_code < 500:
                    raise SourceError(f"{self._where} refused: {reason} {response.text[:120]!r}.")
                stated = response.headers.get("Retry-After", "")
                retry_after = float(stated) if stated.replace(".", "", 1).isdigit() else None
            except requests.ConnectionError as error:
                if "refused" in str(error):
                    raise SourceError(f"{self._where} cannot be reached: the connection was refused.") from error
                reason = f"{type(error).__name__}"
            except requests.RequestException as error:  # timeouts, cut bodies
                reason = f"{type(error).__name__}"
            wait = self._retry.wait(attempt, retry_after)
            if attempt + 1 == self._retry.attempts or wait > self._retry.patience:
                asks = f"; it asks to wait {wait:.0f} s" if wait > self._retry.patience else ""
                raise SourceError(f"{self._where} gave no answer in {attempt + 1} attempts ({reason}){asks}.")
            log.warning("%s: %s; trying again in %.2f s", self._where, reason, wait)
            time.sleep(wait)
        raise AssertionError("a policy has at least one attempt")
