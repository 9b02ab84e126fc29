"""Circular block bootstrap of a mean, for values that depend on their neighbours (Politis and Romano 1992)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crucible.errors import EvaluationError

FEWEST_BLOCKS = 8
"""With fewer blocks the resamples are too alike to say anything."""

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

    Raises
    ------
    EvaluationError
        If a value is not finite, or there are fewer than :data:`FEWEST_BLOCKS` blocks. Either would otherwise come
        out as the smallest possible p-value.
    """
    n, block = len(values), max(1, block)
    if not np.isfinite(values).all():
        raise EvaluationError("A mean cannot be tested where single values are infinite or not a number.")
    if n < FEWEST_BLOCKS * block:
        raise EvaluationError(
            f"{n} rows are {n / block:.1f} blocks of {block}; a test needs at least {FEWEST_BLOCKS}, "
            f"so {FEWEST_BLOCKS * block} rows."
        )
    mean = float(values.mean())
    # the last block of a resample is cut, so that it has n rows like the sample itself
    full, rest = divmod(n, block)
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[:block]]) - mean)])
    sums, rest_sums = running[block : block + n] - running[:n], running[rest : rest + n] - running[:n]
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // (full + 1))
    parts = []
    for done in range(0, draws, chunk):
        starts = generator.integers(n, size=(min(chunk, draws - done), full + 1))
        parts.append(sums[starts[:, :full]].sum(axis=1) + rest_sums[starts[:, full]])
    deviations = np.concatenate(parts) / n
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
    """Return the first lag at which the autocorrelation of ``values`` is within noise, at most ``longest``.

    Noise is twice the standard error of the autocorrelation of independent values.
    """
    last = max(1, min(longest, len(values) - 1))
    centred = values - values.mean()
    # all lags by one Fourier transform (Wiener-Khinchin), padded so that the end does not meet the beginning
    power = np.abs(np.fft.rfft(centred, 2 * len(values))) ** 2
    covariance = np.fft.irfft(power, 2 * len(values))[: last + 1]
    if not covariance[0] > 0:
        return 1
    quiet = np.flatnonzero(np.abs(covariance[1:]) / covariance[0] < 2 / np.sqrt(len(values)))
    return int(quiet[0]) + 1 if len(quiet) else last
