"""Which bundles served a recipe, one after the other, as the monitor has seen it."""

from __future__ import annotations

from dataclasses import dataclass

from crucible.monitor.store import Event, monitor_store
from crucible.monitor.submissions import deployment_of
from crucible.settings import Settings

DEPLOYED, ROLLED_BACK = "deployed", "rolled back"
"""Kinds of event."""


@dataclass(frozen=True)
class Tenure:
    """A bundle that was deployed.

    Attributes
    ----------
    version : int
        The model version.
    bundle : str
        Its digest.
    generation : int
        Of the deployment.
    since : str
        When the deployment was written, ISO, UTC.
    """

    version: int
    bundle: str
    generation: int
    since: str


def note_deployment(settings: Settings, recipe: str) -> None:
    """Remember what is deployed at present, if that is new."""
    found = deployment_of(settings, recipe)
    if found is not None:
        detail = {"version": found.model_version, "bundle": found.bundle, "generation": found.generation}
        monitor_store(settings).add_event(
            Event(
                f"{DEPLOYED}:{recipe}:{found.generation}:{found.bundle[:12]}",
                found.written_at,
                DEPLOYED,
                recipe,
                detail,
            )
        )


def tenures(settings: Settings, recipe: str) -> list[Tenure]:
    """Return what served ``recipe``, oldest first; the same bundle twice in a row is one tenure."""
    found: list[Tenure] = []
    events = monitor_store(settings).events(DEPLOYED, recipe)
    for event in sorted(events, key=lambda item: int(item.detail["generation"])):
        tenure = Tenure(
            int(event.detail["version"]), str(event.detail["bundle"]), int(event.detail["generation"]), event.at
        )
        if not found or found[-1].bundle != tenure.bundle:
            found.append(tenure)
    return found


def previous_champion(settings: Settings, recipe: str) -> Tenure | None:
    """Return what served before the present bundle, or ``None``; one that was rolled back does not count."""
    history = tenures(settings, recipe)
    refused = {str(event.detail["from_bundle"]) for event in monitor_store(settings).events(ROLLED_BACK, recipe)}
    now = history[-1].bundle if history else ""
    return next((item for item in reversed(history[:-1]) if item.bundle != now and item.bundle not in refused), None)
