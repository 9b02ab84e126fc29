"""What choosing the best of many does to how good it looks: deflated Sharpe ratio and overfitting by CSCV."""

from __future__ import annotations

import itertools
import math

import numpy as np

from crucible.errors import EvaluationError

_EULER = 0.5772156649015329


def expected_best(trials: int, spread: float) -> float:
    """Return the Sharpe ratio that the best of ``trials`` without skill reaches on average.

    ``spread`` is the standard deviation of the trials' Sharpe ratios (Bailey and López de Prado 2014).
    """
    from scipy.stats import norm

    if trials < 2:
        return 0.0
    one, other = norm.isf(1.0 / trials), norm.isf(1.0 / (trials * math.e))
    return spread * float((1 - _EULER) * one + _EULER * other)


def deflated_sharpe(returns: np.ndarray, *, trials: int, spread: float, overlap: int) -> float:
    """Return the probability that the true Sharpe ratio is above what luck gives the best of ``trials``.

    Parameters
    ----------
    returns : numpy.ndarray
        Shape (n,): gains per row of the chosen one.
    trials : int
        How many were tried, the chosen one included.
    spread : float
        Standard deviation of all trials' Sharpe ratios per row.
    overlap : int
        The horizon in rows: n overlapping rows count as n / overlap.

    Raises
    ------
    EvaluationError
        If the returns do not vary.
    """
    from scipy.stats import norm

    deviation = float(returns.std())
    if not deviation > 0:
        raise EvaluationError("A Sharpe ratio needs returns that vary.")
    sharpe = float(returns.mean()) / deviation
    z = (returns - returns.mean()) / deviation
    skew, kurtosis = float((z**3).mean()), float((z**4).mean())
    count = max(len(returns) / overlap, 2.0)
    error = math.sqrt(max(1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2, 1e-12) / (count - 1))
    return float(norm.cdf((sharpe - expected_best(trials, spread)) / error))


def overfitting_probability(gains: np.ndarray, *, parts: int = 10) -> float:
    """Return the probability that the best trial in one half of time is below the median in the other.

    Combinatorially symmetric cross-validation (Bailey, Borwein, López de Prado and Zhu 2015).

    Parameters
    ----------
    gains : numpy.ndarray
        Shape (n, k): gains of k trials per row or per block, in time order.
    parts : int
        Even: into how many pieces time is cut.

    Raises
    ------
    EvaluationError
        If there are fewer than two trials, or fewer rows than parts.
    """
    from scipy.stats import rankdata

    n, k = gains.shape
    if parts % 2 or n < parts or k < 2:
        raise EvaluationError(f"{k} trials over {n} rows cannot be compared in {parts} parts.")
    means = np.stack([piece.mean(axis=0) for piece in np.array_split(gains, parts)])
    below = []
    for chosen in itertools.combinations(range(parts), parts // 2):
        inside = np.zeros(parts, dtype=bool)
        inside[list(chosen)] = True
        best = int(np.argmax(means[inside].mean(axis=0)))
        rank = rankdata(means[~inside].mean(axis=0))[best] / (k + 1)
        below.append(rank <= 0.5)
    return float(np.mean(below))
