"""The reputers' ascent for a single scenario of complete reports, in arrays that are made once and overwritten."""

from __future__ import annotations

import numpy as np

from crucible.network.parameters import Parameters

STEP = 0.001  # of the finite difference
ROUNDING = 1e-13  # a change of a share that is no change


def ascend(
    whole_and_ones: np.ndarray, stakes: np.ndarray, listening: np.ndarray, params: Parameters
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the scores of the last iteration, the coefficients that they belong to, and those after it.

    Parameters
    ----------
    whole_and_ones : numpy.ndarray
        Shape (m, x + 1): complete losses, or what a rotation left of them, and a column of ones.
    stakes : numpy.ndarray
        Shape (m,), raw, of the same type; in which everything is computed.
    listening : numpy.ndarray
        Shape (m,): coefficients from 0 to 1.
    params : Parameters
        As for :func:`crucible.network.consensus.reputers_output`, with one iteration at least.

    Returns
    -------
    tuple of numpy.ndarray, or None
        Shape (m,) each; ``None`` where a consensus has no norm.
    """
    kind, m = whole_and_ones.dtype.type, len(stakes)
    one, zero = np.ones((), dtype=kind), np.zeros((), dtype=kind)
    epsilon, mean = np.array(params.epsilon_reputer, dtype=kind), np.full((m, 1), one / m)
    share = stakes / np.add.reduce(stakes)
    up = stakes * kind(STEP)
    down, rate = -up, np.full(m, kind(params.learning_rate) / kind(STEP))
    least = params.max_gradient_threshold * params.learning_rate
    now = listening.astype(kind)
    # row 0 is the present setting, row 1 + l has coefficient l moved
    heard, limit = np.empty((1 + m, m), dtype=kind), np.empty((1 + m, 1), dtype=kind)
    moved = heard.reshape(-1)[m :: m + 1]
    summed = np.empty((1 + m, whole_and_ones.shape[-1]), dtype=kind)
    middle, total = summed[:, :-1], summed[:, -1:]
    apart, off = np.empty((1 + m, m, whole_and_ones.shape[-1] - 1), dtype=kind), np.empty((1 + m, m), dtype=kind)
    whole, middles = whole_and_ones[None, :, :-1], middle[:, None, :]
    norm, means, slope = np.empty(1 + m, dtype=kind), np.empty(1 + m, dtype=kind), np.empty(m, dtype=kind)
    norms, first, others = norm[:, None], means[:1], means[1:]
    for _ in range(params.gradient_descent_max_iters):
        np.multiply(now, stakes, out=slope)
        np.copyto(heard, slope)
        step = np.where(now == one, down, up)
        np.add(moved, step, out=moved)
        # adjusted stakes up to a factor: the smaller of a listened stake and the mean of all
        np.matmul(heard, mean, out=limit)
        np.minimum(heard, limit, out=heard)
        np.matmul(heard, whole_and_ones, out=summed)
        np.divide(one, total, out=total)
        np.multiply(middle, total, out=middle)
        np.vecdot(middle, middle, out=norm)
        if np.count_nonzero(norm) <= m:
            return None
        np.subtract(whole, middles, out=apart)
        np.vecdot(apart, apart, out=off)
        np.divide(one, norm, out=norm)
        np.multiply(off, norms, out=off)
        np.sqrt(off, out=off)
        np.add(off, epsilon, out=off)
        np.divide(one, off, out=off)
        np.matmul(off, share, out=means)
        np.divide(first, others, out=slope)
        np.subtract(one, slope, out=slope)
        np.multiply(slope, np.copysign(rate, step), out=slope)
        following = now + slope
        np.maximum(following, zero, out=following)
        np.minimum(following, one, out=following)
        if np.vecdot(following, share) < params.min_stake_fraction:
            following = _with_minimum_stake(now, following, share, params.min_stake_fraction)
        np.subtract(following, now, out=slope)
        np.absolute(slope, out=slope)
        start, now = now, following
        if np.maximum.reduce(slope) <= least:
            break
    return off[0].astype(float), start.astype(float), now.astype(float)


def _with_minimum_stake(old: np.ndarray, new: np.ndarray, share: np.ndarray, least: float) -> np.ndarray:
    """Return coefficients (m,) that go from ``old`` to ``new`` only as far as keeps the minimum share of the stake."""
    before = np.vecdot(old, share)
    gained = np.vecdot(new, share) - before
    return old + (new - old) * ((least - before) / gained) if abs(gained) > ROUNDING else old
