"""The laboratory, from a dataset to a verdict: search, outer windows, gates, deployment set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crucible.features.dataset import Dataset
from crucible.recipe import Recipe
from crucible.validation.fits import Crew, Rows, SharedRows, rows_of
from crucible.validation.gates import confirm, judge
from crucible.validation.predictions import OutOfSample
from crucible.validation.scorecard import Scorecard
from crucible.validation.search import Progress, Searched, search
from crucible.validation.splits import Stages, inner_folds
from crucible.validation.verdict import Verdict
from crucible.validation.walk_forward import WalkForwardResult, run_walk_forward

PURGED = "no training label reaches its test block"


@dataclass(frozen=True)
class Examined:
    """What the laboratory found.

    Attributes
    ----------
    searched : Searched
        The inner search.
    outer : WalkForwardResult
        Predictions of the outer windows, by every candidate.
    deployment : WalkForwardResult or None
        Of the deployment set; None where the outer windows had stopped the candidate, and it stayed closed.
    verdict : Verdict
        On the candidate that the search chose.
    card : Scorecard
        The network kit's, on the outer windows.
    """

    searched: Searched
    outer: WalkForwardResult
    deployment: WalkForwardResult | None
    verdict: Verdict
    card: Scorecard


def predict_outer(
    source: Rows | SharedRows, dataset: Dataset, recipe: Recipe, stages: Stages, *, crew: Crew | None = None,
    storage: Path | None = None, progress: Progress | None = None,
) -> tuple[Searched, WalkForwardResult]:  # fmt: skip
    """Search on the inner rows, and predict the outer windows with what was found.

    Parameters
    ----------
    source : Rows or SharedRows
        The matrix of ``dataset``.
    dataset, recipe, stages
        What is examined.
    crew : Crew, optional
        Who works.
    storage : pathlib.Path, optional
        SQLite file of the search.
    progress : callable, optional
        Told ``(done, total)`` of the search's trials.
    """
    folds = inner_folds(recipe, dataset.times, stages.inner)
    searched = search(source, recipe, folds, crew=crew, storage=storage, progress=progress)
    return searched, run_walk_forward(source, dataset, recipe, stages.outer, searched.settings, crew=crew)


def open_deployment(
    source: Rows | SharedRows, dataset: Dataset, recipe: Recipe, stages: Stages, searched: Searched,
    outer: WalkForwardResult, verdict: Verdict, *, crew: Crew | None = None, looks: int = 1,
) -> tuple[WalkForwardResult, Verdict]:  # fmt: skip
    """Predict the deployment set with frozen settings, and add its answer to the verdict. To be done once."""
    fresh = run_walk_forward(source, dataset, recipe, (stages.deployment,), searched.settings, crew=crew)
    scale = np.concatenate([outer.scale, fresh.scale])
    return fresh, verdict.followed_by(confirm(recipe, outer.oos, fresh.oos, verdict.candidate, scale, looks))


def examine(
    dataset: Dataset, recipe: Recipe, *, crew: Crew | None = None, facts: Mapping[str, bool] | None = None
) -> Examined:
    """Run every stage over ``dataset`` in memory.

    Parameters
    ----------
    dataset : Dataset
        Rows with features and targets.
    recipe : Recipe
        Plan, candidates, gates.
    crew : Crew, optional
        Who works; this process by default.
    facts : mapping of str to bool, optional
        Integrity checks that were made before.

    Raises
    ------
    EvaluationError
        If there are too few rows, or every trial of a candidate fails.
    """
    stages, rows = Stages.of(recipe, dataset.times), rows_of(dataset, recipe)
    searched, outer = predict_outer(rows, dataset, recipe, stages, crew=crew)
    known = {**(facts or {}), PURGED: outer.purged}
    verdict, card = judge(recipe, outer.oos, searched.chosen, outer.scale, known)
    if not verdict.clear:
        return Examined(searched, outer, None, verdict, card)
    fresh, verdict = open_deployment(rows, dataset, recipe, stages, searched, outer, verdict, crew=crew)
    return Examined(searched, outer, fresh, verdict, card)


def joined(outer: OutOfSample, fresh: OutOfSample) -> OutOfSample:
    """Return the predictions of the outer windows and, after them, of the deployment set."""
    return OutOfSample(
        times=np.concatenate([outer.times, fresh.times]),
        fold=np.concatenate([outer.fold, fresh.fold]),
        close=np.concatenate([outer.close, fresh.close]),
        y_true=np.concatenate([outer.y_true, fresh.y_true]),
        y_pred={name: np.concatenate([outer.y_pred[name], fresh.y_pred[name]]) for name in outer.y_pred},
    )
