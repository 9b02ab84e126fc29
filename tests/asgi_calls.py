"""Asks an ASGI application directly, with any bytes whatsoever, as a server would after parsing a request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import unquote, urlencode

FIRST_BYTES = 256


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def cookie(self) -> str:
        return self.headers.get("set-cookie", "").partition(";")[0]


async def ask(
    app, path: str, *, method: str = "GET", query: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None,
    body: bytes = b"", host: bytes | None = b"127.0.0.1:8050", cookie: str = "", seconds: float = 20.0,
) -> Answer:  # fmt: skip
    """Return the answer; of an endless stream its first bytes."""
    raw, _, asked = path.partition("?")
    given = list(headers or [])
    if host is not None:
        given.append((b"host", host))
    if cookie:
        given.append((b"cookie", cookie.encode()))
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": unquote(raw), "raw_path": raw.encode(), "root_path": "",
        "query_string": asked.encode() or query, "headers": given, "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8050), "state": {},
    }  # fmt: skip
    status, found, parts, gone = 0, {}, [], asyncio.Event()
    sent = False

    async def receive():
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            found.update({name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]})
        else:
            parts.append(message.get("body", b""))
            if found.get("content-type", "").startswith("text/event-stream"):
                gone.set()

    await asyncio.wait_for(app(scope, receive, send), seconds)
    return Answer(status, found, b"".join(parts))


def form(**fields: object) -> bytes:
    return urlencode(fields).encode()


FORM = (b"content-type", b"application/x-www-form-urlencoded")
