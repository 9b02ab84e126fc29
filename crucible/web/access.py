"""Who may look and who may act: host names, the token, signed sessions, and the tokens of forms."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import threading
import time
from dataclasses import dataclass, field

SESSION_SECONDS = 12 * 3600
"""How long a session lasts, in real time."""

COOKIE = "crucible_session"

_HOST = re.compile(r"^(?:\[(?P<six>[0-9a-f:.]{2,45})\]|(?P<name>[a-z0-9.-]{1,253}))(?::[0-9]{1,5})?$")
_FAILURES, _WITHIN_SECONDS = 5, 60.0


@dataclass(frozen=True)
class Session:
    """One browser's session.

    Attributes
    ----------
    key : str
        Random; names the session.
    trusted : bool
        Whether its owner has shown the token, where one is asked for.
    issued : int
        Unix time, seconds.
    """

    key: str
    trusted: bool
    issued: int


@dataclass
class Access:
    """The rules of one running dashboard.

    Sessions are signed with a key that lives as long as the process: a restart ends them all, and nothing is kept.

    Parameters
    ----------
    token : str
        What a visitor must show; empty where anyone who can connect may look, which is only so on loopback.
    read_only : bool
        Whether every change is refused.
    names : tuple of str
        Host names, besides ``localhost`` and plain IP addresses, by which the dashboard may be called.
    """

    token: str = field(default="", repr=False)
    read_only: bool = False
    names: tuple[str, ...] = ()
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _failed: list[float] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def allows_host(self, header: str) -> bool:
        """Return whether a ``Host`` header may be answered.

        A page of a foreign site can point its own name at this machine (DNS rebinding) and then read what we answer;
        it cannot do so with an address or with ``localhost``.
        """
        match = _HOST.match(header.lower())
        if match is None:
            return False
        name = (match["six"] or match["name"]).rstrip(".")
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return match["six"] is None and name in ("localhost", *self.names)
        return True

    def new_session(self, now: int, *, trusted: bool = False) -> Session:
        """Return a session that nobody has had before; ``now`` is Unix time."""
        return Session(secrets.token_urlsafe(18), trusted or not self.token, now)

    def seal(self, session: Session) -> str:
        """Return the session as a cookie's value, signed."""
        text = f"{session.key}.{int(session.trusted)}.{session.issued}"
        return f"{text}.{self._sign('session', text)}"

    def open(self, cookie: str, now: int) -> Session | None:
        """Return the session of a cookie's value; ``None`` if it was not signed here, or is too old."""
        text, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", text).encode()):
            return None
        key, trusted, issued = text.split(".")
        session = Session(key, trusted == "1", int(issued))
        return session if 0 <= now - session.issued + 60 <= SESSION_SECONDS + 60 else None

    def form_token(self, session: Session) -> str:
        """Return what every form of ``session`` must send along, which no other site can know."""
        return self._sign("form", session.key)

    def is_form_token(self, session: Session, text: str) -> bool:
        """Return whether ``text`` is the form token of ``session``."""
        return hmac.compare_digest(text.encode("utf-8", "replace"), self.form_token(session).encode())

    def is_token(self, text: str) -> bool | None:
        """Return whether ``text`` is the token; ``None``, unlooked at, after five failures within a minute."""
        with self._lock:
            now = time.monotonic()
            self._failed = [at for at in self._failed if now - at < _WITHIN_SECONDS]
            if len(self._failed) >= _FAILURES:
                return None
            # digests, so that not even the length of the token shows in the time that this takes
            given, wanted = (hashlib.sha256(item.encode("utf-8", "replace")).digest() for item in (text, self.token))
            right = bool(self.token) and hmac.compare_digest(given, wanted)
            if not right:
                self._failed.append(now)
            return right

    def _sign(self, use: str, text: str) -> str:
        return hmac.new(self._key, f"{use}:{text}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()
