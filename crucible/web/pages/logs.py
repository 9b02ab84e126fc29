"""The ends of the logs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request
from starlette.responses import Response

from crucible.web.logs import log_files, tail
from crucible.web.model_sources import instant_of
from crucible.web.view import render, site_of

router = APIRouter()


@router.api_route("/logs", methods=["GET", "HEAD"])
def logs(request: Request) -> Response:
    """List every log."""
    settings = site_of(request).load()
    rows = [
        (name, instant_of(path), path.stat().st_size) for name, path in log_files(settings).items() if path.exists()
    ]
    return render(request, "logs.html", title="Logs", watch="", rows=rows)


@router.api_route("/logs/{name}", methods=["GET", "HEAD"])
def log(
    request: Request,
    name: Annotated[str, Path(max_length=200)],
    lines: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Response:
    """Show the end of one log."""
    site = site_of(request)
    settings = site.load()
    path = log_files(settings).get(name)
    if path is None:
        raise HTTPException(404)
    found = tail(path, lines, (*site.secrets, settings.allora_key))
    return render(request, "log.html", title=f"Log {name}", watch=f"log:{name}", name=name, found=found, lines=lines)
