"""Circular block bootstrap of a mean, for values that depend on their neighbours (Politis and Romano 1992)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CHUNK = 4_000_000  # block draws held in memory at once


@dataclass(frozen=True)
class MeanTest:
    """A mean, the evidence that it is above zero, and its 95 % interval.

    Attributes
    ----------
    mean : float
        Of the values.
    p_value : float
        One-sided: how often a mean this large would arise if the true one were zero.
    low, high : float
        Bounds of the two-sided 95 % interval.
    block : int
        Block length used, in rows.
    """

    mean: float
    p_value: float
    low: float
    high: float
    block: int


def bootstrap_mean(values: np.ndarray, *, block: int, draws: int, seed: int) -> MeanTest:
    """Test whether the mean of ``values`` is above zero.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (n,), in time order.
    block : int
        Rows per block: at least as many as neighbours depend on each other.
    draws : int
        Number of resamples.
    seed : int
        Equal seeds give equal results.
    """
    n, block = len(values), max(1, min(block, len(values)))
    mean = float(values.mean())
    count = -(-n // block)
    # the sum of the block that starts at each row, wrapping round the end
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[: block - 1]]) - mean)])
    block_sums = running[block : block + n] - running[:n]
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // count)
    parts = [
        block_sums[generator.integers(n, size=(min(chunk, draws - done), count))].sum(axis=1)
        for done in range(0, draws, chunk)
    ]
    deviations = np.concatenate(parts) / (count * block)
    low, high = np.quantile(deviations, [0.025, 0.975])
    return MeanTest(
        mean=mean,
        # the observed mean counts as one of the draws, so that the p-value is never zero
        p_value=float((1 + (deviations >= mean).sum()) / (draws + 1)),
        low=mean - float(high),
        high=mean - float(low),
        block=block,
    )


def persistence(values: np.ndarray, *, longest: int) -> int:
    """Return the first lag at which the autocorrelation of ``values`` is within noise, at most ``longest``."""
    centred = values - values.mean()
    power = float(centred @ centred)
    if power == 0:
        return 1
    bound = 2 / np.sqrt(len(values))
    for lag in range(1, min(longest, len(values) - 1)):
        if abs(float(centred[:-lag] @ centred[lag:])) / power < bound:
            return lag
    return max(1, min(longest, len(values) - 1))
