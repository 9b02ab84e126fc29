"""Scores of reputers by their distance to the consensus, and the coefficients that say how far each is listened to."""

from __future__ import annotations

import numpy as np

from crucible.errors import MechanismError
from crucible.network.parameters import Parameters

STEP = 0.001  # of the finite difference


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
    if not (total > 0).all():
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
    if not (total > 0).all():
        raise MechanismError("only reputers without adjusted stake report some loss, so it has no consensus")
    consensus = (weights * np.nan_to_num(losses)).sum(-2) / total
    lowest = np.where(silent, np.inf, losses).min(-2)
    return consensus, np.where(consensus - lowest > -1, lowest, 0.0)


def consensus_scores(losses: np.ndarray, stakes: np.ndarray, listening: np.ndarray, params: Parameters) -> np.ndarray:
    """Return reputers' scores ``1 / (‖L − consensus‖ / ‖consensus‖ + epsilon_reputer)``.

    Parameters
    ----------
    losses : numpy.ndarray
        Shape (..., m, x), or one that broadcasts to it; NaN where a reputer reports nothing.
    stakes, listening : numpy.ndarray
        Shape (..., m) or broadcasting to it.
    params : Parameters
        ``epsilon_reputer``, and ``epsilon_safe_div`` in place of a norm of 0.

    Returns
    -------
    numpy.ndarray
        Shape (..., m). Source: ``rewards_internal.go:231-430``.
    """
    adjusted = adjusted_stakes(stakes, listening)
    if np.isnan(losses).any():
        consensus, farthest = consensus_losses(losses, adjusted)
        losses = np.where(np.isnan(losses), farthest[..., None, :], losses)
    else:
        consensus = np.matmul(adjusted[..., None, :], losses)[..., 0, :] / adjusted.sum(-1)[..., None]
    norm = np.sqrt(np.vecdot(consensus, consensus))
    norm = np.where(norm == 0, params.epsilon_safe_div, norm)
    apart = losses - consensus[..., None, :]
    return 1.0 / (np.sqrt(np.vecdot(apart, apart)) / norm[..., None] + params.epsilon_reputer)


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
    losses = _compact(losses)
    m = stakes.shape[-1]
    # one evaluation per iteration: row 0 is the present, row 1 + l has coefficient l moved
    moves = np.concatenate([np.zeros((1, m)), np.eye(m)])
    ours, raw = losses[..., None, :, :], stakes[..., None, :]
    share = stakes / stakes.sum(-1)[..., None]
    scores = np.zeros(stakes.shape)
    start, running = listening, np.ones(stakes.shape[:-1], dtype=bool)
    for _ in range(params.gradient_descent_max_iters):
        step = np.where(listening == 1.0, -STEP, STEP)
        tried = listening[..., None, :] + moves * step[..., None, :]
        found = consensus_scores(ours, raw, tried, params)
        means = np.matmul(found, share[..., None])[..., 0]
        slope = (1.0 - means[..., :1] / means[..., 1:]) / step
        following = _with_minimum_stake(listening, listening + params.learning_rate * slope, share, params)
        scores = np.where(running[..., None], found[..., 0, :], scores)
        start = np.where(running[..., None], listening, start)
        moved = np.abs(following - listening).max(-1) / params.learning_rate
        listening = np.where(running[..., None], following, listening)
        running = running & (moved > params.max_gradient_threshold)
        if not running.any():
            break
    return scores, listening, adjusted_stakes(stakes, start)


def _with_minimum_stake(old: np.ndarray, new: np.ndarray, share: np.ndarray, params: Parameters) -> np.ndarray:
    """Clip coefficients to 0 and 1, and go only as far as keeps the minimum share of the stake listened to."""
    new = np.minimum(np.maximum(new, 0.0), 1.0)
    after = np.vecdot(new, share)
    low = after < params.min_stake_fraction
    if not low.any():
        return new
    before = np.vecdot(old, share)
    gained = after - before
    way = np.divide(params.min_stake_fraction - before, gained, out=np.zeros(gained.shape), where=gained != 0)
    return np.where(low[..., None], old + (new - old) * way[..., None], new)


def _compact(losses: np.ndarray) -> np.ndarray:
    """Return losses with the same means and distances in fewer columns.

    What nobody reports becomes 0 for everybody, which adds nothing to any norm. If the rest is complete, it is rotated
    into m columns: scores know losses only through weighted means of the reputers and Euclidean norms, and a rotation
    changes neither.
    """
    silent = np.isnan(losses)
    if silent.any():
        nobody = silent.all(-2, keepdims=True)
        if (silent & ~nobody).any():
            return np.where(nobody, 0.0, losses)
        losses = np.where(nobody, 0.0, losses)
    if losses.shape[-1] <= losses.shape[-2]:
        return losses
    return np.swapaxes(np.linalg.qr(np.swapaxes(losses, -1, -2), mode="r"), -1, -2)
