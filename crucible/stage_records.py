"""What the stages of one recipe have left on disk: the newest features, the evaluation, its verdict, the ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from crucible.errors import EvaluationError, StoreError
from crucible.features.dataset import Dataset
from crucible.features.dataset_file import dataset_path, read_dataset
from crucible.recipe import Recipe
from crucible.settings import Settings
from crucible.validation.ledger import OPENED, Ledger

NOTES = "walk_forward.json"
"""What the search found, in an evaluation's folder."""


@dataclass(frozen=True)
class Current:
    """What the newest run of the stages for one recipe was computed from."""

    recipe_digest: str
    bars_digest: str
    feature_digest: str
    rows_digest: str
    """Of the rows that the stages count: those up to the anchor."""
    start: str
    end: str
    anchor: str
    """The last prediction time that the stages count, ISO: fixed by the version's first run."""

    @property
    def evaluation(self) -> str:
        """Name of the evaluation folder: equal inputs, equal name."""
        return f"{self.recipe_digest[:8]}-{self.feature_digest[:8]}-{self.rows_digest[:8]}"


def read_features(settings: Settings, recipe: Recipe) -> Dataset:
    """Return the newest dataset of ``recipe``."""
    return read_dataset(dataset_path(settings.features, recipe, read_current(settings, recipe).bars_digest))


def read_verdict(settings: Settings, recipe: Recipe) -> dict[str, Any]:
    """Return the verdict of the newest evaluation, as plain values.

    Raises
    ------
    EvaluationError
        If there is none so far.
    """
    path = evaluation_folder(settings, recipe, read_current(settings, recipe)) / "verdict.json"
    try:
        verdict: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise EvaluationError(f"{recipe.name} has not been evaluated yet; materialise `evaluation` first.") from None
    return verdict


def read_current(settings: Settings, recipe: Recipe) -> Current:
    """Return what the newest features were computed from.

    Raises
    ------
    EvaluationError
        If there are none, or the recipe has been changed since.
    """
    path = current_file(settings, recipe)
    try:
        current = Current(**json.loads(path.read_text()))
    except FileNotFoundError:
        raise EvaluationError(f"There are no features of {recipe.name} so far; materialise `features` first.") from None
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); materialise `features` again.") from error
    if current.recipe_digest != recipe.digest:
        raise EvaluationError(f"Recipe {recipe.name} was changed after its features; materialise `features` again.")
    return current


def evaluation_folder(settings: Settings, recipe: Recipe, current: Current) -> Path:
    """Return the folder that holds everything about one evaluation.

    Once a version's deployment set was opened, that evaluation is the version's, whatever bars were mended since.
    """
    opened = [e for e in open_ledger(settings, recipe).entries() if e["kind"] == OPENED]
    mine = [e for e in opened if e["recipe"] == recipe.digest and e["features"] == current.feature_digest]
    return settings.evaluations / recipe.name / (mine[-1]["evaluation"] if mine else current.evaluation)


def read_notes(folder: Path) -> dict[str, Any]:
    """Return what the search left in an evaluation's folder.

    Raises
    ------
    EvaluationError
        If there is nothing so far.
    """
    try:
        notes: dict[str, Any] = json.loads((folder / NOTES).read_text())
    except FileNotFoundError:
        raise EvaluationError(f"{folder} holds no walk-forward; materialise `walk_forward` first.") from None
    return notes


def open_ledger(settings: Settings, recipe: Recipe) -> Ledger:
    """Return the trial ledger of ``recipe``, whatever its version."""
    return Ledger(settings.data / "ledger" / f"{recipe.name}.jsonl")


def current_file(settings: Settings, recipe: Recipe) -> Path:
    """Return the file that says what the newest features were computed from."""
    return settings.features / recipe.name / "current.json"


def utc_of(time: np.datetime64) -> datetime:
    """Return ``time`` as an aware instant."""
    found: datetime = time.astype("datetime64[us]").astype(datetime)
    return found.replace(tzinfo=UTC)


def iso_of(time: np.datetime64) -> str:
    """Return ``time`` as ISO text, UTC."""
    return utc_of(time).isoformat()
