"""What speaks for retraining a recipe now, and what was retrained before; see :mod:`crucible.monitor.retrain`."""

from __future__ import annotations

from datetime import datetime

from crucible.bar_stages import bar_store
from crucible.errors import BundleError, EvaluationError
from crucible.market.recipe_bars import bars_digest
from crucible.models.bundle import verify_bundle
from crucible.monitor.champions import DEPLOYED
from crucible.monitor.contract import PINNED
from crucible.monitor.drift_watch import DriftReport
from crucible.monitor.retrain import Evidence, Past, Reason
from crucible.monitor.states import last_state, note_state
from crucible.monitor.store import Event, monitor_store
from crucible.monitor.submissions import deployment_of
from crucible.recipe import Recipe
from crucible.settings import Settings
from crucible.stage_records import read_current

RETRAINED, DRIFT, DECAY = "retrained", "drift", "decay"
"""Kinds of event."""


def note_drift(settings: Settings, recipe: Recipe, report: DriftReport) -> None:
    """Keep whether anything has moved, and whether the loss has become worse, since when."""
    store, now = monitor_store(settings), settings.clock.now()
    words = ", ".join(sorted({item.column for item in report.moved})[:6])
    note_state(store, now, DRIFT, recipe.name, bool(report.moved), {"what": words, "bundle": report.bundle})
    sums = ((report.loss, f"against {report.against}"), (report.skill, "of lost skill"))
    heights = [f"{found.height:.0f} of {found.threshold:.0f} {what}" for found, what in sums if found]
    note_state(store, now, DECAY, recipe.name, report.decayed, {"what": "; ".join(heights), "bundle": report.bundle})


def gather(settings: Settings, recipe: Recipe) -> list[Evidence]:
    """Return what speaks for retraining; nothing while nothing is deployed, since nothing can have become stale then.

    Raises
    ------
    StoreError
        If a store is damaged.
    """
    deployment = deployment_of(settings, recipe.name)
    if deployment is None:
        return []
    found = [*_topic(settings, recipe, deployment.bundle), *_bars(settings, recipe)]
    kinds: tuple[tuple[Reason, str, str], ...] = (
        ("decay", DECAY, "the live loss has become worse"),
        ("drift", DRIFT, "distributions have moved"),
    )
    for reason, kind, words in kinds:
        state = last_state(monitor_store(settings), kind, recipe.name)
        # of an earlier bundle it says nothing about this one
        if state is not None and state.detail["holds"] and state.detail["bundle"] == deployment.bundle:
            since = datetime.fromisoformat(state.at)
            year, week, _ = settings.clock.now().isocalendar()
            mark = f"{reason}:{deployment.bundle[:12]}:{year}-{week}"
            found.append(Evidence(reason, mark, since, f"{words} ({state.detail['what']})"))
    return found


def history(settings: Settings, recipe: str) -> list[Past]:
    """Return the retrainings of ``recipe`` that were noted, oldest first, and whether a new champion came of each."""
    store = monitor_store(settings)
    events = store.events(RETRAINED, recipe)
    deployed = [event.at for event in store.events(DEPLOYED, recipe)]
    ends = [*(event.at for event in events[1:]), "9999"][: len(events)]
    return [
        Past(
            datetime.fromisoformat(event.at), str(event.detail["reason"]), str(event.detail["mark"]),
            any(event.at < at <= end for at in deployed),
        )
        for event, end in zip(events, ends, strict=True)
    ]  # fmt: skip


def note_retraining(settings: Settings, recipe: str, reason: str, mark: str, at: datetime) -> bool:
    """Note that a retraining was asked for; return whether that is new. Equal marks of a recipe are one retraining."""
    detail = {"reason": reason, "mark": mark}
    return monitor_store(settings).add_event(
        Event(f"{RETRAINED}:{recipe}:{mark}", at.isoformat(), RETRAINED, recipe, detail)
    )


def _topic(settings: Settings, recipe: Recipe, bundle: str) -> list[Evidence]:
    now = settings.clock.now()
    pins = monitor_store(settings).events(PINNED, recipe.name)
    found = [
        Evidence("topic", event.id, datetime.fromisoformat(event.at), "the topic's parameters were accepted anew")
        for event in pins[1:][-1:]
    ]
    try:
        served = verify_bundle(settings.bundles / bundle, bundle)[0].recipe
    except BundleError:
        return found  # an alert of its own; retraining would not mend a disk
    if served.topic != recipe.topic:
        found.append(Evidence("topic", f"topic:{recipe.digest[:16]}", now, "the recipe's topic has changed"))
    return found


def _bars(settings: Settings, recipe: Recipe) -> list[Evidence]:
    """Compare the bars that the newest features were computed from with what is stored for that time now."""
    try:
        current = read_current(settings, recipe)
    except EvaluationError:
        return []  # the recipe was changed: its schedule retrains it
    start, end = datetime.fromisoformat(current.start), datetime.fromisoformat(current.end)
    digest = bars_digest(bar_store(settings), recipe.data, start, end)
    if digest == current.bars_digest:
        return []
    return [Evidence("bars", f"bars:{digest[:16]}", settings.clock.now(), "bars of the history were repaired")]
