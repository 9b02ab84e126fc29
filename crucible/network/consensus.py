"""Scores of reputers by their distance to the consensus, and the coefficients that say how far each is listened to."""

from __future__ import annotations

import numpy as np

from crucible.errors import MechanismError
from crucible.network.ascent import ROUNDING, STEP, ascend
from crucible.network.masks import every, has_nan, some
from crucible.network.parameters import Parameters


def adjusted_stakes(stakes: np.ndarray, listening: np.ndarray) -> np.ndarray:
    """Return ``min(M·a·S / Σ a·S, 1)``.

    Parameters
    ----------
    stakes, listening : numpy.ndarray
        Shape (..., m), or shapes that broadcast to it.

    Raises
    ------
    MechanismError
        Listened stakes that sum to 0. Source: ``rewards_internal.go:645``.
    """
    heard = stakes * listening
    total = heard.sum(-1)[..., None]
    if not every(total > 0):
        raise MechanismError("the stakes times listening coefficients of an epoch's reputers sum to 0")
    return np.minimum(heard * (heard.shape[-1] / total), 1.0)


def consensus_losses(losses: np.ndarray, adjusted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the consensus and what stands in for missing losses.

    Parameters
    ----------
    losses : numpy.ndarray
        Shape (..., m, x); NaN where a reputer reports nothing. Every column has a report.
    adjusted : numpy.ndarray
        Shape (..., m).

    Returns
    -------
    consensus : numpy.ndarray
        Shape (..., x): the mean of those who reported, by adjusted stake.
    farthest : numpy.ndarray
        Shape (..., x): the report with the largest signed distance below the consensus, which is the lowest one.
    """
    silent = np.isnan(losses)
    weights = np.where(silent, 0.0, adjusted[..., None])
    total = weights.sum(-2)
    if not every(total > 0):
        raise MechanismError("only reputers without adjusted stake report some loss, so it has no consensus")
    consensus = (weights * np.nan_to_num(losses)).sum(-2) / total
    lowest = np.where(silent, np.inf, losses).min(-2)
    return consensus, np.where(consensus - lowest > -1, lowest, 0.0)


class Consensus:
    """Losses and stakes of an epoch's reputers, made ready to be compared with many consensuses.

    Scores know losses only through weighted means of the reputers and Euclidean norms. A rotation changes neither, so
    the columns that everybody reports are rotated into as many as there are reputers. Columns that nobody reports add
    nothing.

    The gradient is a difference over :data:`STEP`, which magnifies rounding a thousandfold in each iteration; so the
    numbers of a single scenario are held in the machine's extended precision where it has one. Batches are not, for
    speed: their coefficients are then good to about 1e-7 in most epochs, and to 1e-4 where an ascent ends in a corner.

    Parameters
    ----------
    losses : numpy.ndarray
        Shape (..., m, x), log10; NaN where a reputer reports nothing.
    stakes : numpy.ndarray
        Shape (..., m).
    params : Parameters
        ``epsilon_reputer``, and ``epsilon_safe_div`` in place of a norm of 0.
    """

    def __init__(self, losses: np.ndarray, stakes: np.ndarray, params: Parameters) -> None:
        self.number = np.longdouble if losses.ndim == 2 else np.float64
        self._params = params
        m = stakes.shape[-1]
        self._stakes = stakes.astype(self.number)
        self._mean = np.full((m, 1), 1.0 / m, dtype=self.number)
        partial = None
        if has_nan(losses):
            partial = np.isnan(losses).any(tuple(range(losses.ndim - 1)))
        whole = _rotated(losses if partial is None else losses[..., ~partial])
        ones = np.ones((*whole.shape[:-1], 1))
        self._whole_and_ones = np.concatenate([whole, ones], axis=-1).astype(self.number)
        self._whole = np.ascontiguousarray(self._whole_and_ones[..., None, :, :-1])
        self._partial = None
        if partial is not None:
            some = losses[..., None, :, partial].astype(self.number)
            self._partial = np.where(np.isnan(some).all(-2, keepdims=True), 0.0, some)
        # row 0 is the present setting, row 1 + l has coefficient l moved
        self._moves = np.concatenate([np.zeros((1, m)), np.eye(m)]).astype(self.number)

    def scores(self, listening: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return the scores of coefficients, and of the same with each one moved by its ``step``.

        Parameters
        ----------
        listening, step : numpy.ndarray
            Shape (..., m).

        Returns
        -------
        numpy.ndarray
            Shape (..., 1 + m, m): ``1 / (‖L − consensus‖ / ‖consensus‖ + epsilon_reputer)``.
        """
        heard = self._moves * (step * self._stakes)[..., None, :]
        heard += (listening * self._stakes)[..., None, :]
        # adjusted stakes up to a factor: the smaller of a listened stake and the mean of all
        np.minimum(heard, np.matmul(heard, self._mean), out=heard)
        summed = np.matmul(heard, self._whole_and_ones)
        middle = summed[..., :-1] / summed[..., -1:]
        norm = np.vecdot(middle, middle)
        apart = self._whole - middle[..., None, :]
        off = np.vecdot(apart, apart)
        if self._partial is not None:
            middle, farthest = consensus_losses(self._partial, heard)
            apart = np.where(np.isnan(self._partial), farthest[..., None, :], self._partial) - middle[..., None, :]
            norm += np.vecdot(middle, middle)
            off += np.vecdot(apart, apart)
        if not every(norm):
            norm = np.where(norm == 0, self._params.epsilon_safe_div**2, norm)
        off /= norm[..., None]
        np.sqrt(off, out=off)
        off += self._params.epsilon_reputer
        return np.divide(1.0, off, out=off)


def _rotated(losses: np.ndarray) -> np.ndarray:
    """Return ``losses`` (..., m, x) in as many columns as there are reputers, if that is fewer; norms stay."""
    m = losses.shape[-2]
    if losses.shape[-1] <= m:
        return losses
    if losses.ndim == 2:  # without the checks and copies that mode "r" makes for any shape
        factors, _ = np.linalg.qr(losses.T, mode="raw")
        return factors[:, :m] * np.tri(m)
    return np.swapaxes(np.linalg.qr(np.swapaxes(losses, -1, -2), mode="r"), -1, -2)


def consensus_scores(losses: np.ndarray, stakes: np.ndarray, listening: np.ndarray, params: Parameters) -> np.ndarray:
    """Return reputers' scores ``1 / (‖L − consensus‖ / ‖consensus‖ + epsilon_reputer)``.

    Parameters
    ----------
    losses : numpy.ndarray
        Shape (..., m, x); NaN where a reputer reports nothing.
    stakes, listening : numpy.ndarray
        Shape (..., m).
    params : Parameters
        ``epsilon_reputer``, and ``epsilon_safe_div`` in place of a norm of 0.

    Returns
    -------
    numpy.ndarray
        Shape (..., m). Source: ``rewards_internal.go:231-430``.
    """
    adjusted_stakes(stakes, listening)  # refuses what has no consensus
    return Consensus(losses, stakes, params).scores(listening, np.zeros(listening.shape))[..., 0, :].astype(float)


def reputers_output(
    losses: np.ndarray, stakes: np.ndarray, listening: np.ndarray, params: Parameters
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return reputers' scores and their next listening coefficients, by ascent on their stake-weighted mean score.

    Parameters
    ----------
    losses : numpy.ndarray
        Shape (..., m, x), log10; NaN where a reputer reports nothing. Columns of which nobody reports anything are left
        out.
    stakes, listening : numpy.ndarray
        Shape (..., m); raw stakes, and coefficients from 0 to 1.
    params : Parameters
        ``learning_rate``, ``gradient_descent_max_iters``, ``max_gradient_threshold``, ``min_stake_fraction``,
        ``epsilon_reputer``.

    Returns
    -------
    scores : numpy.ndarray
        Shape (..., m): of the coefficients at the start of the last iteration, as on the chain; 0 without iterations.
    listening : numpy.ndarray
        Shape (..., m): after it.
    adjusted : numpy.ndarray
        Shape (..., m): the adjusted stakes that go with the scores. Source: ``rewards_internal.go:433-600``.
    """
    adjusted_stakes(stakes, listening)  # refuses what has no consensus
    if losses.ndim == 2 and params.gradient_descent_max_iters and not has_nan(losses):
        whole = _rotated(losses)
        whole_and_ones = np.ones((len(whole), whole.shape[1] + 1), dtype=np.longdouble)
        whole_and_ones[:, :-1] = whole
        quick = ascend(whole_and_ones, stakes.astype(np.longdouble), listening, params)
        if quick is not None:
            scores, start, now = quick
            return scores, now, adjusted_stakes(stakes, start)
    consensus = Consensus(losses, stakes, params)
    share = (stakes / np.add.reduce(stakes, -1)[..., None]).astype(consensus.number)
    now = start = listening.astype(consensus.number)
    scores = np.zeros(stakes.shape)
    least = params.max_gradient_threshold * params.learning_rate
    # of one type with the rest: mixed types cost more than the arithmetic
    up = np.full(stakes.shape, STEP, dtype=consensus.number)
    one = np.ones((), dtype=consensus.number)
    running: np.ndarray | None = None  # None: all scenarios are
    for _ in range(params.gradient_descent_max_iters):
        step = np.where(now == one, -up, up)
        found = consensus.scores(now, step)
        means = np.matmul(found, share[..., None])[..., 0]
        slope = one - means[..., :1] / means[..., 1:]
        slope /= step
        slope *= params.learning_rate
        following = _with_minimum_stake(now, now + slope, share, params)
        going = np.maximum.reduce(np.abs(following - now), -1) > least
        if running is None:
            scores, start, now = found[..., 0, :], now, following
        else:
            ours = running[..., None]
            scores, start = np.where(ours, found[..., 0, :], scores), np.where(ours, now, start)
            now, going = np.where(ours, following, now), going & running
        if not every(going):
            running = going
            if not some(running):
                break
    start = start.astype(float)
    return scores.astype(float), now.astype(float), adjusted_stakes(stakes, start)


def _with_minimum_stake(old: np.ndarray, new: np.ndarray, share: np.ndarray, params: Parameters) -> np.ndarray:
    """Clip coefficients to 0 and 1, and go only as far as keeps the minimum share of the stake listened to."""
    np.maximum(new, 0.0, out=new)
    np.minimum(new, 1.0, out=new)
    after = np.vecdot(new, share)
    low = after < params.min_stake_fraction
    if not some(low):
        return new
    before = np.vecdot(old, share)
    gained = after - before
    # the chain counts in 34 digits and stays where it is if nothing is gained; here that may look like 1e-17
    none = np.abs(gained) < ROUNDING
    way = np.where(none, 0.0, (params.min_stake_fraction - before) / np.where(none, 1.0, gained))
    return np.where(low[..., None], old + (new - old) * way[..., None], new)
