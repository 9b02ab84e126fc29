"""Which features a forecast leans on: each is shuffled on the outer windows, and what is lost is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crucible.models.candidates import Settings, build_model
from crucible.recipe import Recipe
from crucible.validation.fits import Crew, Rows, SharedRows, open_rows
from crucible.validation.splits import Fold
from crucible.validation.weights import normalised


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
    """

    feature: str
    drop: float
    windows: int


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
    agreements = np.array(list((crew or Crew()).run(_agreements, jobs)))
    intact, shuffled = agreements[:, 0], agreements[:, 1:]
    lost = intact[:, None] - shuffled
    whole = float(intact.mean())
    drops = lost.mean(axis=0) / whole if whole > 0 else np.full(len(rows.names), np.nan)
    order = np.argsort(-lost.mean(axis=0), kind="stable")
    return [Importance(rows.names[i], float(drops[i]), int((lost[:, i] > 0).sum())) for i in order]


def _agreements(
    source: Rows | SharedRows, recipe: Recipe, name: str, found: Settings, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Return the agreement on ``test`` with all features intact, and with each of them shuffled, shape (1 + k,)."""
    rows = open_rows(source)
    model = build_model(name, recipe, rows.names, found).fit(
        rows.x[train], rows.y[train], weight=normalised(rows.weight, train)
    )
    x, truth = np.array(rows.x[test]), rows.y[test] / rows.scale[test] ** 2
    generator = np.random.default_rng(recipe.validation.seed)
    blocks = np.array_split(np.arange(len(test)), max(len(test) // max(recipe.horizon_bars, 1), 2))
    order = np.concatenate([blocks[i] for i in generator.permutation(len(blocks))])
    made = [float((truth * model.predict(x)).mean())]
    for column in range(x.shape[1]):
        kept = x[:, column].copy()
        x[:, column] = kept[order]
        made.append(float((truth * model.predict(x)).mean()))
        x[:, column] = kept
    return np.array(made)
