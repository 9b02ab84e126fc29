"""What every request passes first, and every response last: host check, sizes, sessions, security headers."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crucible.clock import SystemClock
from crucible.web.access import COOKIE, SESSION_SECONDS, Access, Session

MAX_BODY = 16_384
"""Bytes of a request's body; the longest form is a reason and a version."""

_OPEN = ("/login", "/healthz", "/static/")
_READING = ("GET", "HEAD")

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""Nothing from elsewhere, and no script or style inside a page."""

DOCUMENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; base-uri 'none'; "
    "form-action 'none'; sandbox"
)
"""For reports that were written by an evaluation: they bring their own style, and may run nothing."""

_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # not no-referrer: browsers would then send `Origin: null` with our own forms
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "cache-control": "no-store",
}


class Gate:
    """The outermost layer of the application.

    Parameters
    ----------
    app : ASGI application
        What comes behind.
    access : Access
        The rules.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        session, fresh = self._session(headers, scope)
        scope.setdefault("state", {})["session"] = session
        answer = self._answer(scope, headers, session)
        body = await _whole_body(receive) if answer is None and scope["method"] not in _READING else b""
        if body is None:
            answer = PlainTextResponse("The request is too large.", 413)
        inner = receive if scope["method"] in _READING else _replay(body or b"", receive)
        target: ASGIApp = self._app if answer is None else answer
        await target(scope, inner, self._dressed(send, scope, session if fresh else None))

    def _session(self, headers: Headers, scope: Scope) -> tuple[Session, bool]:
        now = int(SystemClock().now().timestamp())
        cookie = cookie_parser(headers.get("cookie", "")).get(cookie_name(scope), "")
        known = self._access.open(cookie, now)
        return known or self._access.new_session(now), known is None

    def _answer(self, scope: Scope, headers: Headers, session: Session) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.allows_host(hosts[0]):
            words = "This host name is not known here; start with --allow-host NAME, or use the address."
            return PlainTextResponse(words, 400)
        if not scope["query_string"].isascii():
            return PlainTextResponse("This address is no address.", 400)
        if scope["method"] not in _READING and not _same_site(headers):
            return PlainTextResponse("A form of another site was sent here; nothing was done.", 403)
        path = scope["path"]
        if not session.trusted and not any(
            path == item or (item[-1] == "/" and path.startswith(item)) for item in _OPEN
        ):
            if scope["method"] in _READING and path != "/events":
                return RedirectResponse("/login", 303)
            return PlainTextResponse("Sign in first.", 401)
        return None

    def _dressed(self, send: Send, scope: Scope, fresh: Session | None) -> Send:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if headers["content-security-policy"] == DOCUMENT_POLICY:
                    headers["x-frame-options"] = "SAMEORIGIN"
                    # a sandboxed page that also isolates itself is refused by browsers
                    headers["cross-origin-opener-policy"] = "unsafe-none"
                if fresh is not None and "set-cookie" not in headers and not scope["path"].startswith("/static/"):
                    headers.append("set-cookie", cookie_of(self._access, fresh, scope))
            await send(message)

        return dressed


def cookie_name(scope: MutableMapping[str, Any]) -> str:
    """Return the session cookie's name: by port, since browsers do not keep the cookies of two ports apart."""
    server = scope.get("server") or ("", 0)
    return f"{COOKIE}_{server[1] or 0}"


def cookie_of(access: Access, session: Session, scope: MutableMapping[str, Any]) -> str:
    """Return the ``Set-Cookie`` header of ``session``; for HTTPS only, where this request came by HTTPS."""
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    value = f"{cookie_name(scope)}={access.seal(session)}"
    return f"{value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SESSION_SECONDS}{secure}"


def _same_site(headers: Headers) -> bool:
    """Whether a browser says that our own page sent this; the form token is checked as well, later."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower()


async def _whole_body(receive: Receive) -> bytes | None:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
