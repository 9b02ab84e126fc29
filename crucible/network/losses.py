"""Network losses from the losses that reputers report. All losses are log10, so means of them are geometric."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crucible.network.masks import has_nan
from crucible.network.networks import Synthesis

Report = Callable[[Synthesis], np.ndarray]


def network_losses(losses: np.ndarray, stakes: np.ndarray) -> np.ndarray:
    """Return stake-weighted mean losses.

    The weight is the raw stake; adjusted stakes serve only to score reputers.

    Parameters
    ----------
    losses : numpy.ndarray
        Shape (..., m, k), log10: what each of m reputers reports for k quantities; NaN where it reports nothing.
    stakes : numpy.ndarray
        Shape (..., m), positive.

    Returns
    -------
    numpy.ndarray
        Shape (..., k), log10; NaN where nobody reports. Source: ``network_losses.go:15-285``.
    """
    if not has_nan(losses):
        total = np.add.reduce(stakes, -1)[..., None]
        summed = np.matmul(stakes[..., None, :], losses)[..., 0, :]
    else:
        silent = np.isnan(losses)
        weights = np.where(silent, 0.0, stakes[..., None])
        total = weights.sum(axis=-2)
        summed = (np.nan_to_num(losses) * weights).sum(axis=-2)
    return np.divide(summed, total, out=np.full(summed.shape, np.nan), where=total > 0)


def running_weighted_average(
    summed: float, weight: float, next_weight: float, next_value: float
) -> tuple[float, float]:
    """Return the weighted sum and the sum of weights after one more value, as the chain accumulates losses."""
    return summed + next_weight * next_value, weight + next_weight


def squared_log_losses(truths: np.ndarray, floor: float = 1e-12, *, implied_one_outs: bool = False) -> Report:
    """Return how honest reputers report: ``log10((value − truth)² + floor)`` of everything that the network infers.

    Parameters
    ----------
    truths : numpy.ndarray
        Shape (..., m), topic units: what each reputer holds to be true.
    floor : float
        Keeps the logarithm finite, topic units squared.
    implied_one_outs : bool
        Whether losses of implied inferences with one inferer withheld are reported too.

    Returns
    -------
    Callable
        From a :class:`Synthesis` to losses (..., m, layout.reported or layout.size).
    """
    truths = np.asarray(truths, dtype=float)

    def report(synthesis: Synthesis) -> np.ndarray:
        width = synthesis.layout.size if implied_one_outs else synthesis.layout.reported
        off = synthesis.values[..., None, :width] - truths[..., None]
        return np.log10(off * off + floor)

    return report
