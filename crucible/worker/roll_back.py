"""Deploying a bundle by hand, and putting the previous one back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from crucible.errors import BundleError, ProcessError
from crucible.models.bundle import verify_bundle
from crucible.settings import Settings
from crucible.worker.deployment import Deployment, deploy, history, read_desired


def deploy_bundle(settings: Settings, path: Path, *, wallet: str | None = None, version: int = 0) -> Deployment:
    """Verify the bundle at ``path`` and ask for it; the registry is not needed, and not told.

    Parameters
    ----------
    wallet : str, optional
        By default the one that serves the recipe, or else the recipe's.
    version : int
        The registry's number of it; 0 for none.

    Raises
    ------
    BundleError
        If it was altered, or its recipe has no topic on this network.
    """
    folder = path.resolve()
    manifest, digest = verify_bundle(folder)
    recipe = manifest.recipe
    before = read_desired(settings, recipe.name)
    return deploy(
        settings,
        Deployment(
            recipe=recipe.name, generation=0, bundle=digest, bundle_path=str(folder), model_version=version,
            topic_id=recipe.topic_id(settings.network),
            wallet=wallet or (before.wallet if before else recipe.deploy.wallet),
            written_at=settings.clock.now().isoformat(),
            epoch_seconds=recipe.topic.cadence.total_seconds(),
        ),
    )  # fmt: skip


def roll_back(settings: Settings, recipe: str, *, to: int | None = None) -> Deployment:
    """Ask for the bundle that was deployed before the present one, under a new generation.

    Done twice, it puts the present one back. Wallet and topic stay as they are now.

    Parameters
    ----------
    to : int, optional
        The generation whose bundle is wanted.

    Raises
    ------
    ProcessError
        If nothing is deployed, or there is no such generation.
    BundleError
        If the earlier bundle is gone or was altered; what is served stays.
    """
    present = read_desired(settings, recipe)
    if present is None:
        raise ProcessError(f"Nothing is deployed for {recipe}.")
    past = [item for item in history(settings, recipe) if item.generation < present.generation]
    chosen = [item for item in past if item.generation == to] if to else [x for x in past if x.bundle != present.bundle]
    if not chosen:
        known = ", ".join(str(item.generation) for item in past) or "none"
        what = f"generation {to}" if to else "another bundle"
        raise ProcessError(f"{recipe} never served {what} before; earlier generations: {known}.")
    earlier = chosen[0]
    try:
        verify_bundle(Path(earlier.bundle_path), earlier.bundle)
    except BundleError as error:
        raise BundleError(f"Generation {earlier.generation} cannot be put back: {error}") from error
    return deploy(
        settings,
        replace(
            present, bundle=earlier.bundle, bundle_path=earlier.bundle_path, model_version=earlier.model_version,
            written_at=settings.clock.now().isoformat(),
        ),
    )  # fmt: skip
