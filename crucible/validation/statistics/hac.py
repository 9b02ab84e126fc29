"""Mean of a dependent series: Newey-West variance with fixed-b critical values.

A variance estimated with a bandwidth that is a share b of the sample is itself random, and the usual normal critical
values reject too often. Kiefer and Vogelsang (2005, *Econometric Theory* 21) give the right ones for the Bartlett
kernel as polynomials in b.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from crucible.errors import EvaluationError

FEWEST_BANDWIDTHS = 5
"""A sample shorter than this many bandwidths says nothing: even the fixed-b values are then guesses."""

_BANDWIDTH_HORIZONS = 2  # with fixed-b values this is calibrated from 1 to 288 bars, see docs/explanation

# upper tail probability: coefficients of 1, b, b^2, b^3 (Kiefer and Vogelsang 2005, table 1, Bartlett)
_CRITICAL = {
    0.1: (1.2816, 1.3040, 0.5135, -0.3386),
    0.05: (1.6449, 2.1859, 0.3142, -0.3427),
    0.025: (1.9600, 2.9694, 0.4160, -0.5324),
    0.01: (2.3263, 4.1618, 0.5368, -0.9060),
}


@dataclass(frozen=True)
class MeanStatistic:
    """A mean and how sure it is.

    Attributes
    ----------
    mean : float
        Of the values.
    error : float
        Its standard error, dependence counted.
    t : float
        The one over the other.
    p_value : float
        One-sided: the mean is not above zero.
    low, high : float
        Two-sided 95 % interval.
    bandwidth : int
        Lags of the Bartlett kernel.
    independent : float
        How many independent values would give this standard error.
    """

    mean: float
    error: float
    t: float
    p_value: float
    low: float
    high: float
    bandwidth: int
    independent: float


def bandwidth_for(rows: int, overlap: int) -> int:
    """Return the bandwidth for values that overlap over ``overlap`` rows, for a sample of ``rows``.

    Two horizons, and at least what a sample of this size needs for dependence that nobody expects.
    """
    return max(_BANDWIDTH_HORIZONS * overlap if overlap > 1 else 1, math.ceil(1.3 * math.sqrt(rows) / 4))


def mean_statistic(values: np.ndarray, *, overlap: int) -> MeanStatistic:
    """Test whether the mean of ``values`` is above zero.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (n,), in time order.
    overlap : int
        Over how many rows neighbours depend on each other by construction: the horizon in rows.

    Raises
    ------
    EvaluationError
        If a value is not finite, all are equal, or there are too few for the bandwidth.
    """
    n = len(values)
    if not np.isfinite(values).all():
        raise EvaluationError("A mean cannot be tested where single values are infinite or not a number.")
    bandwidth = bandwidth_for(n, overlap)
    if n < FEWEST_BANDWIDTHS * bandwidth:
        raise EvaluationError(
            f"{n} rows are too few for a test: with a bandwidth of {bandwidth} it takes "
            f"{FEWEST_BANDWIDTHS * bandwidth}."
        )
    mean = float(values.mean())
    variance = long_run_variance(values, bandwidth)
    if not variance > 0:
        raise EvaluationError("The values do not vary, so their mean cannot be tested.")
    error = math.sqrt(variance / n)
    share = bandwidth / n
    reach = critical_value(0.025, share) * error
    spread = float(values.var())
    return MeanStatistic(
        mean, error, mean / error, upper_tail(mean / error, share), mean - reach, mean + reach, bandwidth,
        n * spread / variance,
    )  # fmt: skip


def long_run_variance(values: np.ndarray, bandwidth: int) -> float:
    """Return the Bartlett estimate of the variance of sqrt(n) times the mean; at least 0."""
    n = len(values)
    centred = values - values.mean()
    lags = min(bandwidth, n - 1)
    power = np.abs(np.fft.rfft(centred, _fast_length(n + lags))) ** 2
    covariance = np.fft.irfft(power, _fast_length(n + lags))[: lags + 1] / n
    weights = 1.0 - np.arange(1, lags + 1) / (bandwidth + 1)
    return max(float(covariance[0] + 2.0 * (weights * covariance[1:]).sum()), 0.0)


def critical_value(tail: float, share: float) -> float:
    """Return the fixed-b critical value for an upper ``tail`` of 0.1, 0.05, 0.025 or 0.01 and b = ``share``."""
    return float(np.polynomial.polynomial.polyval(share, _CRITICAL[tail]))


def upper_tail(t: float, share: float) -> float:
    """Return the one-sided p-value of a t statistic with b = ``share``.

    Between the published levels the statistic is mapped to a normal one along straight lines, which is exact at each of
    them, and symmetric about zero.
    """
    from scipy.stats import norm

    levels = np.array([0.0, *(critical_value(tail, share) for tail in _CRITICAL)])
    normal = np.array([0.0, *(norm.isf(tail) for tail in _CRITICAL)])
    size = abs(t)
    if size > levels[-1]:
        z = normal[-1] + (size - levels[-1]) * (normal[-1] - normal[-2]) / (levels[-1] - levels[-2])
    else:
        z = float(np.interp(size, levels, normal))
    return float(norm.sf(math.copysign(z, t)))


def _fast_length(least: int) -> int:
    return 1 << (least - 1).bit_length()
