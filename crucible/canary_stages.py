"""The canary: a challenger that submits on a playground topic, from its own wallet, before it may become champion."""

from __future__ import annotations

from crucible.chain.keystore import Keystore
from crucible.errors import CrucibleError, RecipeError, WalletError
from crucible.monitor.submissions import canary_name, deployment_of
from crucible.recipe import Recipe
from crucible.registry.models import CHALLENGER, CHAMPION, alias_version, fetch_bundle, get_version
from crucible.settings import Settings
from crucible.worker.deployment import Deployment, deploy, remove_desired


def follow_challenger(settings: Settings, recipe: Recipe) -> str:
    """Ask the fleet for the challenger as canary, or for none where none is waiting; return what runs, or why not.

    The fleet does the rest, as for every deployment: it is on the list of `crucible workers ls` as ``<recipe>.canary``.
    Empty for a recipe without a canary.
    """
    name = canary_name(recipe.name)
    if recipe.deploy.canary is None:
        return ""
    number = alias_version(settings, recipe.name, CHALLENGER)
    waits = number is not None and number != alias_version(settings, recipe.name, CHAMPION)
    if number is None or not waits or get_version(settings, recipe.name, number).tags.get("verdict") != "passed":
        if deployment_of(settings, name) is not None:
            remove_desired(settings, name)
        return "no canary is needed"
    try:
        return _ask(settings, recipe, name, number)
    except CrucibleError as error:
        return f"no canary runs: {error}"


def _ask(settings: Settings, recipe: Recipe, name: str, number: int) -> str:
    canary = recipe.deploy.canary
    assert canary is not None
    if settings.network != "testnet":
        raise RecipeError(
            f"The canary of {recipe.name} submits on the testnet, and this home is on {settings.network}."
        )
    if canary.wallet not in Keystore(settings.keystore).names():
        raise WalletError(
            f"There is no wallet {canary.wallet!r}; make it with `crucible wallet create {canary.wallet}`."
        )
    bundle = fetch_bundle(settings, recipe.name, number)
    words = f"version {number} is the canary on topic {canary.topic}"
    present = deployment_of(settings, name)
    if present is not None and (present.bundle, present.topic_id, present.wallet) == (
        bundle.digest, canary.topic, canary.wallet,
    ):  # fmt: skip
        return words
    deploy(
        settings,
        Deployment(
            recipe=name, generation=0, bundle=bundle.digest, bundle_path=str(bundle.path), model_version=number,
            topic_id=canary.topic, wallet=canary.wallet, written_at=settings.clock.now().isoformat(),
            epoch_seconds=recipe.topic.cadence.total_seconds(),
        ),
    )  # fmt: skip
    return words
