"""Cases about admission, topic weights and emission."""

from __future__ import annotations

from typing import Any

import numpy as np

from crucible.network.actors import Actors
from crucible.network.admission import passive_score_ema, score_emas_after, top_by_score
from crucible.network.averages import ema, quantile
from crucible.network.cases.reading import Case, Values, array, parameters
from crucible.network.emission import (
    capped_emission,
    divided_among_topics,
    dripped_fee_revenue,
    emission_split,
    locked_tokens,
    maximum_emission_per_token,
    monthly_emission,
    smoothed_emission,
    sorted_topics,
    target_emission_per_token,
    topic_rewards,
    topic_target_weight,
)


def _target_weight(inputs: Values, params: Values, expected: Any) -> float:
    return topic_target_weight(inputs["stake"], inputs["fee_revenue"], inputs["epoch_length"], parameters(params))


def _monthly_weights(inputs: Values, params: Values, expected: Any) -> list[float]:
    """Several steps of the weight's average towards the same target, with fees per unit of time."""
    found = []
    for stake, fees, previous in zip(inputs["stake"], inputs["fee_revenue"], inputs["previous"], strict=True):
        weight = previous
        target = topic_target_weight(stake, fees, 1.0, parameters(params))
        for _ in range(int(params["n_steps"])):
            weight = ema(params["alpha"], target, weight)
        found.append(weight)
    return found


def _topic_rewards(inputs: Values, params: Values, expected: Any) -> dict[str, float]:
    topics = [str(topic) for topic in inputs["sorted_topics"]]
    names = ("sum_weights", "treasury", "epoch_lengths", "block_emission")
    return topic_rewards(inputs["weights"], [topic.removesuffix(".0") for topic in topics], *(inputs[n] for n in names))


def _sorted_topics(inputs: Values, params: Values, expected: Any) -> list[float]:
    most = int(inputs.get("n", len(inputs["weights"])))
    return [float(topic) for topic in sorted_topics(inputs["weights"])[:most]]


def _target_emission(inputs: Values, params: Values, expected: Any) -> float:
    ecosystem, staked, circulating = inputs["ecosystem_locked"], inputs["staked"], inputs["circulating"]
    return target_emission_per_token(ecosystem, staked, circulating, inputs["total"], parameters(params))


def _maximum_emission(inputs: Values, params: Values, expected: Any) -> float:
    given = {"max_monthly_yield": inputs["max_monthly_yield"], "validators_share": inputs["validators_percent"]}
    return maximum_emission_per_token(inputs["reputers_percent"], parameters(given))


def _emission_ema(inputs: Values, params: Values, expected: Any) -> float:
    return smoothed_emission(inputs["target"], inputs["previous"], parameters({"emission_smoothing": params["alpha"]}))


def _emission_split(inputs: Values, params: Values, expected: Any) -> dict[str, float]:
    given = parameters({"validators_share": inputs["validators_percent"]})
    validators, topics = emission_split(inputs["emission"], given)
    return {"validators": validators, "topics": topics}


def _topic_split(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    return divided_among_topics(inputs["topics_rewards"], array(inputs["weights"]), inputs["sum_weights"])


def _locked(inputs: Values, params: Values, expected: Any) -> dict[str, float]:
    groups = {"investors_preseed": "investors_preseed", "investors_seed": "investors", "team": "team"}
    shares = {group: inputs[name] for group, name in groups.items()}
    return locked_tokens(int(inputs["month"]), inputs["max_supply"], shares)


def _active_ema(inputs: Values, params: Values, expected: Any) -> float:
    return ema(params["alpha"], inputs["score"], None if inputs["first_time"] else inputs["previous"])


def _window_insert(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    return Actors.none(int(params["max_samples"])).stored_scores(array(inputs["inserted"]))


def _window_read(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    window = np.full(int(params["max_samples"]), np.nan)
    for height in sorted(inputs["blocks"], key=int):
        if int(height) <= inputs["until"]:
            actors = Actors((), *(np.zeros(0),) * 4, window=window, quantile=np.zeros(()))
            window = actors.stored_scores(array(inputs["blocks"][height]))
    return window[~np.isnan(window)]


def _top(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    return top_by_score(array(inputs["scores"]), int(inputs["n"]))


FUNCTIONS: dict[str, Case] = {
    "topic_target_weight": _target_weight,
    "topic_weight_monthly_ema": _monthly_weights,
    "drip_fee_revenue": lambda inputs, params, expected: dripped_fee_revenue(
        inputs["fee_revenue"], inputs["epoch_length"], parameters(params)
    ),
    "topic_rewards": _topic_rewards,
    "sort_topics_by_weight": _sorted_topics,
    "skim_top_topics": _sorted_topics,
    "emission_target_per_token": _target_emission,
    "emission_max_per_token": _maximum_emission,
    "emission_capped": lambda inputs, params, expected: capped_emission(inputs["target"], inputs["maximum"]),
    "emission_ema": _emission_ema,
    "emission_per_month": lambda inputs, params, expected: monthly_emission(inputs["e_i"], inputs["staked"]),
    "emission_split": _emission_split,
    "topic_reward_split": _topic_split,
    "locked_vesting_tokens": _locked,
    "top_n_by_score": _top,
    "top_n_by_score_set": lambda inputs, params, expected: np.sort(_top(inputs, params, expected)),
    "lowest_score": lambda inputs, params, expected: min(inputs["scores"]),
    "quantile_of_scores": lambda inputs, params, expected: quantile(array(inputs["scores"]), params["q"]),
    "score_ema_active": _active_ema,
    "score_ema_passive": lambda inputs, params, expected: passive_score_ema(
        inputs["quantile"], inputs["previous"], params["alpha"]
    ),
    "score_ema_step": lambda inputs, params, expected: score_emas_after(
        array(inputs["score"]), array(inputs["previous"]), inputs["quantile"], params["alpha"]
    ),
    "score_window_insert": _window_insert,
    "score_window_read": _window_read,
}
