"""The fleet at a glance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from crucible.errors import CrucibleError
from crucible.settings import Settings
from crucible.web import sources
from crucible.web.charts import strip
from crucible.web.health import Health, health_of
from crucible.web.monitor_files import Monitor, Monitored
from crucible.web.sources import Summary, Worker
from crucible.web.values import instant
from crucible.web.view import clock_of, render, site_of

router = APIRouter()


@dataclass(frozen=True)
class Card:
    """One worker as the fleet page shows it."""

    worker: Worker
    summary: Summary | None
    monitored: Monitored
    health: Health
    accepted_at: datetime | None
    strip: Markup


@router.api_route("/", methods=["GET", "HEAD"])
def fleet(request: Request, show: Literal["all", "attention"] = "all") -> Response:
    """Show every worker, the most urgent first."""
    settings = site_of(request).load()
    now = clock_of(settings)
    monitor = Monitor(settings)
    cards = sorted((card_of(settings, worker, now, monitor) for worker in sources.workers(settings)), key=_urgency)
    reasons: Counter[str] = Counter()
    for card in cards:
        reasons.update(dict(card.summary.reasons) if card.summary else {})
    levels = Counter(card.health.level for card in cards)
    needing = levels["bad"] + levels["watch"]
    runways = sorted((card.monitored.runway, card.worker.name) for card in cards if card.monitored.runway is not None)
    return render(
        request, "fleet.html", title="Fleet", watch="fleet", now=now, network=settings.network,
        cards=[card for card in cards if show == "all" or card.health.level in ("bad", "watch")],
        show=show, levels=levels, needing=needing, reasons=reasons.most_common(6), lost=sum(reasons.values()),
        total=sum(card.summary.total for card in cards if card.summary),
        accepted=sum(card.summary.accepted for card in cards if card.summary),
        runway=runways[0] if runways else None,
        alerts=monitor.alerts()[:20],
    )  # fmt: skip


def card_of(settings: Settings, worker: Worker, now: datetime, monitor: Monitor, *, series: bool = False) -> Card:
    """Return one worker as the fleet page shows it; a journal that cannot be read is told as its trouble.

    With ``series`` it carries the monitor's facts about single epochs too.
    """
    name, summary = worker.name, None
    try:
        summary = sources.summary(settings, name)
    except CrucibleError as error:
        worker = Worker(name, worker.recipe, worker.desired, worker.actual, str(error))
    address = worker.actual.address if worker.actual else ""
    measured = monitor.of(name, address, series=series)
    return Card(
        worker, summary, measured, health_of(worker, summary, measured, now),
        instant(summary.accepted_at) if summary else None,
        strip(summary.strip if summary else (), per_row=sources.RECENT, label=f"newest epochs of {name}"),
    )  # fmt: skip


def _urgency(card: Card) -> tuple[int, str]:
    return card.health.rank, card.worker.name
