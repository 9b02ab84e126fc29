"""How small a skill can be seen, and when: intervals of shares, detectable effects, days until a verdict."""

from __future__ import annotations

import math
from datetime import timedelta

from crucible.validation.statistics.hac import MeanStatistic

_POWER = 0.8


def exact(hits: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a share of independent trials."""
    from scipy.stats import binomtest

    found = binomtest(hits, trials).proportion_ci(confidence_level=level, method="exact")
    return float(found.low), float(found.high)


def detectable_correlation(independent: float, alpha: float) -> float:
    """Return the correlation that a one-sided test at ``alpha`` finds in four of five cases.

    Parameters
    ----------
    independent : float
        How many independent events the sample is worth.
    alpha : float
        Level of the test.
    """
    from scipy.stats import norm

    if independent <= 1:
        return 1.0
    return min(float(norm.isf(alpha) + norm.isf(1 - _POWER)) / math.sqrt(independent), 1.0)


def days_until(correlation: float, statistic: MeanStatistic, rows: int, row: timedelta, alpha: float) -> float:
    """Return how many days of rows a verdict on a true ``correlation`` takes, at the dependence that was seen.

    Parameters
    ----------
    correlation : float
        Supposed true correlation of forecast and truth.
    statistic : MeanStatistic
        Of the rows so far: its ``independent`` per row says what a row is worth.
    rows : int
        How many those were.
    row : timedelta
        Between two rows.
    alpha : float
        Level of the test.
    """
    from scipy.stats import norm

    if not correlation > 0:
        return math.inf
    worth = statistic.independent / rows
    needed = (float(norm.isf(alpha) + norm.isf(1 - _POWER)) / correlation) ** 2 / worth
    return needed * row.total_seconds() / 86_400
