"""A client of the control endpoint, for the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

import requests

from crucible.errors import ProcessError, SettingsError
from crucible.localnet.run import ENDPOINTS_FILE
from crucible.settings import Settings

_SECONDS = 5.0


@dataclass(frozen=True)
class Remote:
    """A running localnet. ``url`` is its control endpoint, ``http://127.0.0.1:port/control``."""

    url: str

    @classmethod
    def of(cls, settings: Settings, url: str | None = None) -> Self:
        """Return the localnet of a home: the given one, that of a running stack, or one that was started alone.

        Raises
        ------
        SettingsError
            If the URL is not on loopback.
        ProcessError
            If none runs here.
        """
        found = url or _running(settings)
        if urlsplit(found).hostname not in ("127.0.0.1", "localhost", "::1"):
            raise SettingsError(f"{found} is not on loopback; faults are for a localnet on this machine.")
        return cls(found.rstrip("/"))

    def known(self) -> list[dict[str, Any]]:
        """Return the rows of the fault table."""
        return list(self._ask("GET", "faults")["known"])

    def armed(self) -> list[dict[str, Any]]:
        """Return which faults are on."""
        return list(self._ask("GET", "faults")["armed"])

    def arm(self, name: str, **asked: Any) -> list[dict[str, Any]]:
        """Switch a fault on; see :meth:`crucible.localnet.faults.Faults.arm`."""
        return list(self._ask("POST", "faults", {"name": name, **asked})["armed"])

    def clear(self, name: str | None = None) -> list[dict[str, Any]]:
        """Switch one fault off, or all."""
        return list(self._ask("DELETE", f"faults?name={quote(name)}" if name else "faults")["armed"])

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            response = requests.request(method, f"{self.url}/{path}", json=body, timeout=_SECONDS)
            answer: dict[str, Any] = response.json()
        except (requests.RequestException, ValueError) as error:
            raise ProcessError(f"No localnet answers at {self.url}; start `crucible localnet up`.") from error
        if response.status_code != requests.codes.ok:
            raise SettingsError(str(answer.get("error", response.status_code)))
        return answer


def _running(settings: Settings) -> str:
    path = settings.data / "localnet" / ENDPOINTS_FILE
    try:
        return str(json.loads(path.read_text())["control_url"])
    except FileNotFoundError:
        raise ProcessError(
            f"No localnet runs in {settings.home}; start `crucible localnet up`, or use --url."
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise ProcessError(f"{path} cannot be read ({error}); use --url.") from error
