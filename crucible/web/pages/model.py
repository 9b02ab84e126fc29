"""Models: verdicts, gates, reports, who was champion, and the two forms that change it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from crucible.errors import CrucibleError, GateError, RegistryError
from crucible.registry.models import CHALLENGER, CHAMPION, Version, promote
from crucible.settings import Settings
from crucible.web import model_sources, sources
from crucible.web.forms import checked_form
from crucible.web.gate import DOCUMENT_POLICY
from crucible.web.monitor_files import Monitor
from crucible.web.pages.worker import Name
from crucible.web.view import clock_of, render, site_of

router = APIRouter()

_LEAST_REASON, _LONGEST_REASON = 8, 500


@router.api_route("/models", methods=["GET", "HEAD"])
def models(request: Request) -> Response:
    """List every recipe with its champion, challenger and newest verdict."""
    settings = site_of(request).load()
    rows, trouble = [], ""
    for name in sources.names(settings):
        worker = sources.worker(settings, name)
        try:
            found = model_sources.known_versions(settings, name)
            judged = model_sources.evaluations(settings, worker)
        except CrucibleError as error:
            found, judged, trouble = (), [], str(error)
        rows.append((worker, found, judged[0] if judged else None))
    return render(
        request, "models.html", title="Models", watch="fleet", now=clock_of(settings), rows=rows, trouble=trouble,
        champion=CHAMPION, challenger=CHALLENGER, aliased=model_sources.aliased,
    )  # fmt: skip


@router.api_route("/models/{name}", methods=["GET", "HEAD"])
def model(request: Request, name: Name, done: Annotated[int | None, Query(ge=1, le=10**9)] = None) -> Response:
    """Show one recipe's models."""
    return _page(request, name, done=done)


@router.post("/models/{name}/promote", response_model=None)
async def move_champion(request: Request, name: Name) -> Response:
    """Move @champion, forwards or back, by a person's word."""
    form = await checked_form(request)
    site = site_of(request)
    if site.access.read_only:
        raise HTTPException(403, "This dashboard is read-only; start it without --read-only, or use crucible promote.")
    settings = site.load()
    if name not in sources.names(settings):
        raise HTTPException(404)
    reason, number = " ".join(form.get("reason", "").split()), form.get("version", "")
    if not (number.isascii() and number.isdigit() and 0 < len(number) < 10):
        return await run_in_threadpool(_page, request, name, wrong="Choose a version.", reason=reason)
    if not _LEAST_REASON <= len(reason) <= _LONGEST_REASON:
        wrong = f"Say why, in {_LEAST_REASON} to {_LONGEST_REASON} characters; the reason is kept with the version."
        return await run_in_threadpool(_page, request, name, wrong=wrong, reason=reason, chosen=int(number))
    try:
        if not await run_in_threadpool(model_sources.known_versions, settings, name):
            raise RegistryError(f"Model {name} has no versions; materialise `challenger` of that recipe first.")
        await run_in_threadpool(promote, settings, name, int(number), override=reason)
    except (RegistryError, GateError) as error:
        return await run_in_threadpool(_page, request, name, wrong=str(error), reason=reason, chosen=int(number))
    return RedirectResponse(f"/models/{name}?done={int(number)}", 303)


@router.api_route("/models/{name}/evaluations/{evaluation}", methods=["GET", "HEAD"])
def report(
    request: Request, name: Name, evaluation: Annotated[str, Path(pattern=model_sources.EVALUATION.pattern)]
) -> Response:
    """Serve an evaluation's report as it was written; it may bring a style, and run nothing."""
    settings = site_of(request).load()
    content = model_sources.report(settings, name, evaluation)
    if content is None:
        raise HTTPException(404)
    return Response(content, media_type="text/html", headers={"content-security-policy": DOCUMENT_POLICY})


def _page(
    request: Request,
    name: str,
    *,
    done: int | None = None,
    wrong: str = "",
    reason: str = "",
    chosen: int | None = None,
) -> Response:
    settings = site_of(request).load()
    if name not in sources.names(settings):
        raise HTTPException(404)
    worker = sources.worker(settings, name)
    found, judged, trouble = _known(settings, worker)
    champion = model_sources.aliased(found, CHAMPION)
    reigns = model_sources.champions(found)
    if chosen is None:  # the version that a person most likely wants: the challenger, or the champion before this one
        challenger = model_sources.aliased(found, CHALLENGER)
        before = [reign.version.number for reign in reigns if not reign.now]
        others = [challenger.number] if challenger and challenger is not champion else before
        chosen = others[0] if others else None
    return render(
        request, "model.html", status=409 if wrong else 200, title=f"Models of {name}", watch=f"worker:{name}",
        now=clock_of(settings), worker=worker, versions=found, judged=judged, trouble=trouble, champion=champion,
        reigns=reigns, done=done if champion and champion.number == done else None, wrong=wrong,
        reason=reason, chosen=chosen, monitored=Monitor(settings).of(name, series=True),
        least=_LEAST_REASON, longest=_LONGEST_REASON,
    )  # fmt: skip


def _known(settings: Settings, worker: sources.Worker) -> tuple[tuple[Version, ...], list[model_sources.Judged], str]:
    trouble = worker.trouble
    found: tuple[Version, ...] = ()
    judged: list[model_sources.Judged] = []
    try:
        found = model_sources.known_versions(settings, worker.name)
    except CrucibleError as error:
        trouble = str(error)
    try:
        judged = model_sources.evaluations(settings, worker)
    except CrucibleError as error:
        trouble = str(error)
    return found, judged, trouble
