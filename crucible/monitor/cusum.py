"""Has the loss against the network become worse? A one-sided cumulative sum (Page 1954) of standardised differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crucible.errors import EvaluationError
from crucible.monitor.levels import LEVELS

SLACK = 0.1
"""How much worse per independent epoch, in standard deviations, is not worth an alarm; half of what is looked for."""

CLIP = 3.0
"""One epoch counts at most this many standard deviations: markets jump, and a jump is no trend."""

MEMORY = 96
"""Over how many earlier epochs the size of a difference is measured: a turbulent day is not a worse one."""

FEWEST = 200
"""Fewer independent epochs than this do not say what the usual difference is."""


@dataclass(frozen=True)
class Sum:
    """A cumulative sum over live epochs.

    Attributes
    ----------
    height : float
        Where it stands now; 0 is as good as before or better.
    threshold : float
        From which height it is an alarm.
    alarm : int or None
        The row at which it first was one, or ``None``.
    path : numpy.ndarray
        Shape (n,): its height after each row.
    """

    height: float
    threshold: float
    alarm: int | None
    path: np.ndarray

    @property
    def drifted(self) -> bool:
        """Whether there was an alarm."""
        return self.alarm is not None


def cumulate(reference: np.ndarray, live: np.ndarray, *, overlap: int = 1, threshold: float | None = None) -> Sum:
    """Sum up how much worse ``live`` is than ``reference`` says is usual.

    Parameters
    ----------
    reference : numpy.ndarray
        Shape (m,): own loss less the other's (the network's, the zero forecast's), from training or from earlier live
        epochs, in time order.
    live : numpy.ndarray
        Shape (n,): the same of the epochs since.
    overlap : int
        The horizon in epochs. Neighbours that overlap are one piece of evidence: only the means of blocks of this
        length are summed.
    threshold : float, optional
        Instead of the measured one.

    Raises
    ------
    EvaluationError
        If the reference holds fewer than :data:`FEWEST` blocks, or does not vary.
    """
    before, after = block_means(reference, overlap), block_means(live, overlap)
    if len(before) < FEWEST:
        raise EvaluationError(f"{len(before)} independent epochs do not say what is usual; it takes {FEWEST}.")
    steps = _steps(np.concatenate([before, after]), len(before))
    level = LEVELS["loss"].value if threshold is None else threshold
    return held_at_zero(steps, len(live), overlap, level)


def held_at_zero(steps: np.ndarray, rows: int, overlap: int, level: float) -> Sum:
    """Return the sum of ``steps``, one per ``overlap`` of ``rows`` rows, that never falls below 0."""
    # S_i = max(S_{i-1} + x_i, 0) is the walk less its lowest point so far
    walk = np.cumsum(steps)
    path = walk - np.minimum(np.minimum.accumulate(walk), 0.0) if len(walk) else walk
    over = np.flatnonzero(path > level)
    alarm = int((over[0] + 1) * overlap - 1) if len(over) else None
    wide = np.repeat(path, overlap)
    padded = np.concatenate([wide, np.full(rows - len(wide), wide[-1] if len(wide) else 0.0)])
    return Sum(float(path[-1]) if len(path) else 0.0, level, alarm, padded)


def block_means(values: np.ndarray, overlap: int) -> np.ndarray:
    """Return the means of consecutive whole blocks of ``overlap`` values."""
    whole = len(values) // overlap * overlap
    return values[:whole].reshape(-1, overlap).mean(axis=1)


def _steps(values: np.ndarray, known: int) -> np.ndarray:
    """Return the standardised differences after the first ``known``, less the slack.

    Each is divided by the mean size of those before it, clipped, and then centred and scaled as the known ones are.
    """
    sizes = np.abs(values)
    if not sizes[:known].mean() > 0:
        raise EvaluationError("The usual difference of losses is nothing at all, so that nothing can be told from it.")
    running = np.concatenate([[0.0], np.cumsum(sizes)])
    ends = np.arange(len(values))
    starts = np.maximum(ends - MEMORY, 0)
    usual = (running[ends] - running[starts]) / np.maximum(ends - starts, 1)
    scale = np.where(ends < MEMORY, running[MEMORY] / MEMORY, usual)
    scale = np.maximum(scale, 1e-6 * sizes[:known].mean())  # after a spell of equal losses
    clipped = np.clip(values / scale, -CLIP, CLIP)
    middle, spread = float(clipped[:known].mean()), float(clipped[:known].std())
    if not spread > 0:
        raise EvaluationError("The usual difference of losses does not vary, so that nothing can be told from it.")
    return (clipped[known:] - middle) / spread - SLACK
