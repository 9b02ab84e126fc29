"""How much each training row counts: less when it is old, and less when its label is mostly others' too."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from crucible.recipe import Recipe


def row_weights(recipe: Recipe, times: np.ndarray) -> np.ndarray | None:
    """Return the weights that ``models.recency`` and ``models.uniqueness`` ask for, shape (n,); None for equal ones.

    Parameters
    ----------
    recipe : Recipe
        Its settings.
    times : numpy.ndarray
        Shape (n,), ``datetime64[us]``: prediction times, ascending.
    """
    models = recipe.models
    if models.recency is None and not models.uniqueness:
        return None
    weight = np.ones(len(times))
    if models.recency is not None:
        age = (times[-1] - times) / np.timedelta64(models.recency)
        weight *= 0.5**age
    if models.uniqueness:
        weight *= uniqueness(times, recipe.topic.horizon)
    return weight


def uniqueness(times: np.ndarray, horizon: timedelta) -> np.ndarray:
    """Return the average uniqueness of each label, shape (n,), in (0, 1] (López de Prado 2018, section 4.4).

    At every prediction time within the label interval [t, t + H), one over the number of labels that are under way.
    On an unbroken grid all are equal; beside a gap, labels are more their own.
    """
    n, reach = len(times), np.timedelta64(horizon)
    last = np.searchsorted(times, times + reach)  # first row at which the label is over
    under_way = np.arange(n) - np.searchsorted(times, times - reach, side="right") + 1
    shares = np.concatenate([[0.0], np.cumsum(1.0 / under_way)])
    first = np.arange(n)
    return (shares[last] - shares[first]) / (last - first)


def normalised(weight: np.ndarray | None, rows: np.ndarray | slice) -> np.ndarray | None:
    """Return the weights of ``rows`` with a mean of 1, so that a penalty means the same for any of them."""
    if weight is None:
        return None
    chosen = weight[rows]
    found: np.ndarray = chosen / chosen.mean()
    return found
