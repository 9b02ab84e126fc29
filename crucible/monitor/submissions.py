"""The one place where the monitor reads what the workers wrote: journals and reports."""

from __future__ import annotations

from crucible.recipe import Recipe
from crucible.settings import Settings
from crucible.worker.deployment import Actual, Deployment, journal_path, read_actual, read_desired
from crucible.worker.journal import Row, read_journal
from crucible.worker.paid import read_paid

ACCEPTED = frozenset({"included", "scored", "unscored", "left_out"})
"""States of a submission that a block holds."""

_ROLE = "inferer"


def submissions_of(settings: Settings, recipe: Recipe) -> list[Row]:
    """Return what the worker of ``recipe`` did about each nonce of its topic on this network, oldest first."""
    rows = read_journal(journal_path(settings, recipe.name))
    topic = (settings.chain_id, recipe.topic_id(settings.network), _ROLE)
    return [row for row in rows if (row.chain_id, row.topic_id, row.role) == topic]


def rewards_of(settings: Settings, recipe: Recipe) -> dict[tuple[str, int], float]:
    """Return what the epochs of the recipe's topic have paid, uallo, by address and nonce."""
    return read_paid(journal_path(settings, recipe.name), settings.chain_id, recipe.topic_id(settings.network))


def canary_name(recipe: str) -> str:
    """Return under which name the canary of a recipe is deployed; no recipe can be called so."""
    return f"{recipe}.canary"


def canary_epochs(settings: Settings, recipe: Recipe, bundle: str) -> int:
    """Return how many submissions of a bundle as the recipe's canary were accepted and scored."""
    canary = recipe.deploy.canary
    if canary is None:
        return 0
    rows = read_journal(journal_path(settings, canary_name(recipe.name)))
    return sum(
        (row.chain_id, row.topic_id, row.bundle, row.state) == (settings.chain_id, canary.topic, bundle, "scored")
        for row in rows
    )


def deployment_of(settings: Settings, recipe: str) -> Deployment | None:
    """Return what should be served, or ``None``."""
    return read_desired(settings, recipe)


def report_of(settings: Settings, recipe: str) -> Actual | None:
    """Return what the worker says of itself, or ``None`` where none ever ran."""
    return read_actual(settings, recipe)
