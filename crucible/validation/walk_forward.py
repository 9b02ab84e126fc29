"""Predictions of rows that were not seen: a fresh fit with frozen settings before each window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from crucible.features.dataset import Dataset
from crucible.models.candidates import ENSEMBLES, Settings, members
from crucible.models.mean import average
from crucible.recipe import Recipe
from crucible.validation.fits import Crew, Rows, SharedRows, fit_and_predict, open_rows
from crucible.validation.predictions import OutOfSample
from crucible.validation.splits import Fold

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class WalkForwardResult:
    """Out-of-sample predictions of every candidate.

    Attributes
    ----------
    oos : OutOfSample
        The predictions.
    scale : numpy.ndarray
        Shape (n,): standard deviation of the target as known at each prediction time.
    purged : bool
        Whether no training label interval of any window reached its test rows.
    """

    oos: OutOfSample
    scale: np.ndarray
    purged: bool


def run_walk_forward(
    source: Rows | SharedRows, dataset: Dataset, recipe: Recipe, folds: Sequence[Fold], found: Settings, *,
    crew: Crew | None = None, progress: Progress | None = None,
) -> WalkForwardResult:  # fmt: skip
    """Fit and test every candidate of ``recipe`` on every window.

    Parameters
    ----------
    source : Rows or SharedRows
        The matrix; shared where processes other than this one work.
    dataset : Dataset
        The same rows with their times.
    recipe : Recipe
        Candidates.
    folds : sequence of Fold
        Windows, oldest first.
    found : mapping
        Settings from the search, frozen.
    crew : Crew, optional
        Who works; this process alone by default. The predictions do not depend on it.
    progress : callable, optional
        Told ``(done, total)`` after each fit.
    """
    crew, rows = crew or Crew(), open_rows(source)
    names = [name for name in recipe.models.candidates if name not in ENSEMBLES]
    jobs = [(fold, name) for fold in folds for name in names]
    outputs = crew.run(fit_and_predict, [(source, recipe, name, found, fold.train, fold.test) for fold, name in jobs])
    predicted: dict[tuple[int, str], np.ndarray] = {}
    for done, ((fold, name), output) in enumerate(zip(jobs, outputs, strict=True), start=1):
        predicted[fold.number, name] = output
        if progress:
            progress(done, len(jobs))
    columns: dict[str, np.ndarray] = {
        name: np.concatenate([predicted[fold.number, name] for fold in folds]) for name in names
    }
    for made in ENSEMBLES:
        if made in recipe.models.candidates:
            equal = {member: 1.0 / len(members(recipe)) for member in members(recipe)}
            columns[made] = average(columns, dict(found.get(made, {}).get("weights", equal)))
    columns = {item: values * found.get(item, {}).get("shrink", 1.0) for item, values in columns.items()}
    tests = np.concatenate([fold.test for fold in folds])
    return WalkForwardResult(
        oos=OutOfSample(
            times=dataset.times[tests],
            fold=np.concatenate([np.full(len(fold.test), fold.number) for fold in folds]),
            close=dataset.close[tests],
            y_true=dataset.y[tests],
            y_pred={name: columns[name] for name in recipe.models.candidates},
        ),
        scale=rows.scale[tests],
        purged=_labels_precede_tests(dataset.times, folds, np.timedelta64(recipe.topic.horizon)),
    )


def _labels_precede_tests(times: np.ndarray, folds: Sequence[Fold], horizon: np.timedelta64) -> bool:
    # checked on the rows that were used, not on the rule that chose them
    return all(times[fold.train].max() + horizon < times[fold.test].min() for fold in folds)
