"""The model bundle: a content-addressed folder with a manifest and model files in non-executable formats.

``<bundles>/<digest>/manifest.json`` names every other file with its SHA-256; the digest is the SHA-256 of the
manifest, so it vouches for every byte. Equal recipe, bars and library versions give an equal digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

import crucible
from crucible.errors import BundleError, RecipeError, StoreError
from crucible.features.engine import feature_digest
from crucible.models.candidates import load_model
from crucible.models.model import Model
from crucible.recipe import Recipe, parse_recipe

MANIFEST = "manifest.json"
FORMAT = 1
SUFFIXES = frozenset({".json", ".txt", ".cbm", ".safetensors"})
"""The only kinds of file that a bundle may hold; none of them can carry code."""

_LIBRARIES = ("duckdb", "numpy", "lightgbm", "catboost", "scikit-learn")


@dataclass(frozen=True)
class Training:
    """What a model was fitted on."""

    bars_digest: str
    """SHA-256 of the bars."""
    rows: int
    """Number of training rows."""
    first: str
    """First prediction time, ISO, UTC."""
    last: str
    """Last prediction time, ISO, UTC."""


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself."""

    recipe: Recipe
    candidate: str
    features: tuple[str, ...]
    feature_digest: str
    training: Training
    libraries: dict[str, str]
    files: dict[str, str]


class Bundle:
    """A verified bundle, ready to predict."""

    def __init__(self, path: Path, digest: str, manifest: Manifest, model: Model) -> None:
        self.path = path
        self.digest = digest
        self.manifest = manifest
        self._model = model

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Return predicted log returns over the recipe's horizon.

        Parameters
        ----------
        matrix : numpy.ndarray
            Shape (n, k), float64: features in the manifest's order.

        Returns
        -------
        numpy.ndarray
            Shape (n,).

        Raises
        ------
        BundleError
            If the number of columns is not k.
        """
        if matrix.ndim != 2 or matrix.shape[1] != len(self.manifest.features):
            raise BundleError(
                f"Bundle {self.digest[:12]} needs {len(self.manifest.features)} features, not shape {matrix.shape}."
            )
        return self._model.predict(matrix)


def write_bundle(bundles: Path, recipe: Recipe, candidate: str, features: tuple[str, ...], training: Training,
                 model: Model) -> Bundle:  # fmt: skip
    """Save a fitted model as a bundle below ``bundles`` and return it; an equal one that is there already is kept.

    Raises
    ------
    StoreError
        If the disk refuses; nothing half-written is left behind.
    """
    work = bundles / f".{candidate}.{os.getpid()}.tmp"
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        model.save(work)
        manifest = {
            "format": FORMAT,
            "recipe": json.loads(recipe.canonical()),
            "recipe_digest": recipe.digest,
            "candidate": candidate,
            "features": list(features),
            "feature_digest": feature_digest(recipe),
            "training": asdict(training),
            # our own is asked of the code: an image holds it without being installed
            "libraries": {**{name: version(name) for name in _LIBRARIES}, "allora-crucible": crucible.__version__},
            "files": {file.name: _sha256(file.read_bytes()) for file in sorted(work.iterdir())},
        }
        content = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
        (work / MANIFEST).write_bytes(content)
        digest = _sha256(content)
        for file in [*work.iterdir(), work]:
            _sync(file)
        if not (bundles / digest).exists():
            work.rename(bundles / digest)
            _sync(bundles)
    except OSError as error:
        raise StoreError(f"The bundle cannot be written below {bundles}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return load_bundle(bundles / digest, digest)


def load_bundle(path: Path, digest: str | None = None) -> Bundle:
    """Verify the bundle at ``path`` and load it.

    Parameters
    ----------
    path : pathlib.Path
        The bundle's folder.
    digest : str, optional
        The digest that it must have.

    Raises
    ------
    BundleError
        If a file is missing, added, altered or of a forbidden kind, or if this version of Crucible computes other
        features than the model was trained on.
    """
    manifest, found = verify_bundle(path, digest)
    if feature_digest(manifest.recipe) != manifest.feature_digest:
        raise BundleError(
            f"Bundle {found[:12]} was trained on features that this version of Crucible computes differently; retrain."
        )
    return Bundle(path, found, manifest, load_model(manifest.candidate, path))


def verify_bundle(path: Path, digest: str | None = None) -> tuple[Manifest, str]:
    """Check every file of the bundle at ``path`` without loading the model; return the manifest and the digest.

    Raises
    ------
    BundleError
        If a file is missing, added, altered or of a forbidden kind.
    """
    try:
        content = (path / MANIFEST).read_bytes()
        names = {file.name for file in path.iterdir()} - {MANIFEST}
    except OSError as error:
        raise BundleError(f"{path} is not a bundle: {error.strerror or error}.") from error
    found = _sha256(content)
    if digest is not None and found != digest:
        raise BundleError(f"{path} has digest {found[:12]}, but {digest[:12]} was asked for.")
    manifest = _parse_manifest(content, path)
    if names != set(manifest.files):
        odd = ", ".join(sorted(names ^ set(manifest.files)))
        raise BundleError(f"{path} does not hold exactly the files of its manifest: {odd}.")
    for name, expected in manifest.files.items():
        if Path(name).suffix not in SUFFIXES:
            raise BundleError(f"{path / name} is of a kind that a bundle may not hold.")
        if _sha256((path / name).read_bytes()) != expected:
            raise BundleError(f"{path / name} was altered: its SHA-256 is not the one in the manifest.")
    return manifest, found


def _parse_manifest(content: bytes, path: Path) -> Manifest:
    try:
        values = json.loads(content)
        if values["format"] != FORMAT:
            raise BundleError(f"{path} has format {values['format']}, this version reads format {FORMAT}.")
        return Manifest(
            recipe=parse_recipe(json.dumps(values["recipe"]), f"the recipe in {path}"),
            candidate=values["candidate"],
            features=tuple(values["features"]),
            feature_digest=values["feature_digest"],
            training=Training(**values["training"]),
            libraries=dict(values["libraries"]),
            files=dict(values["files"]),
        )
    except (ValueError, KeyError, TypeError, RecipeError) as error:
        raise BundleError(f"{path / MANIFEST} is damaged ({error}).") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
