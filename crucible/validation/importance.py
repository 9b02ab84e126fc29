"""Which features a forecast leans on: what shuffling each one costs, and by how much it moves the forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crucible.models.candidates import Settings, build_model
from crucible.recipe import Recipe
from crucible.validation.fits import Crew, Rows, SharedRows, open_rows
from crucible.validation.splits import Fold
from crucible.validation.weights import normalised

_SHAPLEY_ROWS = 2_000
"""Test rows of a window whose Shapley values are taken; their mean needs no more."""


@dataclass(frozen=True)
class Importance:
    """What shuffling one feature costs.

    Attributes
    ----------
    feature : str
        Its name.
    drop : float
        Loss of agreement between forecast and truth (mean of their product in standard deviations), as a share of
        the agreement with the feature intact; mean over the windows. NaN where there is no agreement to lose.
    windows : int
        In how many outer windows something was lost: a feature that helps in half of them helps by chance.
    moves, moves_low, moves_high : float
        Mean absolute Shapley value as a share of all features', over the windows, and its least and greatest in one.
    """

    feature: str
    drop: float
    windows: int
    moves: float
    moves_low: float
    moves_high: float


def permutation_importance(
    source: Rows | SharedRows, recipe: Recipe, name: str, found: Settings, folds: Sequence[Fold], *,
    crew: Crew | None = None,
) -> list[Importance]:  # fmt: skip
    """Return every feature of candidate ``name``, the most important first (Breiman 2001).

    Values are exchanged in blocks as long as the horizon, so that what is shuffled still moves as slowly as before.

    Parameters
    ----------
    source : Rows or SharedRows
        The matrix.
    recipe, name, found
        The candidate and its frozen settings.
    folds : sequence of Fold
        Outer windows: fitted on their training rows, shuffled on their tests.
    crew : Crew, optional
        Who works.
    """
    rows = open_rows(source)
    jobs = [(source, recipe, name, found, fold.train, fold.test) for fold in folds]
    found_of = list((crew or Crew()).run(_look, jobs))
    agreements, moves = (np.array([item[part] for item in found_of]) for part in (0, 1))
    intact, shuffled = agreements[:, 0], agreements[:, 1:]
    lost = intact[:, None] - shuffled
    whole = float(intact.mean())
    drops = lost.mean(axis=0) / whole if whole > 0 else np.full(len(rows.names), np.nan)
    order = np.argsort(-lost.mean(axis=0), kind="stable")
    return [
        Importance(
            rows.names[i], float(drops[i]), int((lost[:, i] > 0).sum()),
            float(moves[:, i].mean()), float(moves[:, i].min()), float(moves[:, i].max()),
        )
        for i in order
    ]  # fmt: skip


def _look(
    source: Rows | SharedRows, recipe: Recipe, name: str, found: Settings, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the agreement on ``test`` with all features intact and with each shuffled (1 + k,), and moves (k,)."""
    rows = open_rows(source)
    model = build_model(name, recipe, rows.names, found).fit(
        rows.x[train], rows.y[train], weight=normalised(rows.weight, train)
    )
    x, truth = np.array(rows.x[test]), rows.y[test] / rows.scale[test] ** 2
    thinned = x[:: max(len(x) // _SHAPLEY_ROWS, 1)]
    moves = np.abs(model.contributions(thinned)).mean(axis=0)
    generator = np.random.default_rng(recipe.validation.seed)
    blocks = np.array_split(np.arange(len(test)), max(len(test) // max(recipe.horizon_bars, 1), 2))
    order = np.concatenate([blocks[i] for i in generator.permutation(len(blocks))])
    made = [float((truth * model.predict(x)).mean())]
    for column in range(x.shape[1]):
        kept = x[:, column].copy()
        x[:, column] = kept[order]
        made.append(float((truth * model.predict(x)).mean()))
        x[:, column] = kept
    return np.array(made), moves / (moves.sum() or 1.0)
