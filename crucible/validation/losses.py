"""The loss of a recipe's predictions, by the topic's own method and in its own units."""

from __future__ import annotations

import numpy as np

from crucible.network.loss_methods import LOSSES, Loss
from crucible.recipe import Recipe

__all__ = ["LOSSES", "Loss", "topic_loss"]


def topic_loss(
    recipe: Recipe, y_true: np.ndarray, y_pred: np.ndarray, close: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Return the topic's own loss of each prediction, in the topic's own units.

    Parameters
    ----------
    recipe : Recipe
        Its loss method and target kind decide.
    y_true, y_pred : numpy.ndarray
        Shape (n,): actual and predicted log returns.
    close : numpy.ndarray
        Shape (n,): price at the prediction time; a price topic is scored on prices.
    scale : numpy.ndarray
        Shape (n,): standard deviation of the target as known before the prediction, for ztae and zptae. The caller
        measures it on the training rows of each fold, never on the rows that are judged.

    Returns
    -------
    numpy.ndarray
        Shape (n,). An absurd prediction may overflow to infinity; the gates refuse it.

    Raises
    ------
    EvaluationError
        If the loss is not defined for such values.
    """
    loss = LOSSES[recipe.topic.loss]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if recipe.topic.target == "price":
            return loss(close * np.exp(y_true), close * np.exp(y_pred), close * scale)
        return loss(y_true, y_pred, scale)
