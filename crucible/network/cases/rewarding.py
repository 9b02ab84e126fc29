"""Cases about scores, reputers and rewards."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from crucible.network.averages import stddev
from crucible.network.cases.reading import Case, Values, array, parameters
from crucible.network.consensus import adjusted_stakes, consensus_losses, consensus_scores, reputers_output
from crucible.network.rewards import (
    ENTROPY_OF_ONE,
    actor_rewards,
    entropy,
    forecasting_utility,
    modified_fractions,
    normalization_factor,
    number_ratio,
    reputer_fractions,
    score_fractions,
    smoothed_fractions,
    task_entropy,
    task_shares,
)
from crucible.network.scores import (
    combined_forecaster_score,
    forecaster_scores,
    inferer_scores,
    task_score,
    unique_share,
)

TASKS = ("inference", "forecast", "reputer")


def _forecaster_scores(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    combined, naive = array(inputs["network_loss"]), array(inputs["naive_loss"])
    return forecaster_scores(combined, naive, array(inputs["one_out_losses"]), array(inputs["one_in_losses"]))


def _higher_one_out(inputs: Values, params: Values, expected: Any) -> dict[str, float]:
    found = {}
    for side in (0, 1):
        given = {**inputs, "one_out_losses": inputs[f"one_out_{side}"], "one_in_losses": inputs[f"one_in_{side}"]}
        if inputs["kind"] == "inferer":
            scores = inferer_scores(inputs["network_loss"], array(given["one_out_losses"]))
        else:
            scores = _forecaster_scores(given, params, expected)
        found.update({f"score_{side}[{place}]": float(score) for place, score in enumerate(scores)})
    return found


def _listening(inputs: Values) -> np.ndarray:
    given = inputs.get("listening", inputs.get("initial_listening"))
    return np.ones(len(inputs["losses"])) if given is None else array(given)


def _consensus_scores(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    return consensus_scores(
        array(inputs["losses"]), array(inputs["stakes"]), _listening(inputs), _reputer_parameters(params)
    )


def _reputer_parameters(params: Values, **changes: Any) -> Any:
    known = {name: value for name, value in params.items() if name != "epsilon"}
    return parameters({**known, "epsilon_safe_div": params["epsilon"], **changes})


def _output(inputs: Values, params: Values, **changes: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return reputers_output(
        array(inputs["losses"]), array(inputs["stakes"]), _listening(inputs), _reputer_parameters(params, **changes)
    )


def _reputers_output(inputs: Values, params: Values, expected: Any) -> dict[str, np.ndarray]:
    scores, listening, _ = _output(inputs, params)
    return {"scores": scores, "listening": listening}


def _monotone(inputs: Values, params: Values, expected: Any) -> bool:
    """Whether the mean score grows with the iterations, and ends at the score of the final coefficients."""
    stakes = array(inputs["stakes"])
    counts = [int(count) for count in inputs["iterations"]]
    means = []
    for count in counts:
        scores, listening, adjusted = _output(inputs, params, iterations=count)
        means.append(float(adjusted @ scores / adjusted.sum()))
    last = _reputer_parameters(params, iterations=max(counts))
    close = np.abs(consensus_scores(array(inputs["losses"]), stakes, listening, last) - scores) <= 0.01
    return all(a <= b for a, b in pairwise(means)) and bool(close.all())


def _score_fractions(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    deviation = stddev(array(inputs["history"]))
    return score_fractions(array(inputs["latest"]), deviation, params["p"], params["c"], params["epsilon"])


def _reputer_fractions(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    p = params["p"] if "p" in params else params["p_reward"]
    return reputer_fractions(array(inputs["stakes"]), array(inputs["scores"]), p)


def _of_index(inputs: Values, params: Values, expected: Any) -> float:
    return float(_reputer_fractions(inputs, params, expected)[int(inputs["index"])])


def _grows_with_stake(inputs: Values, params: Values, expected: Any) -> bool:
    more = list(inputs["stakes"])
    more[int(inputs["index"])] += inputs["extra_stake"]
    return _of_index({**inputs, "stakes": more}, params, expected) > _of_index(inputs, params, expected)


def _reputer_rewards(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    return actor_rewards(_reputer_fractions(inputs, params, expected), inputs["total"])


def _grow_without_last(inputs: Values, params: Values, expected: Any) -> bool:
    fewer = {**inputs, "stakes": inputs["stakes"][:-1], "scores": inputs["scores"][:-1]}
    after, before = (_reputer_rewards(given, params, expected) for given in (fewer, inputs))
    return bool((after > before[:-1]).all())


def _utility(inputs: Values, params: Values) -> tuple[np.ndarray, np.ndarray]:
    score = inputs["task_score"] if "task_score" in inputs else inputs["naive_loss"] - inputs["network_loss"]
    return forecasting_utility(score, array(inputs["inferer_scores"]), inputs["previous_ratio"], params["alpha"])


def _forecasting_utility(inputs: Values, params: Values, expected: Any) -> Any:
    chi, tau = _utility(inputs, params)
    return {"chi": chi, "tau": tau} if isinstance(expected, dict) else chi


def _shares(inputs: Values, chi: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return task_shares(inputs["entropy_inference"], inputs["entropy_forecasting"], inputs["entropy_reputer"], chi)


def _task_reward(task: int) -> Case:
    def run(inputs: Values, params: Values, expected: Any) -> np.ndarray:
        # the reputers' part does not depend on chi
        chi = _utility(inputs, params)[0] if "inferer_scores" in inputs else 0.5
        return _shares(inputs, chi)[task] * inputs["topic_reward"]

    return run


def _task_share(task: int) -> Case:
    return lambda inputs, params, expected: _shares(inputs, inputs["chi"])[task]


def _inference_over_forecast(inputs: Values, params: Values, expected: Any) -> float:
    shares = _shares(inputs, _utility(inputs, params)[0])
    return float(shares[0] / shares[1])


def _reward_per_actor(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    total = inputs["total"] if "total" in inputs else inputs["task_share"] * inputs["topic_reward"]
    return actor_rewards(array(inputs["fractions"]), total)


def _smoothed(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    return modified_fractions(
        smoothed_fractions(array(inputs["fractions"]), array(inputs["previous"]), params["alpha"])
    )


FUNCTIONS: dict[str, Case] = {
    "inferer_scores": lambda inputs, params, expected: inferer_scores(
        inputs["network_loss"], array(inputs["one_out_losses"])
    ),
    "forecaster_scores": _forecaster_scores,
    "higher_one_out_loss_higher_score": _higher_one_out,
    "forecaster_score_combine": lambda inputs, params, expected: combined_forecaster_score(
        inputs["one_in"], inputs["one_out"], inputs["f_unique"]
    ),
    "f_unique": lambda inputs, params, expected: unique_share(inputs["n_forecasters"]),
    "adjusted_stake": lambda inputs, params, expected: adjusted_stakes(
        array(inputs["stakes"]), array(inputs["listening"])
    )[int(inputs["index"])],
    "consensus_losses": lambda inputs, params, expected: consensus_losses(
        array(inputs["losses"]), array(inputs["adjusted_stakes"])
    )[0],
    "consensus_scores": _consensus_scores,
    "reputers_output": _reputers_output,
    "reputers_output_monotone": _monotone,
    "reputer_scores": lambda inputs, params, expected: _output(inputs, params)[0],
    "listening_coefficients": lambda inputs, params, expected: _output(inputs, params)[1],
    "adjusted_stakes_last_iteration": lambda inputs, params, expected: _output(inputs, params)[2],
    "modified_fractions": lambda inputs, params, expected: modified_fractions(array(inputs["fractions"])),
    "entropy": lambda inputs, params, expected: entropy(array(inputs["fractions"]), inputs["n_eff"], params["beta"]),
    "entropy_single": lambda inputs, params, expected: ENTROPY_OF_ONE,
    "number_ratio": lambda inputs, params, expected: number_ratio(array(inputs["fractions"])),
    "task_entropy": lambda inputs, params, expected: task_entropy(
        array(inputs["fractions"]), array(inputs["previous"]), params["alpha"], params["beta"]
    )[0],
    "smoothed_fractions": _smoothed,
    "score_fractions": _score_fractions,
    "score_fractions_equal": _score_fractions,
    "reputer_reward_fractions": _reputer_fractions,
    "reputer_reward_fractions_zero_stake": _of_index,
    "reputer_fraction_increases_with_stake": _grows_with_stake,
    "reputer_rewards": _reputer_rewards,
    "reputer_rewards_increase_after_removal": _grow_without_last,
    "forecasting_task_score": lambda inputs, params, expected: task_score(inputs["naive_loss"], inputs["network_loss"]),
    "forecasting_utility": _forecasting_utility,
    "forecaster_score_ratio": lambda inputs, params, expected: _utility(inputs, params)[1],
    "normalization_factor": lambda inputs, params, expected: normalization_factor(
        inputs["entropy_inference"], inputs["entropy_forecasting"], inputs["chi"]
    ),
    "inference_over_forecast_reward": _inference_over_forecast,
    "reward_per_actor": _reward_per_actor,
    **{f"{name}_task_reward": _task_reward(task) for task, name in enumerate(TASKS)},
    **{f"task_reward_share.{name}": _task_share(task) for task, name in enumerate(TASKS)},
}
