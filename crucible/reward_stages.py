"""The reward backtest of a recipe or of a file: which predictions, which field, and what came of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crucible.errors import EvaluationError, SettingsError
from crucible.network.field import SyntheticField, Truth, WorkerField
from crucible.network.parameters import Parameters
from crucible.recipe import Recipe
from crucible.settings import Settings
from crucible.stage_records import evaluation_folder, read_current, read_notes
from crucible.validation.losses import LOSSES
from crucible.validation.predictions import OutOfSample, read_predictions
from crucible.validation.reward import Progress, RewardBacktest, reward_backtest
from crucible.validation.reward_files import read_candidate, read_field

_MOST_THREADS = 4


@dataclass(frozen=True)
class Candidate:
    """A candidate's out-of-sample predictions, one row per epoch of its topic.

    Attributes
    ----------
    name : str
        What it is called in a report.
    times : numpy.ndarray
        Shape (epochs,), int64, ascending: microseconds since 1970 UTC, or block heights.
    predictions : numpy.ndarray
        Shape (epochs,), topic units.
    truth : Truth
        Of the same epochs.
    loss : str
        The topic's loss method.
    block : int
        The horizon in epochs: for as long, neighbouring targets overlap.
    """

    name: str
    times: np.ndarray
    predictions: np.ndarray
    truth: Truth
    loss: str
    block: int


@dataclass(frozen=True)
class FieldSettings:
    """A made-up field; see :class:`crucible.network.field.SyntheticField`."""

    workers: int
    skill: float
    spread: float
    correlation: float
    noise: float
    bias: float


def candidate_of_recipe(settings: Settings, recipe: Recipe) -> Candidate:
    """Return what the chosen candidate of an evaluated recipe predicted for its outer windows.

    Raises
    ------
    EvaluationError
        If there is no walk-forward so far.
    StoreError
        If its files are damaged.
    """
    folder = evaluation_folder(settings, recipe, read_current(settings, recipe))
    chosen = str(read_notes(folder)["chosen"])
    return candidate_of_predictions(recipe, read_predictions(folder / "predictions.parquet"), chosen)


def candidate_of_predictions(recipe: Recipe, oos: OutOfSample, chosen: str) -> Candidate:
    """Return what ``chosen`` predicted, in the topic's units and at the topic's cadence.

    Where the recipe predicts at every bar and the topic asks less often, the epochs are those that lie a multiple of
    the cadence after the first prediction.
    """
    times = oos.times.astype("datetime64[us]").astype(np.int64)
    cadence = int(recipe.topic.cadence.total_seconds() * 1e6)
    rows = np.flatnonzero((times - times[0]) % cadence == 0) if len(times) else np.arange(0)
    close, scale = oos.close[rows], oos.known_scale[rows]
    actual, predicted = oos.y_true[rows], oos.y_pred[chosen][rows]
    if recipe.topic.target == "price":
        truth = Truth(close * np.exp(actual), close, close * scale)
        predicted = close * np.exp(predicted)
    else:
        truth = Truth(actual, np.zeros(len(rows)), scale)
    return Candidate(
        name=f"{recipe.name}: {chosen}",
        times=times[rows],
        predictions=predicted,
        truth=truth,
        loss=recipe.topic.loss,
        block=max(1, -(-recipe.topic.horizon // recipe.topic.cadence)),
    )


def candidate_of_file(path: Path, recipe: Recipe | None, loss: str | None, block: int | None) -> Candidate:
    """Return the predictions of a file; loss method and horizon come from ``recipe`` unless they are given.

    Raises
    ------
    SchemaError
        If the file cannot be used.
    """
    times, predictions, truth = read_candidate(path)
    known = -(-recipe.topic.horizon // recipe.topic.cadence) if recipe else 1
    method = loss or (recipe.topic.loss if recipe else "sqe")
    return Candidate(path.name, times, predictions, truth, method, block or max(1, known))


def backtest_reward(
    candidate: Candidate,
    field: Path | FieldSettings,
    params: Parameters,
    *,
    reputers: int = 6,
    effect_epochs: int = 20_000,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[RewardBacktest, WorkerField]:
    """Return what ``candidate`` would have earned among recorded workers, or in a made-up field, and that field.

    Epochs that a recorded field does not cover are left out.

    Raises
    ------
    CrucibleError
        If predictions, field and settings do not go together; with the reason.
    """
    if candidate.loss not in LOSSES:
        raise SettingsError(f"There is no loss method {candidate.loss!r}; choose one of {', '.join(LOSSES)}.")
    bad = np.flatnonzero(~np.isfinite(candidate.predictions))
    if bad.size:
        raise EvaluationError(f"{candidate.name}: the prediction of row {int(bad[0])} is not a finite number.")
    others: WorkerField
    if isinstance(field, Path):
        kept, others = read_field(field, candidate.times)
        old = candidate.truth
        truth = Truth(old.values[kept], old.reference[kept], old.scale[kept])
        candidate = replace(candidate, predictions=candidate.predictions[kept], truth=truth)
    else:
        others = SyntheticField(candidate.truth, **vars(field), seed=seed)
    found = reward_backtest(
        candidate.predictions,
        candidate.truth,
        others,
        params,
        loss=LOSSES[candidate.loss],
        reputers=reputers,
        block=candidate.block,
        seed=seed,
        effect_epochs=effect_epochs,
        threads=min(os.cpu_count() or 1, _MOST_THREADS),
        progress=progress,
    )
    return found, others
