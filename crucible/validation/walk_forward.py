"""The walk-forward itself: every candidate fitted afresh before each test block, and never shown a later row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crucible.features.dataset import Dataset
from crucible.models.candidates import build_model, members
from crucible.models.mean import average
from crucible.models.model import Model
from crucible.recipe import Recipe
from crucible.validation.predictions import OutOfSample
from crucible.validation.splits import Fold, WalkForward

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class WalkForwardResult:
    """Out-of-sample predictions of every candidate.

    Attributes
    ----------
    oos : OutOfSample
        The predictions.
    scale : numpy.ndarray
        Shape (n,): standard deviation of the training targets of the row's fold. Known before the block began, so
        losses that need a scale (ztae, zptae) may use it.
    purged : bool
        Whether no training label interval of any fold reached its test block.
    """

    oos: OutOfSample
    scale: np.ndarray
    purged: bool


def run_walk_forward(
    dataset: Dataset, recipe: Recipe, *, workers: int = 2, progress: Progress | None = None
) -> WalkForwardResult:
    """Fit and test every candidate of ``recipe`` on every fold.

    Fits run side by side in ``workers`` threads (the libraries release the interpreter lock); each fit uses one
    thread, so the predictions do not depend on ``workers``.

    Parameters
    ----------
    dataset : Dataset
        Features and target.
    recipe : Recipe
        Candidates and validation plan.
    workers : int
        How many fits run at once.
    progress : callable, optional
        Told ``(done, total)`` after each fit.

    Raises
    ------
    EvaluationError
        If there are too few rows.
    """
    from joblib import Parallel, delayed

    folds = list(WalkForward.of(recipe).split(dataset.times))
    names: list[str] = [name for name in recipe.models.candidates if name != "mean"]
    jobs = [(fold, name) for fold in folds for name in names]
    outputs = Parallel(n_jobs=workers, prefer="threads", return_as="generator")(
        delayed(_fit_and_predict)(build_model(name, recipe, dataset.names), dataset, fold) for fold, name in jobs
    )
    predicted: dict[tuple[int, str], np.ndarray] = {}
    for done, ((fold, name), output) in enumerate(zip(jobs, outputs, strict=True), start=1):
        predicted[fold.number, name] = output
        if progress:
            progress(done, len(jobs))

    columns = {name: np.concatenate([predicted[fold.number, name] for fold in folds]) for name in names}
    if "mean" in recipe.models.candidates:
        columns["mean"] = average([columns[name] for name in members(recipe)])
    rows = np.concatenate([fold.test for fold in folds])
    return WalkForwardResult(
        oos=OutOfSample(
            times=dataset.times[rows],
            fold=np.concatenate([np.full(len(fold.test), fold.number) for fold in folds]),
            close=dataset.close[rows],
            y_true=dataset.y[rows],
            y_pred={name: columns[name] for name in recipe.models.candidates},
        ),
        scale=np.concatenate([np.full(len(fold.test), dataset.y[fold.train].std()) for fold in folds]),
        purged=_labels_precede_tests(dataset.times, folds, np.timedelta64(recipe.topic.horizon)),
    )


def _fit_and_predict(model: Model, dataset: Dataset, fold: Fold) -> np.ndarray:
    model.fit(dataset.x[fold.train], dataset.y[fold.train])
    return model.predict(dataset.x[fold.test])


def _labels_precede_tests(times: np.ndarray, folds: list[Fold], horizon: np.timedelta64) -> bool:
    # checked on the rows that were used, not on the rule that chose them
    return all(times[fold.train].max() + horizon < times[fold.test].min() for fold in folds)
