r"""Have the forecasts lost their meaning? A likelihood ratio of the slope of the truth on them, summed as Page does.

Judged out of sample, the truth was :math:`z = \beta_0 f + e`, both in units of the volatility of the last epochs. Were
the slope less by :math:`\delta`, as it is where a signal vanishes (1) or turns (2), an epoch's log likelihood ratio
would be

.. math:: x = -\frac{2\delta f\,(z-\beta_0 f) + \delta^2 f^2}{2\,\mathrm{var}(e)} .

The sum of it, held at 0 from below (Page 1954), is the quickest way to notice (Lorden 1971); while nothing is lost,
:math:`E\,e^x = 1`, so that a height of h is passed about once in :math:`e^h` epochs, or less often. An epoch counts by
how much its forecast says: bold forecasts that fail are noticed within days, and timid ones, of which two days cannot
tell anything, are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from crucible.errors import EvaluationError
from crucible.monitor.cusum import FEWEST, Sum, block_means, held_at_zero
from crucible.monitor.levels import LEVELS

LOST = 1.5
"""How much of the slope must be gone to be looked for: between a signal that vanishes and one that turns."""

MOST = 2.0
"""One epoch counts at most this much either way: returns have heavier tails than the formula supposes."""

MEMORY = 4.0
"""Half-life in epochs of the volatility that returns are measured by; a third of it is the slow one known at t."""

UNSURE = 0.2
"""A slope whose standard error out of sample is larger than this cannot be told from one that has changed."""


@dataclass(frozen=True)
class Told:
    """Forecasts and what came, in time order, each shape (n,): log returns, and their slow standard deviation."""

    predicted: np.ndarray
    truth: np.ndarray
    scale: np.ndarray

    def usable(self) -> Told:
        """Return the rows that can be counted."""
        good = np.isfinite(self.predicted) & np.isfinite(self.truth) & (self.scale > 0)
        return Told(self.predicted[good], self.truth[good], self.scale[good])


def lost_skill(
    reference: Told, live: Told, *, overlap: int = 1, per_day: float = 288.0, threshold: float | None = None
) -> Sum:
    """Sum up how much speaks for forecasts that mean less ``live`` than they did in ``reference``.

    Parameters
    ----------
    reference : Told
        Out of sample, from the evaluation, as far apart as epochs are.
    live : Told
        Since the model serves.
    overlap : int
        The horizon in epochs: of so many neighbours the mean counts, once.
    per_day : float
        Epochs in a day: who looks more often needs a higher level for as few false alarms a year.
    threshold : float, optional
        Instead of the measured one.

    Raises
    ------
    EvaluationError
        If the reference is short, or says too little of the slope: forecasts near 0, or without any relation.
    """
    known, now = reference.usable(), live.usable()
    independent = len(known.truth) // overlap
    if independent < FEWEST:
        raise EvaluationError(f"{independent} independent epochs do not say what is usual; it takes {FEWEST}.")
    truth = np.concatenate([known.truth, now.truth])
    size = np.sqrt(_recent(truth, overlap) * 2 / 3 + np.concatenate([known.scale, now.scale]) ** 2 / 3)
    z, told = truth / size, np.concatenate([known.predicted, now.predicted]) / size
    old = slice(0, len(known.truth))
    power = float(told[old] @ told[old])
    slope = float(told[old] @ z[old]) / power if power > 0 else 0.0
    variance = float(np.mean((z[old] - slope * told[old]) ** 2))
    unsure = math.sqrt(variance * overlap / power) if power > 0 else math.inf
    if not unsure <= UNSURE:
        raise EvaluationError(f"The forecasts say too little for a loss of their skill to be noticed ({unsure:.2g}).")
    z, told = z[len(known.truth) :], told[len(known.truth) :]
    steps = -(2 * LOST * told * (z - slope * told) + (LOST * told) ** 2) / (2 * variance)
    level = LEVELS["skill"].value + math.log(per_day / overlap) if threshold is None else threshold
    return held_at_zero(block_means(np.clip(steps, -MOST, MOST), overlap), len(z), overlap, level)


def _recent(truth: np.ndarray, overlap: int) -> np.ndarray:
    """Return the exponential mean of squared returns that were over by each epoch."""
    from scipy.signal import lfilter

    fade = 0.5 ** (1.0 / (MEMORY * overlap))
    begin = float(np.mean(truth[: 48 * overlap] ** 2))
    before = np.concatenate([np.full(overlap, begin), truth[:-overlap] ** 2]) if overlap < len(truth) else truth * 0
    found, _ = lfilter([1.0 - fade], [1.0, -fade], before, zi=[fade * begin])
    return np.asarray(found)
