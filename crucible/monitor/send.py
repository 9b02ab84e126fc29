"""Where alerts go: apprise URLs from the environment or a file that only its owner can read, and the dead-man's ping.

A URL holds passwords. It is shown nowhere: not in a log, not in an error, not by ``repr``. apprise itself logs URLs, so
that its logger is switched off while it is used.
"""

from __future__ import annotations

import logging
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crucible.errors import SettingsError
from crucible.monitor.alerts import Message
from crucible.settings import Settings

_LOG = logging.getLogger(__name__)
_SECONDS = 10.0
_TYPES = {"critical": "failure", "warning": "warning", "notice": "info"}


class Sender:
    """Sends messages to every destination.

    Parameters
    ----------
    urls : sequence of str
        apprise URLs, for example ``discord://…`` or ``json://host/path``.
    ping : str, optional
        An ``http(s)`` URL that is called while all is well.

    Raises
    ------
    SettingsError
        If a URL is none that apprise knows; by its position and scheme only.
    """

    def __init__(self, urls: Sequence[str], ping: str = "") -> None:
        if ping and urlsplit(ping).scheme not in ("http", "https"):
            raise SettingsError("CRUCIBLE_ALERT_PING must be an http:// or https:// URL.")
        self._ping = ping
        self._targets: list[tuple[str, Any]] = []
        if urls:
            self._open(urls)

    def __repr__(self) -> str:
        return f"Sender({', '.join(self.names) or 'no destination'})"

    @property
    def names(self) -> list[str]:
        """The destinations as they may be shown: position and scheme."""
        return [name for name, _ in self._targets]

    @property
    def pings(self) -> bool:
        """Whether there is a dead-man's switch."""
        return bool(self._ping)

    def send(self, message: Message) -> dict[str, bool]:
        """Send ``message`` everywhere; return which destination took it. One that fails does not keep the others."""
        from apprise import NotifyType

        kind = NotifyType.SUCCESS if message.kind == "recovery" else NotifyType(_TYPES[message.severity])
        taken = {}
        for name, target in self._targets:
            with _quiet():
                taken[name] = bool(
                    target.notify(body=message.body, title=f"[crucible] {message.title}", notify_type=kind)
                )
            if not taken[name]:
                _LOG.error("alert destination %s did not take %r", name, message.title)
        return taken

    def ping(self) -> bool:
        """Call the dead-man's URL; return whether it answered well. Without one there is nothing to do."""
        if not self._ping:
            return True
        try:
            with urllib.request.urlopen(self._ping, timeout=_SECONDS) as answer:  # noqa: S310 -- http(s), see above
                return 200 <= answer.status < 300
        except (OSError, ValueError) as error:
            reason = getattr(error, "code", None) or type(getattr(error, "reason", error)).__name__
            _LOG.warning("the dead-man's ping was not answered (%s)", reason)
            return False

    def _open(self, urls: Sequence[str]) -> None:
        from apprise import Apprise

        for position, url in enumerate(urls, start=1):
            name = f"{position} ({urlsplit(url).scheme or 'no scheme'})"
            target = Apprise()
            with _quiet():
                known = target.add(url)
            if not known:
                raise SettingsError(
                    f"Alert destination {name} is no URL that apprise knows; see docs/reference/alerts.md."
                )
            self._targets.append((name, target))


def load_sender(settings: Settings) -> Sender:
    """Return a sender for the destinations in ``CRUCIBLE_ALERT_URLS`` and in ``data/monitor/alert_urls``.

    Raises
    ------
    SettingsError
        If a URL makes no sense, or others than its owner can read the file.
    """
    return Sender([*settings.alert_urls.replace(",", " ").split(), *_read(urls_file(settings))], settings.alert_ping)


def urls_file(settings: Settings) -> Path:
    """Return the file of destinations: one apprise URL a line, ``#`` begins a comment."""
    return settings.data / "monitor" / "alert_urls"


def _read(path: Path) -> list[str]:
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SettingsError(f"{path} holds passwords and others can read it; run: chmod 600 {path}")
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read ({type(error).__name__}).") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("apprise")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
