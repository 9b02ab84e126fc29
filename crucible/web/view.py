"""Pages from templates: one environment, everything escaped, every undefined name an error."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from crucible.settings import Settings
from crucible.web import charts, values
from crucible.web.access import Access, Session
from crucible.web.logs import hidden

STATIC = {"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8"}
"""The files that pages refer to, and their types."""


@dataclass(frozen=True)
class Site:
    """One running dashboard: where its settings come from, its rules, and what must not be shown."""

    settings: Any
    access: Access
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def load(self) -> Settings:
        """Return the settings as they are now: a stack that starts or stops changes them."""
        found: Settings = self.settings()
        return found


def site_of(request: Request) -> Site:
    """Return the dashboard that ``request`` was sent to."""
    found: Site = request.app.state.site
    return found


def session_of(request: Request) -> Session:
    """Return the session of ``request``, which the gate has looked up or begun."""
    found: Session = request.state.session
    return found


def render(
    request: Request, template: str, *, status: int = 200, title: str, watch: str = "", **context: Any
) -> HTMLResponse:
    """Return a page.

    Parameters
    ----------
    request : Request
        Whose answer it is.
    template : str
        Name of the template.
    status : int
        The HTTP status.
    title : str
        What the page is about.
    watch : str
        What the page shows the present state of, see :mod:`crucible.web.changes`; empty for a page that stays as it is.
    """
    site, session = site_of(request), session_of(request)
    text = _environment().get_template(template).render(
        title=title, watch=watch, path=request.scope["path"], read_only=site.access.read_only,
        signed_in=bool(site.access.token) and session.trusted, trusted=session.trusted,
        form_token=site.access.form_token(session), **context,
    )  # fmt: skip
    # a file may hold half of a surrogate pair, which is no text that could be sent
    return HTMLResponse(text.encode("utf-8", "replace"), status)


def static(name: str) -> bytes:
    """Return one of :data:`STATIC`."""
    return files("crucible.web").joinpath("static", name).read_bytes()


@cache
def static_mark(name: str) -> str:
    """Return what changes with the file's content, so that it may be kept by a browser."""
    return hashlib.sha256(static(name)).hexdigest()[:12]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("crucible.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    environment.filters |= {
        "ago": values.ago, "allo": values.allo, "moment": values.moment, "plain": values.plain,
        "share": values.share, "short": values.short, "span": values.span, "instant": values.instant,
        "kind": charts.kind_of, "squeeze": _squeeze,
    }  # fmt: skip
    environment.globals["static_mark"] = static_mark
    return environment


def _squeeze(text: object, length: int = 160) -> str:
    whole = hidden(str(text))  # a message may quote what it failed with
    return whole if len(whole) <= length else f"{whole[: length - 1]}…"


def clock_of(settings: Settings) -> datetime:
    """Return the time of the clock that all processes of the home share, UTC."""
    return settings.clock.now()
