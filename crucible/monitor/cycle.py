"""One round of live evaluation for a recipe: who serves, shadows, collection; each can fail without the others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from crucible.errors import ChainError, CrucibleError
from crucible.monitor.champions import note_deployment, previous_champion
from crucible.monitor.collect import Collected, collect
from crucible.monitor.shadow import catch_up
from crucible.monitor.submissions import deployment_of
from crucible.recipe import Recipe
from crucible.registry.models import CHALLENGER, alias_version, fetch_bundle
from crucible.settings import Settings


@dataclass(frozen=True)
class Round:
    """What a round brought.

    Attributes
    ----------
    shadows : dict of int to int
        New shadow forecasts by model version.
    collected : Collected
        New submissions and facts.
    trouble : tuple of str
        What could not be done, each in one sentence.
    """

    shadows: dict[int, int]
    collected: Collected
    trouble: tuple[str, ...]


def live_round(settings: Settings, recipe: Recipe) -> Round:
    """Let the shadows catch up with the stored bars, and collect what is known of every live forecast.

    Raises
    ------
    StoreError
        If a journal or the monitor's store is damaged, or the disk refuses.
    """
    note_deployment(settings, recipe.name)
    trouble: list[str] = []
    shadows: dict[int, int] = {}
    for version in shadow_versions(settings, recipe):
        try:
            bundle = fetch_bundle(settings, recipe.name, version)
            shadows[version] = catch_up(settings, recipe, bundle, version=version)
        except CrucibleError as error:
            trouble.append(f"shadow of version {version}: {error}")
    try:
        collected = asyncio.run(_collect(settings, recipe))
    except ChainError as error:  # what journal and bars say was kept by then
        trouble.append(str(error))
        collected = Collected(0, 0)
    return Round(shadows, collected, tuple(trouble))


def shadow_versions(settings: Settings, recipe: Recipe) -> list[int]:
    """Return which versions predict without submitting: the challenger, and the champion before this one."""
    served = deployment_of(settings, recipe.name)
    before, challenger = previous_champion(settings, recipe.name), alias_version(settings, recipe.name, CHALLENGER)
    wanted = {challenger, before.version if before else None} - {None, served.model_version if served else None}
    return sorted(version for version in wanted if version is not None)


async def _collect(settings: Settings, recipe: Recipe) -> Collected:
    from crucible.chain.client import ChainClient

    async with ChainClient(settings.grpc_url) as client:
        return await collect(settings, recipe, client)
