"""One worker: what became of its epochs, how fast, how good; and any nonce down to its transaction."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request
from markupsafe import Markup
from starlette.responses import Response

from crucible.errors import CrucibleError
from crucible.web import sources
from crucible.web.charts import Line, chart, strip
from crucible.web.logs import log_files, tail
from crucible.web.monitor_files import Monitor, Monitored
from crucible.web.pages.fleet import card_of
from crucible.web.sources import Epoch
from crucible.web.transactions import transaction_of
from crucible.web.values import ALLO, instant, moment
from crucible.web.view import clock_of, render, site_of

router = APIRouter()

Name = Annotated[str, Path(pattern=sources.NAME.pattern)]
_LARGEST = 2**62
_PAGE = 25
_PER_ROW = 100
_SHOWN = {
    "all": (),
    "accepted": sources.ACCEPTED,
    "lost": sources.LOST,
    "open": ("seen", "features", "predicted", "signed", "broadcast"),
}
_SMOOTH = 24


@router.api_route("/workers/{name}", methods=["GET", "HEAD"])
def worker(
    request: Request,
    name: Name,
    before: Annotated[int | None, Query(ge=0, le=_LARGEST)] = None,
    show: Literal["all", "accepted", "lost", "open"] = "all",
) -> Response:
    """Show one worker."""
    site = site_of(request)
    settings = site.load()
    if name not in sources.names(settings):
        raise HTTPException(404)
    now = clock_of(settings)
    card = card_of(settings, sources.worker(settings, name), now, Monitor(settings), series=True)
    epochs: tuple[Epoch, ...] = ()
    rows: tuple[Epoch, ...] = ()
    if card.summary is not None:
        epochs = sources.epochs(settings, name)
        rows = sources.page(settings, name, before=before, states=_SHOWN[show], limit=_PAGE)
    log = f"fleet.{name}"
    path = log_files(settings).get(log)
    try:
        lines, unread = (tail(path, 12, (*site.secrets, settings.allora_key)) if path else []), ""
    except CrucibleError as error:
        lines, unread = [], str(error)
    return render(
        request, "worker.html", title=name, watch=f"worker:{name}", now=now, card=card, epochs=epochs, rows=rows,
        network=settings.network,
        timeline=strip([epoch.state for epoch in epochs], per_row=min(_PER_ROW, max(len(epochs), 1)), label="epochs"),
        per_row=min(_PER_ROW, max(len(epochs), 1)), charts=_charts(epochs, card.monitored),
        show=show, before=before, more=rows[-1].nonce if len(rows) == _PAGE else None,
        log=log if path else "", lines=lines, unread=unread,
    )  # fmt: skip


@router.api_route("/workers/{name}/nonces/{nonce}", methods=["GET", "HEAD"])
def nonce(request: Request, name: Name, nonce: Annotated[int, Path(ge=0, le=_LARGEST)]) -> Response:
    """Show all that the journal holds of one nonce."""
    settings = site_of(request).load()
    records = sources.record(settings, name, nonce) if name in sources.names(settings) else ()
    if not records:
        raise HTTPException(404)
    shown = [(item, transaction_of(item.content) if item.content else None) for item in records]
    return render(request, "nonce.html", title=f"Nonce {nonce} of {name}", name=name, nonce=nonce, records=shown)


def _charts(epochs: tuple[Epoch, ...], monitored: Monitored) -> list[Markup]:
    if not epochs:
        return []
    first, last = (moment(instant(epoch.seen_at))[:16] for epoch in (epochs[0], epochs[-1]))
    ends = (first, f"{last} UTC")
    scores = [epoch.score for epoch in epochs]

    def measured(key: str, unit: float = 1.0) -> list[float | None]:
        points = monitored.series.get(key, {})
        return [points[epoch.nonce] / unit if epoch.nonce in points else None for epoch in epochs]

    score = [
        Line("score", scores, faint=True),
        Line(f"mean of {_SMOOTH}", _smoothed(scores)),
        Line("EMA score", measured("score_ema")),
    ]
    latency = [
        Line("to the broadcast", [epoch.sent_after for epoch in epochs]),
        Line("to the block", [epoch.taken_after for epoch in epochs]),
    ]
    loss = [Line("this worker's", measured("loss"), faint=True), Line("the network's", measured("network_loss"))]
    drawn = [
        ("Score", "as the reputers gave it", ",.3g", score),
        ("Latency", "seconds of the clock's time from the window's opening", ",.1f", latency),
        ("Forecast", "topic units", ",.6g", [Line("value", [epoch.value for epoch in epochs])]),
        ("Loss", "of the forecasts, once the truth is known", ",.3g", loss),
        ("Reward", "ALLO per epoch", ",.3g", [Line("reward", measured("reward", ALLO))]),
        ("Rank", "among the topic's inferers", ",.0f", [Line("rank", measured("rank"))]),
    ]
    figures = [chart(lines, title=title, unit=unit, ends=ends, form=form) for title, unit, form, lines in drawn]
    if monitored.balances:
        known = monitored.balances
        days = (moment(known[0][0])[:16], f"{moment(known[-1][0])[:16]} UTC")
        held = [Line("balance", [uallo / ALLO for _, uallo in known])]
        figures.append(chart(held, title="Balance", unit="ALLO", ends=days, form=",.4g"))
    return [figure for figure in figures if figure]


def _smoothed(values: list[float | None]) -> list[float | None]:
    """Return the mean of the newest 24 known values at each place where one is known."""
    found: list[float | None] = []
    window: list[float] = []
    for value in values:
        if value is not None:
            window = [*window[1 - _SMOOTH :], value] if len(window) >= _SMOOTH else [*window, value]
        found.append(sum(window) / len(window) if value is not None and len(window) == _SMOOTH else None)
    return found
