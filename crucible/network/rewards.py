"""How an epoch's topic reward is divided: fractions inside a task, entropies, and the three tasks' shares."""

from __future__ import annotations

import math

import numpy as np

from crucible.errors import MechanismError
from crucible.network.averages import ema_or_first, present_sum, refuse_nan
from crucible.network.masks import every, has_nan, some
from crucible.network.potential import phi

ENTROPY_OF_ONE = 0.173286795139986  # the entropy of a task with a single participant
CHI_LOW, CHI_HIGH = 0.1, 0.5


def score_fractions(
    scores: np.ndarray, deviation: np.ndarray | float, p: float, c: float, epsilon: float
) -> np.ndarray:
    """Return the reward fractions of inferers or forecasters.

    ``M = φ(T / (σ + epsilon))``, divided by the sum; everybody is equal where σ < epsilon.

    Parameters
    ----------
    scores : numpy.ndarray
        Shape (..., w); NaN for a worker without a score.
    deviation : numpy.ndarray or float
        Shape (...,): σ of the newest stored scores.
    p, c, epsilon : float
        ``p_reward_*``, ``c_reward_*`` and the topic's epsilon.

    Returns
    -------
    numpy.ndarray
        Shape (..., w), sums to 1; NaN where the score is. Source: ``rewards_internal.go:25-97``.
    """
    deviation = np.asarray(deviation, dtype=float)[..., None]
    normalised = scores / (deviation + epsilon)
    if has_nan(scores):
        absent = np.isnan(scores)
        mapped = np.where(absent, np.nan, phi(np.where(absent, 0.0, normalised), p, c))
    else:
        mapped = phi(normalised, p, c)
    # far below the others φ is a number that the chain's decimals hold, but a float does not
    mapped = np.maximum(mapped, np.finfo(float).tiny)
    alike = deviation < epsilon
    if some(alike):
        mapped = np.where(alike & ~np.isnan(scores), 1.0, mapped)
    return mapped / present_sum(mapped)[..., None]


def reputer_fractions(stakes: np.ndarray, scores: np.ndarray, p: float) -> np.ndarray:
    """Return the reward fractions of reputers, ``(S·T)^p`` over its sum.

    Shapes (..., m); raw stakes. All are 0 where all scores are. Source: ``rewards_internal.go:103``.
    """
    refuse_nan(stakes=stakes, scores=scores)
    worth = stakes * scores
    # relative to the largest, so that a cube of stakes in base units keeps its digits
    top = worth.max(-1)[..., None]
    powers = np.divide(worth, top, out=np.zeros(worth.shape), where=top > 0) ** p
    total = powers.sum(-1)[..., None]
    return powers / np.where(total > 0, total, 1.0)


def smoothed_fractions(fractions: np.ndarray, previous: np.ndarray, alpha: float) -> np.ndarray:
    """Return the moving averages e of reward fractions.

    The average of ``fractions`` (..., w) and ``previous``, which is NaN where there is none. They need not sum to 1.
    """
    return ema_or_first(alpha, fractions, previous)


def modified_fractions(smoothed: np.ndarray) -> np.ndarray:
    """Return ``e / Σe`` along the last axis; NaN takes no part."""
    return smoothed / present_sum(smoothed)[..., None]


def number_ratio(smoothed: np.ndarray) -> np.ndarray:
    """Return N_eff = ``1 / Σe²`` along the last axis, from averages that are not normalised; NaN takes no part.

    Raises
    ------
    MechanismError
        Nobody, or all 0. Source: ``rewards_internal.go:689-785``.
    """
    squares = present_sum(smoothed * smoothed)
    if not every(squares > 0):
        raise MechanismError("a task's fractions are empty or all 0, so it has no number of effective participants")
    return 1.0 / squares


def entropy(fractions: np.ndarray, effective: np.ndarray | float, beta: float) -> np.ndarray:
    """Return ``−(N_eff / N)^beta · Σ f ln f`` along the last axis; a constant for a single participant.

    Parameters
    ----------
    fractions : numpy.ndarray
        Shape (..., w), from :func:`modified_fractions`; NaN takes no part.
    effective : numpy.ndarray or float
        Shape (...,): N_eff.
    beta : float
        ``beta_entropy``.

    Raises
    ------
    MechanismError
        A fraction of 0, of which the chain would take the logarithm.
    """
    if some(fractions == 0):
        raise MechanismError("a participant's reward fraction is 0, and the chain fails on its logarithm")
    count = np.asarray(fractions.shape[-1])
    if has_nan(fractions):
        count = (~np.isnan(fractions)).sum(-1)
    result = (effective / count) ** beta * -present_sum(fractions * np.log(fractions))
    single = count == 1
    return np.where(single, ENTROPY_OF_ONE, result) if some(single) else result


def task_entropy(
    fractions: np.ndarray, previous: np.ndarray, alpha: float, beta: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a task's entropy and its smoothed fractions, normalised and not.

    Shapes as in :func:`smoothed_fractions`; NaN in ``fractions`` takes no part.
    """
    smoothed = smoothed_fractions(fractions, previous, alpha)
    if has_nan(fractions):
        smoothed = np.where(np.isnan(fractions), np.nan, smoothed)
    normalised = modified_fractions(smoothed)
    return entropy(normalised, number_ratio(smoothed), beta), normalised, smoothed


def forecasting_utility(
    task_score: np.ndarray | float, inferer_scores: np.ndarray, previous: np.ndarray | float, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return chi, the weight of the forecasting task, and tau, its smoothed score ratio.

    Parameters
    ----------
    task_score : numpy.ndarray or float
        Shape (...,): naive minus combined loss.
    inferer_scores : numpy.ndarray
        Shape (..., n); NaN takes no part.
    previous : numpy.ndarray or float
        Shape (...,): tau of the epoch before, at first 0.
    alpha : float
        ``task_reward_alpha``.

    Returns
    -------
    chi, tau : numpy.ndarray
        Shape (...,); chi from 0.1 to 0.5. Source: ``worker_rewards.go:240-345``.
    """
    if np.ndim(previous) == 0 and np.ndim(task_score) == 0 and not has_nan(inferer_scores):
        return _utility_of_one(float(task_score), inferer_scores, float(previous), alpha)
    task_score = np.asarray(task_score, dtype=float)
    best = np.fmax.reduce(inferer_scores, axis=-1, initial=0.0)  # the running maximum starts at 0, and skips NaN
    ratio = np.where(best > 0, task_score / np.where(best > 0, best, 1.0), np.sign(task_score))
    tau = alpha * ratio + (1 - alpha) * np.asarray(previous)
    chi = np.where(tau < 0, CHI_LOW, np.minimum(CHI_LOW + (CHI_HIGH - CHI_LOW) * tau, CHI_HIGH))
    nothing = (task_score == 0) & (best == 0)
    return np.where(nothing, CHI_HIGH, chi), np.where(nothing, 0.0, tau)


def _utility_of_one(
    task_score: float, inferer_scores: np.ndarray, previous: float, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the same for a single scenario, in plain numbers: arrays of one number take many times as long."""
    best = max(0.0, float(np.maximum.reduce(inferer_scores))) if inferer_scores.size else 0.0
    if best == 0 and task_score == 0:
        return np.asarray(CHI_HIGH), np.asarray(0.0)
    ratio = task_score / best if best > 0 else math.copysign(1.0, task_score)
    tau = alpha * ratio + (1 - alpha) * previous
    chi = CHI_LOW if tau < 0 else min(CHI_LOW + (CHI_HIGH - CHI_LOW) * tau, CHI_HIGH)
    return np.asarray(chi), np.asarray(tau)


def normalization_factor(inference: np.ndarray, forecasting: np.ndarray, chi: np.ndarray) -> np.ndarray:
    """Return gamma = ``(F + G) / ((1 − chi)·F + chi·G)`` of the entropies F and G; shapes broadcast."""
    return (inference + forecasting) / ((1 - chi) * inference + chi * forecasting)


def task_shares(
    inference: np.ndarray | float,
    forecasting: np.ndarray | float,
    reputing: np.ndarray | float,
    chi: np.ndarray | float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the shares of the topic reward for inference, forecasting and reputing, which sum to 1.

    Parameters
    ----------
    inference, forecasting, reputing : numpy.ndarray or float
        Shape (...,): the tasks' entropies F, G, H.
    chi : numpy.ndarray or float
        Shape (...,).

    Raises
    ------
    MechanismError
        Entropies of inference and forecasting that are both 0. Source: ``worker_rewards.go:346-490``.
    """
    inference, forecasting, chi = (np.asarray(item, dtype=float) for item in (inference, forecasting, chi))
    total = inference + forecasting + reputing
    if not every((1 - chi) * inference + chi * forecasting > 0):
        raise MechanismError("the entropies of inference and forecasting are 0, so the reward cannot be divided")
    gamma = normalization_factor(inference, forecasting, chi)
    return (1 - chi) * gamma * inference / total, chi * gamma * forecasting / total, reputing / total


def actor_rewards(fractions: np.ndarray, task_reward: np.ndarray | float) -> np.ndarray:
    """Return each participant's reward: its own fraction (not the smoothed one) of the task's reward (...,)."""
    return fractions * np.asarray(task_reward)[..., None]
