"""Whether a version may be promoted now: enough epochs as shadow and canary, no live loss, a topic as agreed."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from crucible.errors import EvaluationError
from crucible.monitor.contract import broken_contract
from crucible.monitor.live import overlap_of
from crucible.monitor.retrain import Waiting
from crucible.monitor.store import monitor_store
from crucible.monitor.submissions import canary_epochs
from crucible.recipe import Recipe
from crucible.registry.models import CHALLENGER, CHAMPION, alias_version, get_version
from crucible.settings import Settings
from crucible.validation.statistics.comparison import diebold_mariano


def why_not(settings: Settings, recipe: Recipe, number: int) -> str:
    """Return why version ``number`` may not become champion yet, in one sentence; empty if it may.

    Raises
    ------
    RegistryError
        If there is no such version.
    """
    if broken := broken_contract(settings, recipe):
        return f"the topic is not what the recipe says: {broken}"
    wanted, canary = recipe.deploy.live_epochs, recipe.deploy.canary
    if not wanted and not canary:
        return ""
    bundle = get_version(settings, recipe.name, number).tags.get("bundle_sha256", "")
    if unproven := _unproven(settings, recipe, number, bundle):
        return unproven
    champion = alias_version(settings, recipe.name, CHAMPION)
    if champion is None or champion == number:
        return ""
    other = get_version(settings, recipe.name, champion).tags.get("bundle_sha256", "")
    loss, theirs = paired(settings, recipe, bundle, other)
    if not np.isfinite(loss).all():
        return f"version {number} predicted live what its loss is infinite for"
    try:
        worse = diebold_mariano(theirs, loss, overlap=overlap_of(recipe))
    except EvaluationError:
        return ""  # too few common epochs to say anything against it
    if worse.p_value < recipe.gates.alpha:
        return (
            f"version {number} does worse live than champion {champion} over {len(loss)} common epochs "
            f"(p {worse.p_value:.3f})"
        )
    return ""


def waiting(settings: Settings, recipe: Recipe) -> Waiting | None:
    """Return the challenger that passed its gates and still lives its epochs, or has and is to be promoted next.

    Others wait for twice the time that it needs: longer, and a challenger that nobody serves would end all retraining.
    """
    canary = recipe.deploy.canary
    epochs = max(recipe.deploy.live_epochs, canary.epochs if canary else 0)
    number = alias_version(settings, recipe.name, CHALLENGER) if epochs else None
    if number is None or number == alias_version(settings, recipe.name, CHAMPION):
        return None
    tags = get_version(settings, recipe.name, number).tags
    if tags.get("verdict") != "passed" or "promoted_at" in tags or "registered_at" not in tags:
        return None
    words = _unproven(settings, recipe, number, tags.get("bundle_sha256", ""))
    if not words and not why_not(settings, recipe, number):
        words = f"version {number} may be promoted now"
    begun = datetime.fromisoformat(tags["registered_at"])
    return Waiting(words, begun + 2 * epochs * recipe.topic.cadence) if words else None


def _unproven(settings: Settings, recipe: Recipe, number: int, bundle: str) -> str:
    """Return which live epochs a version still lacks, in one sentence; empty if none."""
    wanted, canary = recipe.deploy.live_epochs, recipe.deploy.canary
    seen = monitor_store(settings).judged(bundle) if wanted else 0
    if seen < wanted:
        return f"version {number} has {seen} of {wanted} live epochs; it goes on as a shadow"
    if canary and (scored := canary_epochs(settings, recipe, bundle)) < canary.epochs:
        return (
            f"version {number} has {scored} of {canary.epochs} scored epochs on topic {canary.topic}; "
            "it goes on as a canary"
        )
    return ""


def paired(
    settings: Settings, recipe: Recipe, bundle: str, other: str, *, since: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Return the losses of two bundles over the prediction times that both have, in time order, shape (n,) each.

    A submission counts before a shadow forecast of the same bundle.
    """
    store = monitor_store(settings)
    mine, theirs = (store.losses(recipe.name, name, since=since) for name in (bundle, other))
    common = sorted(mine.keys() & theirs.keys())
    return np.array([mine[at] for at in common]), np.array([theirs[at] for at in common])
