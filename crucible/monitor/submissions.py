"""The one place where the monitor reads what the workers wrote: journals and reports."""

from __future__ import annotations

from crucible.recipe import Recipe
from crucible.settings import Settings
from crucible.worker.deployment import Actual, Deployment, journal_path, read_actual, read_desired, read_wanted
from crucible.worker.journal import Row, read_journal, read_newest
from crucible.worker.rewards import read_rewards

ACCEPTED = frozenset({"included", "scored", "unscored", "left_out"})
"""States of a submission that a block holds."""

_ROLE = "inferer"


def submissions_of(settings: Settings, recipe: Recipe) -> list[Row]:
    """Return what the worker of ``recipe`` did about each nonce of its topic on this network, oldest first."""
    rows = read_journal(journal_path(settings, recipe.name))
    topic = (settings.chain_id, recipe.topic_id(settings.network), _ROLE)
    return [row for row in rows if (row.chain_id, row.topic_id, row.role) == topic]


def newest_submissions_of(settings: Settings, recipe: Recipe, count: int) -> list[Row]:
    """Return the newest ``count`` of :func:`submissions_of`, without reading the others."""
    return read_newest(
        journal_path(settings, recipe.name), count,
        chain_id=settings.chain_id, topic_id=recipe.topic_id(settings.network), role=_ROLE,
    )  # fmt: skip


def rewards_of(settings: Settings, recipe: Recipe) -> dict[tuple[str, int], float]:
    """Return by address and nonce what the worker of ``recipe`` was paid in its topic on this network, uallo."""
    topic_id = recipe.topic_id(settings.network)
    return read_rewards(journal_path(settings, recipe.name), settings.chain_id, topic_id, _ROLE)


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


def deployed_names(settings: Settings) -> list[str]:
    """Return the recipes for which something should be served, whether or not their files can be read."""
    return [wanted.deployment.recipe for wanted in read_wanted(settings)]


def report_of(settings: Settings, recipe: str) -> Actual | None:
    """Return what the worker says of itself, or ``None`` where none ever ran."""
    return read_actual(settings, recipe)
