"""One trial: a candidate's settings over the inner folds, sized and scored by the topic's own loss."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crucible.errors import EvaluationError
from crucible.models.candidates import build_model
from crucible.models.model import HeldOut
from crucible.recipe import Recipe
from crucible.validation.fits import Rows, SharedRows, open_rows
from crucible.validation.losses import topic_loss
from crucible.validation.splits import InnerFold
from crucible.validation.weights import normalised

if TYPE_CHECKING:
    pass

PATIENCE = 20
"""Rounds without improvement on the validation part that end a fit."""

_FACTORS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5)


@dataclass(frozen=True)
class Outcome:
    """What became of one trial.

    Attributes
    ----------
    losses : tuple of float
        Relative loss per fold, as far as it came, with the best factor.
    running : tuple of float
        Mean relative loss after each fold, with the factor that was best until then.
    shrink : float
        The factor.
    state : str
        ``complete``, ``pruned`` or ``failed``.
    rounds : tuple of int
        Trees per fold, for candidates that grow.
    predictions : tuple of numpy.ndarray
        Per fold: of the test rows.
    reason : str
        Why it failed.
    """

    losses: tuple[float, ...]
    state: str
    running: tuple[float, ...] = ()
    shrink: float = 1.0
    rounds: tuple[int, ...] = ()
    predictions: tuple[np.ndarray, ...] = ()
    reason: str = ""


def run_trial(
    source: Rows | SharedRows, recipe: Recipe, name: str, found: Mapping[str, Any], folds: tuple[InnerFold, ...],
    medians: tuple[float, ...],
) -> Outcome:  # fmt: skip
    """Run one trial: its folds one after the other, until the mean so far is worse than the median of others.

    A fault of the fit fails the trial and nothing else.
    """
    rows, grows = open_rows(source), name in ("lightgbm", "catboost", "quantile")
    losses: tuple[float, ...] = ()
    running: list[float] = []
    shrink = 1.0
    rounds: list[int] = []
    predictions: list[np.ndarray] = []
    deadline = time.monotonic() + recipe.search.deadline.total_seconds()
    try:
        for fold in folds:
            model = build_model(name, recipe, rows.names, {name: found})
            held_out = HeldOut(rows.x[fold.validation], rows.y[fold.validation], PATIENCE, deadline) if grows else None
            model.fit(rows.x[fold.train], rows.y[fold.train], held_out, normalised(rows.weight, fold.train))
            if time.monotonic() > deadline:
                raise EvaluationError("it took longer than search.deadline")
            predictions.append(model.predict(rows.x[fold.test]))
            rounds.append(getattr(model, "rounds", 0))
            done = len(predictions)
            shrink, losses = sized(rows, recipe, folds[:done], predictions)
            running.append(float(np.mean(losses)))
            if done < len(folds) and done <= len(medians) and running[-1] > medians[done - 1]:
                return Outcome(losses, "pruned", tuple(running), shrink, tuple(rounds))
    except Exception as error:  # noqa: BLE001 -- whatever a library raises for odd settings is that trial's affair
        return Outcome(losses, "failed", tuple(running), reason=f"{type(error).__name__}: {error}")
    return Outcome(losses, "complete", tuple(running), shrink, tuple(rounds) if grows else (), tuple(predictions))


def score(rows: Rows, recipe: Recipe, test: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean topic loss of ``predicted`` on rows ``test``, relative to the zero forecast's.

    Raises
    ------
    EvaluationError
        If a prediction or the loss is not finite, or the truth never moves.
    """
    if not np.isfinite(predicted).all():
        raise EvaluationError("it predicts what is no finite number")
    y, close, scale = rows.y[test], rows.close[test], rows.scale[test]
    zero = float(topic_loss(recipe, y, np.zeros_like(y), close, scale).mean())
    own = float(topic_loss(recipe, y, predicted, close, scale).mean())
    if not (zero > 0 and math.isfinite(own)):
        raise EvaluationError("its loss is not finite, or the truth never moves")
    return own / zero


def sized(
    rows: Rows, recipe: Recipe, folds: Sequence[InnerFold], predicted: Sequence[np.ndarray]
) -> tuple[float, tuple[float, ...]]:
    """Return the factor with which the forecasts lose least over all folds, and each fold's relative loss with it."""
    found = {
        factor: tuple(
            score(rows, recipe, fold.test, factor * values) for fold, values in zip(folds, predicted, strict=True)
        )
        for factor in _FACTORS
    }
    best = min(found, key=lambda factor: (float(np.mean(found[factor])), -factor))
    return best, found[best]
