"""Conditions that come and go, kept as events: one when a condition begins, one when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crucible.monitor.store import Event, MonitorStore


def note_state(
    store: MonitorStore, now: datetime, kind: str, recipe: str, holds: bool, detail: Mapping[str, Any]
) -> datetime | None:
    """Note whether a condition holds; return since when it does, or ``None``.

    Parameters
    ----------
    store : MonitorStore
        Where it is kept.
    now : datetime
        The present, UTC.
    kind : str
        Which condition, for example ``drift``.
    recipe : str
        Of which recipe.
    holds : bool
        Whether it holds at present.
    detail : mapping
        What a person should know, kept with the change.
    """
    last = last_state(store, kind, recipe)
    if last is not None and bool(last.detail["holds"]) == holds:
        return datetime.fromisoformat(last.at) if holds else None
    if last is None and not holds:
        return None  # nothing has begun, so that nothing can end
    at = now.isoformat()
    store.add_event(Event(f"{kind}:{recipe}:{at}", at, kind, recipe, {**detail, "holds": holds}))
    return now if holds else None


def last_state(store: MonitorStore, kind: str, recipe: str) -> Event | None:
    """Return the newest change of a condition, or ``None``."""
    found = store.events(kind, recipe)
    return found[-1] if found else None
