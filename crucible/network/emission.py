"""What a topic weighs, what it may give out in an epoch, and how many tokens a month emits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from crucible.errors import MechanismError
from crucible.network.averages import ema, refuse_nan
from crucible.network.parameters import Parameters

WEEKS_PER_MONTH = 4.345
LOCKED_MONTHS, VESTING_MONTHS = 12, 36


def topic_target_weight(stake: float, fee_revenue: float, epoch_length: float, params: Parameters) -> float:
    """Return ``S^mu · (C/B)^nu``; from version 0.10 on without the division by the epoch length.

    Parameters
    ----------
    stake, fee_revenue : float
        The topic's stake and the pot of its fees, base units.
    epoch_length : float
        B, in blocks.

    Raises
    ------
    MechanismError
        An epoch length that is not positive, a negative stake or revenue, or NaN. Source: ``topic_weight.go:20``.
    """
    refuse_nan(stake=stake, fee_revenue=fee_revenue, epoch_length=epoch_length)
    if epoch_length <= 0:
        raise MechanismError(f"the epoch length is {epoch_length}; it must be above 0")
    if stake < 0 or fee_revenue < 0:
        raise MechanismError("a topic's stake or fee revenue is negative")
    rate = fee_revenue if params.since("0.10") else fee_revenue / epoch_length
    return stake**params.stake_importance * rate**params.fee_revenue_importance


def topic_weight(
    stake: float, fee_revenue: float, epoch_length: float, previous: float | None, params: Parameters
) -> float:
    """Return the moving average of :func:`topic_target_weight`; 0 without fees. Source: ``topic_weight.go:43``."""
    if fee_revenue == 0:
        return 0.0
    return ema(params.topic_reward_alpha, topic_target_weight(stake, fee_revenue, epoch_length, params), previous)


def dripped_fee_revenue(fee_revenue: float, epoch_length: float, params: Parameters) -> int:
    """Return the pot of fees after an epoch, whole base units: ``C − C·B / (blocks per week)``, rounded down."""
    drip = fee_revenue * epoch_length / (params.blocks_per_month / WEEKS_PER_MONTH)
    return max(math.floor(fee_revenue - drip), 0)


def sorted_topics(weights: Mapping[str, float], seed: int = 0) -> list[str]:
    """Return topics by descending weight; ``seed`` draws the order of equal ones, as a block does on the chain."""
    order = np.random.default_rng(seed).permutation(len(weights))
    ties = dict(zip(weights, order.tolist(), strict=True))
    return sorted(weights, key=lambda topic: (-weights[topic], ties[topic]))


def topic_rewards(
    weights: Mapping[str, float],
    topics: Sequence[str],
    sum_weights: float,
    treasury: float,
    epoch_lengths: Mapping[str, float],
    block_emission: float,
) -> dict[str, float]:
    """Return the rewards of the topics that are due, ``w/Σw · block emission · B``, within the treasury.

    Parameters
    ----------
    weights, epoch_lengths : mapping
        Of every topic in ``topics``; lengths in blocks.
    topics : sequence of str
        Those that are due.
    sum_weights : float
        Over all topics, due or not.
    treasury, block_emission : float
        Base units. What is promised beyond the treasury is cut: a single topic gets all of it, several get it in
        proportion to weight times length.

    Raises
    ------
    MechanismError
        A topic without weight or length, or a sum of weights of 0. Source: ``rewards.go:230-330``.
    """
    missing = [topic for topic in topics if topic not in weights or topic not in epoch_lengths]
    if missing:
        raise MechanismError(f"topic {missing[0]} has no weight or no epoch length")
    if not sum_weights > 0:
        raise MechanismError("the sum of all topics' weights is not above 0")
    worth = {topic: weights[topic] * epoch_lengths[topic] for topic in topics}
    rewards = {topic: value / sum_weights * block_emission for topic, value in worth.items()}
    if sum(rewards.values()) <= treasury:
        return rewards
    if len(topics) == 1:
        return {topics[0]: treasury}
    total = sum(worth.values())
    return {topic: treasury * value / total for topic, value in worth.items()}


def target_emission_per_token(
    ecosystem: float, staked: float, circulating: float, max_supply: float, params: Parameters
) -> float:
    """Return e_target per month: ``f_e · (ecosystem / staked) · (circulating / max supply)``, all in the same unit."""
    if not staked > 0 or not max_supply > 0:
        raise MechanismError("nothing is staked, or the supply is 0, so there is no target emission")
    return params.f_emission * (ecosystem / staked) * (circulating / max_supply)


def maximum_emission_per_token(reputers_share: float, params: Parameters) -> float:
    """Return e_max per month: ``xi_max / ((1 − v)·f_rep + v)``, f_rep the reputers' share of topic rewards."""
    v = params.validators_share
    return params.max_monthly_yield / ((1 - v) * reputers_share + v)


def capped_emission(target: float, maximum: float) -> float:
    """Return the smaller of the target and the most that may be emitted per staked token and month."""
    return min(target, maximum)


def divided_among_topics(total: float, weights: np.ndarray, sum_weights: float) -> np.ndarray:
    """Return a month's rewards of topics with ``weights`` (t,), of which ``sum_weights`` counts all topics."""
    return weights / sum_weights * total


def smoothed_emission(target: float, previous: float, params: Parameters) -> float:
    """Return e_i, the moving average of the capped target per staked token and month."""
    return ema(params.emission_smoothing, target, previous)


def monthly_emission(per_token: float, staked: float) -> float:
    """Return a month's emission, ``e_i · staked``; the chain rounds it down to base units."""
    return per_token * staked


def block_emission(monthly: float, params: Parameters) -> int:
    """Return the whole base units that a block emits."""
    return math.floor(math.floor(monthly) / params.blocks_per_month)


def emission_split(emission: float, params: Parameters) -> tuple[float, float]:
    """Return the parts of validators and of topics."""
    return params.validators_share * emission, (1 - params.validators_share) * emission


def locked_tokens(month: int, max_supply: float, shares: Mapping[str, float]) -> dict[str, float]:
    """Return how many tokens of each vesting group are locked.

    All of them for 12 months, then ``(36 − month)/36`` of them.

    Parameters
    ----------
    month : int
        Since genesis, from 0.
    max_supply : float
        Any unit; the result has the same.
    shares : mapping
        Group -> its share of the supply. Source: ``x/mint/keeper/emissions.go:108-215``.
    """
    left = 1.0 if month < LOCKED_MONTHS else max(VESTING_MONTHS - month, 0) / VESTING_MONTHS
    return {group: share * max_supply * left for group, share in shares.items()}
