"""The inner search: settings of each candidate, on rows that no verdict will ever be based on.

A trial is one candidate's settings over the inner folds: fitted on the training part, stopped by the validation part,
scored by the topic's own loss on the test part, relative to the zero forecast's. Since the best size of a forecast is
found with it (one factor for all folds), a trial is not preferred for being timid. Trials are asked of Optuna in pairs
and told in order, so the result does not depend on how many processes work on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crucible.errors import EvaluationError
from crucible.models.candidates import BASELINES, ENSEMBLES, members
from crucible.models.mean import average
from crucible.recipe import Recipe
from crucible.validation.ensembles import ensemble_weights
from crucible.validation.fits import Crew, Rows, SharedRows, fit_and_predict, open_rows
from crucible.validation.losses import topic_loss
from crucible.validation.splits import InnerFold
from crucible.validation.statistics.comparison import diebold_mariano
from crucible.validation.statistics.selection import overfitting_probability
from crucible.validation.study import Study
from crucible.validation.trial import Outcome, score, sized

Progress = Callable[[int, int], None]

_SURE = 0.05


@dataclass
class Searched:
    """What the search found.

    Attributes
    ----------
    settings : dict
        By candidate, what takes the place of the recipe's values.
    scores : dict of str to float
        Mean relative loss of every candidate on the inner tests; below 1 is better than zero.
    ensemble : str
        The one that is taken unless another candidate beats it; empty if there is none.
    beats_ensemble : frozenset of str
        Candidates whose loss on the inner tests is significantly (5 %) below the ensemble's.
    trials, pruned, failed : int
        How many were begun, cut short, and lost.
    gains : numpy.ndarray
        Shape (blocks, trials): 1 less the relative loss per inner test block of complete trials.
    """

    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    ensemble: str = ""
    beats_ensemble: frozenset[str] = frozenset()
    trials: int = 0
    pruned: int = 0
    failed: int = 0
    gains: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def chosen(self) -> str:
        """The candidate for the outer windows; a baseline only where there is nothing else.

        An ensemble, if there is one, unless another candidate beats it by more than chance would: picking the luckiest
        of several equals is how skill is lost. Otherwise the one with the lowest score.
        """
        learnt = {name: score for name, score in self.scores.items() if name not in BASELINES}
        pool = learnt or self.scores
        better = {name: pool[name] for name in pool if name in self.beats_ensemble} if self.ensemble else pool
        return min(better, key=lambda name: better[name]) if better else self.ensemble

    def to_json(self) -> dict[str, Any]:
        """Return what was found as plain values."""
        return {
            "chosen": self.chosen, "settings": self.settings, "scores": self.scores, "trials": self.trials,
            "pruned": self.pruned, "failed": self.failed, "overfitting": self.overfitting,
        }  # fmt: skip

    @property
    def overfitting(self) -> float | None:
        """Probability that the best trial of one half of the inner tests is below the median in the other, if known."""
        blocks, trials = self.gains.shape
        if trials < 2 or blocks < 2:
            return None
        return overfitting_probability(self.gains, parts=blocks - blocks % 2)


def search(
    source: Rows | SharedRows,
    recipe: Recipe,
    folds: tuple[InnerFold, ...],
    *,
    crew: Crew | None = None,
    storage: Path | None = None,
    progress: Progress | None = None,
) -> Searched:
    """Search the settings of every learning candidate, and score all candidates on the inner tests.

    Parameters
    ----------
    source : Rows or SharedRows
        The matrix; shared where processes other than this one work.
    recipe : Recipe
        Candidates, number of trials, seed.
    folds : tuple of InnerFold
        From :func:`.inner_folds`.
    crew : Crew, optional
        Who works; this process alone by default.
    storage : pathlib.Path, optional
        An SQLite file: an interrupted search goes on where it stopped.
    progress : callable, optional
        Told ``(trials done, trials)``.

    Raises
    ------
    EvaluationError
        If every trial of a candidate fails; with the last reason.
    """
    crew, rows, result = crew or Crew(), open_rows(source), Searched()
    learners = members(recipe)
    best: dict[str, Outcome] = {}
    columns: list[np.ndarray] = []
    for index, name in enumerate(learners):
        run = Study(source, recipe, name, folds, crew, storage)

        def tell(done: int, before: int = index * recipe.search.trials) -> None:
            if progress:
                progress(before + done, len(learners) * recipe.search.trials)

        run.go(tell)
        result.settings[name], best[name] = run.best()
        result.scores[name] = float(np.mean(best[name].losses))
        result.trials += len(run.outcomes)
        result.pruned += sum(outcome.state == "pruned" for outcome in run.outcomes)
        result.failed += sum(outcome.state == "failed" for outcome in run.outcomes)
        columns += [1 - np.array(o.losses) for o in run.outcomes if o.state == "complete"]
    if recipe.search.split == "combinatorial":
        columns = []  # its folds share rows, so one half of them says nothing about the other
    result.gains = np.column_stack(columns) if columns else result.gains
    tests = np.concatenate([fold.test for fold in folds])
    result.ensemble = next((name for name in ENSEMBLES if name in recipe.models.candidates), "")
    for name in recipe.models.candidates:
        if name in BASELINES:
            made = [fit_and_predict(rows, recipe, name, {}, fold.train, fold.test) for fold in folds]
            result.scores[name] = float(
                np.mean([score(rows, recipe, fold.test, values) for fold, values in zip(folds, made, strict=True)])
            )
        elif name in ENSEMBLES:
            predicted = {item: best[item].predictions for item in learners}
            weights = ensemble_weights(name, result.scores, predicted, rows.y[tests], rows.scale[tests])
            made = [average({item: best[item].predictions[f.number] for item in learners}, weights) for f in folds]
            shrink, losses = sized(rows, recipe, folds, made)
            result.settings[name], result.scores[name] = {"weights": weights, "shrink": shrink}, float(np.mean(losses))
            if name == result.ensemble:
                singles = {item: (best[item].shrink, best[item].predictions) for item in learners}
                result.beats_ensemble = _better(rows, recipe, tests, (shrink, made), singles)
    return result


_Sized = tuple[float, Sequence[np.ndarray]]


def _better(
    rows: Rows, recipe: Recipe, tests: np.ndarray, ensemble: _Sized, others: Mapping[str, _Sized]
) -> frozenset[str]:
    """Return which of ``others`` lose significantly less than the ensemble on all inner tests together."""

    def losses(item: _Sized) -> np.ndarray:
        forecast = item[0] * np.concatenate(item[1])
        every = topic_loss(recipe, rows.y[tests], forecast, rows.close[tests], rows.scale[tests])
        # a combinatorial split tests a row several times; it is one event all the same
        _, place, times = np.unique(tests, return_inverse=True, return_counts=True)
        return np.bincount(place, weights=every) / times

    found, base = set(), losses(ensemble)
    for name, item in others.items():
        try:
            if diebold_mariano(losses(item), base, overlap=recipe.horizon_bars).p_value < _SURE:
                found.add(name)
        except EvaluationError:
            continue  # too few rows to tell, or the same forecasts: then it is not better
    return frozenset(found)
