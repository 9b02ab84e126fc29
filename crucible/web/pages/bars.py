"""Bars and drift: what is stored, how fresh it is, what was put aside, and what no longer looks as it did."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from crucible.errors import DataError
from crucible.market.quarantine import Quarantined
from crucible.web import bar_sources, sources
from crucible.web.gate import DOCUMENT_POLICY
from crucible.web.model_sources import read_document
from crucible.web.monitor_files import Monitor
from crucible.web.view import clock_of, render, site_of

router = APIRouter()


@router.api_route("/bars", methods=["GET", "HEAD"])
def bars(request: Request) -> Response:
    """Show every stored series, the quarantine, and each recipe's drift."""
    settings = site_of(request).load()
    aside: list[Quarantined] = []
    trouble = ""
    try:
        aside = bar_sources.aside(settings)
    except DataError as error:
        trouble = str(error)
    monitor = Monitor(settings)
    measured = [(name, monitor.of(name)) for name in sources.names(settings)]
    return render(
        request, "bars.html", title="Bars and drift", watch="fleet", now=clock_of(settings),
        stored=bar_sources.stored(settings), aside=aside, trouble=trouble,
        drift=[(name, found) for name, found in measured if found.drift],
        has_page=(settings.quality / "index.html").is_file(),
    )  # fmt: skip


@router.api_route("/bars/quality", methods=["GET", "HEAD"])
def quality(request: Request) -> Response:
    """Serve the quality page as it was written."""
    settings = site_of(request).load()
    content = read_document(settings.quality / "index.html")
    if content is None:
        raise HTTPException(404)
    return Response(content, media_type="text/html", headers={"content-security-policy": DOCUMENT_POLICY})
