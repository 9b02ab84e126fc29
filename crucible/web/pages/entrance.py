"""Signing in and out, and what every page needs: style, script, the stream of changes, a sign of life."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse

from crucible.clock import SystemClock
from crucible.web.changes import MOST_STREAMS, changes
from crucible.web.forms import checked_form
from crucible.web.gate import cookie_of
from crucible.web.view import STATIC, render, session_of, site_of, static

router = APIRouter()


@router.api_route("/healthz", methods=["GET", "HEAD"])
def alive() -> Response:
    """Say that the dashboard runs, to whoever asks."""
    return PlainTextResponse("ok\n")


@router.api_route("/static/{name}", methods=["GET", "HEAD"])
def static_file(name: str) -> Response:
    """Serve the style sheet or the script."""
    if name not in STATIC:
        raise HTTPException(404)
    headers = {"cache-control": "public, max-age=604800, immutable"}
    return Response(static(name), media_type=STATIC[name], headers=headers)


@router.api_route("/login", methods=["GET", "HEAD"], response_model=None)
def ask_token(request: Request) -> Response:
    """Ask for the token."""
    if session_of(request).trusted:
        return RedirectResponse("/", 303)
    return render(request, "login.html", title="Sign in", wrong="")


@router.post("/login", response_model=None)
async def sign_in(request: Request) -> Response:
    """Check the token and begin a new session, so that nobody can have known its name before."""
    form = await checked_form(request)
    access = site_of(request).access
    right = access.is_token(form.get("token", "").strip())
    if not right:
        sentence = "This is not the token." if right is False else "Too many wrong tokens; wait a minute."
        return render(request, "login.html", status=403 if right is False else 429, title="Sign in", wrong=sentence)
    response = RedirectResponse("/", 303)
    session = access.new_session(int(SystemClock().now().timestamp()), trusted=True)
    response.headers["set-cookie"] = cookie_of(access, session, request.scope)
    return response


@router.post("/logout", response_model=None)
async def sign_out(request: Request) -> Response:
    """End the session of this browser."""
    await checked_form(request)
    access = site_of(request).access
    response = RedirectResponse("/login" if access.token else "/", 303)
    session = access.new_session(int(SystemClock().now().timestamp()))
    response.headers["set-cookie"] = cookie_of(access, session, request.scope)
    return response


@router.get("/events", response_model=None)
async def events(request: Request, watch: str = "fleet") -> Response:
    """Tell a page when to fetch itself anew."""
    if request.app.state.streams >= MOST_STREAMS:
        raise HTTPException(429, "Too many pages are open; close some.", {"retry-after": "30"})
    return StreamingResponse(changes(site_of(request), request, watch[:120]), media_type="text/event-stream")
