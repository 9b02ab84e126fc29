"""The model registry: versions that carry bundles, the aliases @challenger and @champion, and promotion."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crucible.clock import SystemClock
from crucible.errors import BundleError, GateError, RegistryError
from crucible.models.bundle import Bundle, load_bundle
from crucible.registry.tracking import client
from crucible.settings import Settings

CHAMPION = "champion"
CHALLENGER = "challenger"


@dataclass(frozen=True)
class Version:
    """One registered version of a recipe's model."""

    number: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    source: str


def register(settings: Settings, bundle: Bundle, run_id: str, tags: Mapping[str, str]) -> int:
    """Register ``bundle`` as a new version of its recipe's model, kept as an artifact of run ``run_id``.

    Returns
    -------
    int
        The version number.
    """
    from mlflow.exceptions import MlflowException

    mlflow = client(settings)
    name = bundle.manifest.recipe.name
    mlflow.log_artifacts(run_id, str(bundle.path), artifact_path="bundle")
    try:
        mlflow.create_registered_model(name, description=f"Answers the topic of recipe {name}.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{mlflow.get_run(run_id).info.artifact_uri}/bundle"
    every = {"bundle_sha256": bundle.digest, "candidate": bundle.manifest.candidate, **tags}
    version = mlflow.create_model_version(name, source, run_id=run_id, tags=every)
    return int(version.version)


def alias_version(settings: Settings, name: str, alias: str) -> int | None:
    """Return the version that ``alias`` of model ``name`` points to, or ``None``; a few milliseconds."""
    from mlflow.exceptions import MlflowException

    try:
        return int(client(settings).get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise RegistryError(f"MLflow cannot say where @{alias} of {name} points: {error.message}") from error


def set_alias(settings: Settings, name: str, alias: str, version: int) -> None:
    """Point ``alias`` of model ``name`` to ``version``."""
    get_version(settings, name, version)
    client(settings).set_registered_model_alias(name, alias, str(version))


def get_version(settings: Settings, name: str, number: int) -> Version:
    """Return one version of model ``name``.

    Raises
    ------
    RegistryError
        If there is none; the message lists those that there are.
    """
    found = {version.number: version for version in versions(settings, name)}
    if number not in found:
        there = ", ".join(str(known) for known in sorted(found)) or "none"
        raise RegistryError(f"Model {name} has no version {number}; there are: {there}.")
    return found[number]


def versions(settings: Settings, name: str) -> list[Version]:
    """Return every version of model ``name``, newest first; none where there is no such model."""
    mlflow = client(settings)
    aliases: dict[int, list[str]] = {}
    for model in mlflow.search_registered_models(f"name = '{name}'"):
        for alias, version in model.aliases.items():
            aliases.setdefault(int(version), []).append(alias)
    found = mlflow.search_model_versions(f"name = '{name}'")
    rows = [
        Version(int(item.version), tuple(sorted(aliases.get(int(item.version), []))), dict(item.tags), item.source)
        for item in found
    ]
    return sorted(rows, key=lambda version: -version.number)


def fetch_bundle(settings: Settings, name: str, number: int) -> Bundle:
    """Bring the bundle of a version into the home's bundle folder, verify every byte, and load it.

    Raises
    ------
    BundleError
        If it was altered, or is not the one that was registered.
    RegistryError
        If there is no such version.
    """
    version = get_version(settings, name, number)
    digest = version.tags.get("bundle_sha256")
    if not digest:
        raise BundleError(f"Version {number} of {name} carries no bundle_sha256; it was not registered by Crucible.")
    target = settings.bundles / digest
    if not target.exists():
        _download(version.source, target)
    return load_bundle(target, digest)


def promote(settings: Settings, name: str, number: int, *, override: str | None = None) -> None:
    """Move @champion of model ``name`` to version ``number``.

    Parameters
    ----------
    override : str, optional
        A person's reason for promoting in spite of the verdict; kept as a tag.

    Raises
    ------
    GateError
        If the verdict refused the version and no reason is given.
    """
    version = get_version(settings, name, number)
    if version.tags.get("verdict") != "passed" and not override:
        reasons = version.tags.get("verdict_reasons", "it carries no verdict")
        raise GateError(
            f"The gates refused version {number} of {name}: {reasons}. "
            f"To promote it all the same: crucible promote {name} --version {number} --override 'your reason'"
        )
    mlflow = client(settings)
    tags = {"promoted_at": SystemClock().now().isoformat(), "promoted_by": "override" if override else "gates"}
    if override:
        tags["override_reason"] = override
    for key, value in tags.items():
        mlflow.set_model_version_tag(name, str(number), key, value)
    mlflow.set_registered_model_alias(name, CHAMPION, str(number))


def _download(source: str, target: Path) -> None:
    from mlflow.artifacts import download_artifacts

    work = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        folder = download_artifacts(artifact_uri=source, dst_path=str(work))
        Path(folder).rename(target)
    except OSError as error:
        raise BundleError(f"The bundle at {source} cannot be fetched: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
