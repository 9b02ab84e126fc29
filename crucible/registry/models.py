"""The model registry: versions that carry bundles, the aliases @challenger and @champion, and promotion."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crucible.errors import BundleError, GateError, RegistryError
from crucible.models.bundle import Bundle, load_bundle, verify_bundle
from crucible.registry.store import client, refusals
from crucible.settings import Settings

CHAMPION = "champion"
CHALLENGER = "challenger"

BY_PERSON = "override"
BY_ROLLBACK = "roll-back"


@dataclass(frozen=True)
class Version:
    """One registered version of a recipe's model."""

    number: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    source: str


def register(settings: Settings, bundle: Bundle, run_id: str, tags: Mapping[str, str]) -> int:
    """Register ``bundle`` as a new version of its recipe's model, kept as an artifact of run ``run_id``.

    Parameters
    ----------
    settings : Settings
        The home.
    bundle : Bundle
        A verified bundle.
    run_id : str
        The run of the evaluation that chose it.
    tags : mapping of str to str
        ``verdict`` (``passed`` or ``refused``), ``verdict_reasons``, ``grade``, digests. The bundle's own digest,
        its candidate and the time, UTC, are added.

    Returns
    -------
    int
        The version number.

    Raises
    ------
    RegistryError
        If the store or the disk refuses.
    """
    from mlflow.exceptions import MlflowException

    mlflow = client(settings)
    name = bundle.manifest.recipe.name
    with refusals(f"Bundle {bundle.digest[:12]} cannot be registered as a version of {name}"):
        # by digest: another bundle of the same run must not overwrite the files that an older version points to
        folder = f"bundle/{bundle.digest}"
        mlflow.log_artifacts(run_id, str(bundle.path), artifact_path=folder)
        try:
            mlflow.create_registered_model(name, description=f"Answers the topic of recipe {name}.")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{mlflow.get_run(run_id).info.artifact_uri}/{folder}"
        own = {"bundle_sha256": bundle.digest, "candidate": bundle.manifest.candidate}
        every = {**own, "registered_at": settings.clock.now().isoformat(), **tags}
        version = mlflow.create_model_version(name, source, run_id=run_id, tags=every, description=_describe(every))
        return int(version.version)


def _describe(tags: Mapping[str, str]) -> str:
    verdict = f"verdict {tags['verdict']}" if "verdict" in tags else "no verdict"
    grade = f", grade {tags['grade']}" if "grade" in tags else ""
    reasons = f": {tags['verdict_reasons']}" if tags.get("verdict_reasons") else ""
    return f"Candidate {tags['candidate']}{grade}, {verdict}{reasons}. Bundle {tags['bundle_sha256']}."


def alias_version(settings: Settings, name: str, alias: str) -> int | None:
    """Return the version that ``alias`` of model ``name`` points to, or ``None``; a few milliseconds.

    Raises
    ------
    RegistryError
        If the store cannot be read.
    """
    from mlflow.exceptions import MlflowException

    mlflow = client(settings)
    with refusals(f"MLflow cannot say where @{alias} of {name} points"):
        try:
            return int(mlflow.get_model_version_by_alias(name, alias).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise


def set_alias(settings: Settings, name: str, alias: str, version: int) -> None:
    """Point ``alias`` of model ``name`` to ``version``.

    Raises
    ------
    RegistryError
        If there is no such version.
    """
    get_version(settings, name, version)
    with refusals(f"@{alias} of {name} cannot be moved"):
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
    with refusals(f"The versions of {name!r} cannot be listed"):
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
        If it was altered, or is not the one that was registered; nothing is then left in the bundle folder.
    RegistryError
        If there is no such version, or its files are gone.
    """
    version = get_version(settings, name, number)
    digest = version.tags.get("bundle_sha256")
    if not digest:
        raise BundleError(f"Version {number} of {name} carries no bundle_sha256; it was not registered by Crucible.")
    target = settings.bundles / digest
    if not target.exists():
        _download(version.source, target)
    return load_bundle(target, digest)


def promote(settings: Settings, name: str, number: int, *, override: str | None = None, by: str = BY_PERSON) -> None:
    """Move @champion of model ``name`` to version ``number``, and keep by whom and when as tags of the version.

    Parameters
    ----------
    settings : Settings
        The home; its clock dates the promotion.
    name : str
        The recipe's name.
    number : int
        The version.
    override : str, optional
        The reason for promoting in spite of the verdict; kept as a tag.
    by : str
        Who gives that reason: a person, or :data:`BY_ROLLBACK`. Kept as a tag, too; without a reason it is the gates.

    Raises
    ------
    GateError
        If the verdict refused the version and no reason is given.
    RegistryError
        If there is no such version.
    """
    version = get_version(settings, name, number)
    override = override.strip() if override else None
    if version.tags.get("verdict") != "passed" and not override:
        reasons = version.tags.get("verdict_reasons", "it carries no verdict")
        raise GateError(
            f"The gates refused version {number} of {name}: {reasons}. "
            f"To promote it all the same: crucible promote {name} --version {number} --override 'your reason'"
        )
    mlflow = client(settings)
    tags = {"promoted_at": settings.clock.now().isoformat(), "promoted_by": by if override else "gates"}
    if override:
        tags["override_reason"] = override
    with refusals(f"Version {number} of {name} cannot be promoted"):
        if not override and "override_reason" in version.tags:
            mlflow.delete_model_version_tag(name, str(number), "override_reason")
        for key, value in tags.items():
            mlflow.set_model_version_tag(name, str(number), key, value)
        # last, so that a champion always says who made it one
        mlflow.set_registered_model_alias(name, CHAMPION, str(number))


def _download(source: str, target: Path) -> None:
    from mlflow.artifacts import download_artifacts

    work = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    try:
        with refusals(f"The bundle at {source} cannot be fetched"):
            work.mkdir(parents=True)
            folder = Path(download_artifacts(artifact_uri=source, dst_path=str(work)))
        # before it gets its name: an altered one must not stand in the way of the right one
        verify_bundle(folder, target.name)
        with refusals(f"The bundle at {source} cannot be kept as {target}"):
            _settle(folder, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _settle(folder: Path, target: Path) -> None:
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    try:
        folder.rename(target)
    except OSError:
        # another process fetched the same content first
        if not target.exists():
            raise
