"""The rewards of one epoch, and what they leave in the memory of its participants."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crucible.network.actors import Actors
from crucible.network.averages import ema_or_first, quantile, stddev
from crucible.network.consensus import reputers_output
from crucible.network.layout import COMBINED, NAIVE
from crucible.network.masks import every, has_nan, some
from crucible.network.networks import Synthesis
from crucible.network.parameters import Parameters
from crucible.network.rewards import (
    actor_rewards,
    forecasting_utility,
    normalization_factor,
    reputer_fractions,
    score_fractions,
    task_entropy,
    task_shares,
)
from crucible.network.scores import forecaster_scores, inferer_scores, task_score

NO_SCORES = "no inferer has a score in this epoch, so nobody is paid"


@dataclass(frozen=True)
class Reputing:
    """The reputers' part: scores, fractions, adjusted stakes, smoothed fractions (..., M) and their entropy (...,)."""

    scores: np.ndarray
    fractions: np.ndarray
    adjusted_stakes: np.ndarray
    entropy: np.ndarray


@dataclass(frozen=True)
class WorkerScores:
    """Scores of inferers (..., n) and forecasters (..., K), NaN for who has none; and who is the only one (...,).

    An only inferer or forecaster has the score 0, which does not enter its average.
    """

    inferers: np.ndarray
    forecasters: np.ndarray
    lone_inferer: np.ndarray
    lone_forecaster: np.ndarray


@dataclass(frozen=True)
class Payout:
    """Scores and rewards of an epoch; leading axes are scenarios.

    Attributes
    ----------
    reward_error : str
        Why nobody is paid; empty if they are. Then everything but the scores of reputers is NaN.
    inferer_scores, forecaster_scores, reputer_scores : numpy.ndarray
        Shapes (..., n), (..., K), (..., M), in orders of magnitude of the loss for workers; NaN for who has none.
    inferer_fractions, forecaster_fractions, reputer_fractions : numpy.ndarray
        The same shapes: shares of the task's reward.
    inferer_rewards, forecaster_rewards, reputer_rewards : numpy.ndarray
        The same shapes: base units, not yet truncated.
    entropies : numpy.ndarray
        Shape (..., 3): of inference, forecasting and reputing.
    task_rewards : numpy.ndarray
        Shape (..., 3), base units.
    chi, tau, gamma, task_score : numpy.ndarray
        Shape (...,).
    adjusted_stakes : numpy.ndarray
        Shape (..., M): those that the reputers' scores were made with.
    """

    reward_error: str
    inferer_scores: np.ndarray
    forecaster_scores: np.ndarray
    reputer_scores: np.ndarray
    inferer_fractions: np.ndarray
    forecaster_fractions: np.ndarray
    reputer_fractions: np.ndarray
    inferer_rewards: np.ndarray
    forecaster_rewards: np.ndarray
    reputer_rewards: np.ndarray
    entropies: np.ndarray
    task_rewards: np.ndarray
    chi: np.ndarray
    tau: np.ndarray
    gamma: np.ndarray
    task_score: np.ndarray
    adjusted_stakes: np.ndarray


def worker_scores(synthesis: Synthesis, losses: np.ndarray) -> WorkerScores:
    """Return the workers' scores, from the network losses (..., x) of what the network inferred."""
    places = synthesis.layout
    combined, naive = losses[..., COMBINED], losses[..., NAIVE]
    took_part = ~np.isnan(losses[..., places.implied])
    if synthesis.mode == "single":
        nobody = np.full(took_part.shape, np.nan)
        lone = np.ones(combined.shape, dtype=bool)
        return WorkerScores(np.zeros_like(losses[..., places.inferers]), nobody, lone, ~lone)
    inferers = inferer_scores(combined, losses[..., places.one_out_inferers])
    forecasters = forecaster_scores(
        combined, naive, losses[..., places.one_out_forecasters], losses[..., places.one_in_forecasters]
    )
    lone = took_part.sum(-1) == 1
    if some(lone):
        forecasters = np.where(lone[..., None] & took_part, 0.0, forecasters)
    return WorkerScores(inferers, forecasters, np.zeros(combined.shape, dtype=bool), lone)


def paid_reputers(
    reputers: Actors, reports: np.ndarray, stakes: np.ndarray, params: Parameters
) -> tuple[Actors, Reputing]:
    """Return the reputers after an epoch, and their scores and fractions.

    ``reports`` (..., M, x) and ``stakes`` (..., M) are as in
    :func:`crucible.network.consensus.reputers_output`.
    """
    scores, listening, adjusted = reputers_output(reports, stakes, reputers.listening, params)
    fractions = reputer_fractions(stakes, scores, params.p_reward_reputer)
    reputers, entropy = _remember(
        reputers, scores, fractions, params, params.active_reputer_quantile, listening=listening
    )
    return reputers, Reputing(scores, fractions, adjusted, entropy)


def paid_workers(
    inferers: Actors,
    forecasters: Actors,
    tau: np.ndarray,
    scores: WorkerScores,
    losses: np.ndarray,
    reputing: Reputing,
    topic_reward: float | np.ndarray,
    params: Parameters,
) -> tuple[Actors, Actors, np.ndarray, Payout]:
    """Return inferers, forecasters and tau after an epoch, and everybody's rewards.

    Without any score of an inferer nothing is paid and nothing but the reputers' part changes, as on the chain.
    """
    score_j, score_k = scores.inferers, scores.forecasters
    if some(np.isnan(score_j).all(-1)):
        return inferers, forecasters, tau, _nothing(scores, reputing)
    fraction_j, inferers, entropy_j = _paid(
        inferers, score_j, scores.lone_inferer, params, params.p_reward_inference, params.c_reward_inference,
        params.active_inferer_quantile,
    )  # fmt: skip
    fraction_k, forecasters, entropy_k = _paid(
        forecasters, score_k, scores.lone_forecaster, params, params.p_reward_forecast, params.c_reward_forecast,
        params.active_forecaster_quantile,
    )  # fmt: skip
    if score_j.shape[-1] <= 1:
        entropy_k = np.zeros(entropy_j.shape)
    gained = task_score(losses[..., NAIVE], losses[..., COMBINED])
    chi, tau = forecasting_utility(gained, score_j, tau, params.task_reward_alpha)
    shares = task_shares(entropy_j, entropy_k, reputing.entropy, chi)
    task_rewards = _stacked(*shares) * np.asarray(topic_reward, dtype=float)[..., None]
    reward_j = actor_rewards(fraction_j, task_rewards[..., 0])
    reward_k = actor_rewards(fraction_k, task_rewards[..., 1])
    payout = Payout(
        "", score_j, score_k, reputing.scores, fraction_j, fraction_k, reputing.fractions,
        reward_j, reward_k, actor_rewards(reputing.fractions, task_rewards[..., 2]),
        _stacked(entropy_j, entropy_k, reputing.entropy), task_rewards,
        chi, tau, normalization_factor(entropy_j, entropy_k, chi), gained, reputing.adjusted_stakes,
    )  # fmt: skip
    return _included(inferers, reward_j), _included(forecasters, reward_k), tau, payout


def _stacked(first: np.ndarray, second: np.ndarray, third: np.ndarray) -> np.ndarray:
    """Return (..., 3) of three arrays (...,) of one shape; of single numbers in a fraction of the time of stack."""
    return np.array([first, second, third]) if not first.ndim else np.stack([first, second, third], axis=-1)


def _included(actors: Actors, rewards: np.ndarray) -> Actors:
    """Return the actors with an inclusion more for who is rewarded; spelt out, as replace costs more than the sum."""
    return Actors(
        actors.names, actors.score_ema, actors.fractions, actors.inclusions + (rewards > 0), actors.listening,
        actors.window, actors.quantile,
    )  # fmt: skip


def _paid(
    actors: Actors, scores: np.ndarray, lone: np.ndarray, params: Parameters, p: float, c: float, q: float
) -> tuple[np.ndarray, Actors, np.ndarray]:
    if not scores.shape[-1] or every(np.isnan(scores)):
        return np.full(scores.shape, np.nan), actors, np.zeros(scores.shape[:-1])
    window = actors.stored_scores(scores)
    deviation = stddev(window, ~np.isnan(window) if has_nan(window) else None)
    fractions = score_fractions(scores, deviation, p, c, params.epsilon)
    moved, entropy = _remember(actors, scores, fractions, params, q, window=window)
    if some(lone):
        average = np.where(lone[..., None], actors.score_ema, moved.score_ema)
        moved = replace(moved, score_ema=average, quantile=np.where(lone, actors.quantile, moved.quantile))
    return fractions, moved, entropy


def _remember(
    actors: Actors, scores: np.ndarray, fractions: np.ndarray, params: Parameters, q: float, **changes: Any
) -> tuple[Actors, np.ndarray]:
    """Return actors with new averages, smoothed fractions, quantile of scores and ``changes``; and the entropy."""
    entropy, normalised, smoothed = task_entropy(
        fractions, actors.fractions, params.task_reward_alpha, params.beta_entropy
    )
    kept = smoothed if params.since("0.8") else normalised
    present = None
    if has_nan(scores):
        present = ~np.isnan(scores)
        kept = np.where(present, kept, actors.fractions)
    average = ema_or_first(params.merit_sortition_alpha, scores, actors.score_ema)
    moved = Actors(
        actors.names, average, kept, actors.inclusions, changes.get("listening", actors.listening),
        changes.get("window", actors.window), quantile(scores, q, present),
    )  # fmt: skip
    return moved, entropy


def _nothing(scores: WorkerScores, reputing: Reputing) -> Payout:
    score_j, score_k = scores.inferers, scores.forecasters
    none_j, none_k, none_m = (np.full_like(item, np.nan) for item in (score_j, score_k, reputing.scores))
    none = np.full(reputing.entropy.shape, np.nan)
    three = np.full((*none.shape, 3), np.nan)
    return Payout(
        NO_SCORES, score_j, score_k, reputing.scores, none_j, none_k, reputing.fractions, none_j, none_k, none_m,
        three, three, none, none, none, none, reputing.adjusted_stakes,
    )  # fmt: skip
