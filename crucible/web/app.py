"""The dashboard as an ASGI application.

A request passes the gate (host, size, session), then one route of :mod:`crucible.web.pages`, which reads what it shows
through the ``*_sources`` modules and fills a template. Whatever goes wrong becomes a page with one sentence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crucible.errors import CrucibleError
from crucible.settings import Settings
from crucible.web.access import Access
from crucible.web.gate import Gate
from crucible.web.pages import bars, entrance, fleet, logs, model, worker
from crucible.web.view import Site, render

_LOG = logging.getLogger(__name__)

_SENTENCES = {
    404: "There is no such page.",
    405: "This page cannot be asked in that way.",
    413: "The request is too large.",
}


def create_app(settings: Callable[[], Settings], access: Access, secrets: tuple[str, ...] = ()) -> FastAPI:
    """Return the dashboard.

    Parameters
    ----------
    settings : callable
        Returns the settings; asked with every request.
    access : Access
        Who may look and act.
    secrets : tuple of str
        Values that no page may show, wherever they stand.
    """
    app = FastAPI(
        title="Crucible", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False,
        middleware=[Middleware(Gate, access=access), Middleware(_LastWord)],
        exception_handlers={
            HTTPException: _refused, RequestValidationError: _nonsense, CrucibleError: _trouble,
        },
        telemetry={"tracing": False, "metrics": False},
    )  # fmt: skip
    app.state.site = Site(settings, access, (*secrets, access.token) if access.token else secrets)
    app.state.stopping = asyncio.Event()
    app.state.streams = 0
    for module in (entrance, fleet, worker, model, bars, logs):
        app.include_router(module.router)
    return app


class _LastWord:
    """Answers where everything else has failed: the traceback goes to the log, and a sentence to the browser."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            _LOG.exception("%s %r failed", scope.get("method", ""), scope.get("path", ""))
            if begun or scope["type"] != "http":
                raise
            sentence = "Something went wrong that should not; the dashboard's log says what. Please report it.\n"
            await PlainTextResponse(sentence, 500)(scope, receive, send)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    standard = error.detail == error.detail.title() or error.status_code not in (400, 403, 409, 422, 429)
    sentence = _SENTENCES.get(error.status_code, error.detail) if standard else error.detail
    return _sentence(request, error.status_code, sentence, error.headers)


async def _nonsense(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    where = str(faults[0]["loc"][-1]) if faults else "the request"
    return _sentence(request, 400, f"The value of {where!r} makes no sense here.")


async def _trouble(request: Request, error: Exception) -> Response:
    return _sentence(request, 503, str(error))


def _sentence(request: Request, status: int, sentence: str, headers: object = None) -> Response:
    response = render(
        request, "sentence.html", status=status, title="Not this way", status_code=status, sentence=sentence
    )
    if isinstance(headers, dict):
        response.headers.update(headers)
    return response
