"""Inference synthesis and scores in their first form: equal weights, as a topic of newcomers has them.

Losses are in log10, as the chain holds them: differences of losses are orders of magnitude.
"""

from __future__ import annotations

import numpy as np


def combine(inferences: np.ndarray) -> float:
    """Return the network inference: the mean of ``inferences`` (n,), n ≥ 1."""
    return float(np.mean(inferences))


def one_outs(inferences: np.ndarray) -> np.ndarray:
    """Return, for each of n ≥ 2 inferences, the network inference without it, shape (n,)."""
    n = len(inferences)
    return (np.sum(inferences) - inferences) / (n - 1)


def network_losses(losses: np.ndarray, stakes: np.ndarray) -> np.ndarray:
    """Return stake-weighted mean losses.

    Parameters
    ----------
    losses : numpy.ndarray
        Shape (m, k), log10: the losses that each of m reputers reports for k quantities; NaN where it reports none.
    stakes : numpy.ndarray
        Shape (m,), positive.

    Returns
    -------
    numpy.ndarray
        Shape (k,), log10; NaN where nobody reports.
    """
    weights = np.where(np.isnan(losses), 0.0, stakes[:, None])
    total = weights.sum(axis=0)
    summed = (np.nan_to_num(losses) * weights).sum(axis=0)
    return np.divide(summed, total, out=np.full(total.shape, np.nan), where=total > 0)


def inferer_scores(combined: float, without: np.ndarray) -> np.ndarray:
    """Return each inferer's score (n,): how much the log10 loss would rise without it."""
    return without - combined


def ema(alpha: float, value: float, previous: float | None) -> float:
    """Return the exponential moving average; the first value stands for itself."""
    return value if previous is None else alpha * value + (1 - alpha) * previous
