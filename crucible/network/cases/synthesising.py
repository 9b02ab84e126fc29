"""Cases about averages, weights, inferences, losses and regrets."""

from __future__ import annotations

from typing import Any

import numpy as np

from crucible.network.averages import ema, median, quantile, stddev, weighted_percentiles
from crucible.network.cases.reading import Case, Values, array, parameters
from crucible.network.implied import forecasted_regrets, implied_inferences
from crucible.network.layout import COMBINED, NAIVE, Layout, layout
from crucible.network.losses import network_losses, running_weighted_average
from crucible.network.networks import Synthesis, synthesise
from crucible.network.potential import gradient, phi, sigmoid
from crucible.network.regrets import filled_regrets, initial_regret, is_experienced, regret_update, updated_regrets
from crucible.network.weights import (
    mad_scale,
    normalize_weights,
    ratio_weights,
    weight_from_normalized_regret,
    weighted_inference,
)

# the block of the regret matrix that each family is
FAMILIES = (
    "inferer", "forecaster", "naive", "one_out_inferer_inferer", "one_out_inferer_forecaster",
    "one_out_forecaster_inferer", "one_out_forecaster_forecaster", "one_in_inferer", "one_in_self",
)  # fmt: skip


def family(name: str, places: Layout) -> tuple[Any, Any]:
    """Return the index of a family's regrets in the matrix (networks, workers)."""
    inferers, forecasters = slice(0, places.n), slice(places.n, None)
    if name == "one_in_self":
        own = np.arange(places.k)
        return places.one_in_forecasters.start + own, places.n + own
    rows = {
        "inferer": COMBINED, "forecaster": COMBINED, "naive": NAIVE,
        "one_out_inferer": places.one_out_inferers, "one_out_forecaster": places.one_out_forecasters,
        "one_in": places.one_in_forecasters,
    }  # fmt: skip
    if name in ("inferer", "naive"):
        return rows[name], inferers
    if name == "forecaster":
        return rows[name], forecasters
    network, _, worker = name.rpartition("_")
    return rows[network], inferers if worker == "inferer" else forecasters


def flat_losses(losses: Values, places: Layout) -> np.ndarray:
    """Return named losses as the vector of ``places``, with NaN where there are none."""
    flat = np.full(places.size, np.nan)
    flat[COMBINED], flat[NAIVE] = losses["combined"], losses["naive"]
    slots = {
        "inferer": places.inferers, "forecaster": places.implied, "one_out_inferer": places.one_out_inferers,
        "one_out_forecaster": places.one_out_forecasters, "one_in_forecaster": places.one_in_forecasters,
        "one_out_inferer_forecaster": places.implied_one_outs,
    }  # fmt: skip
    for name, slot in slots.items():
        if name in losses:
            flat[slot] = array(losses[name]).ravel()
    return flat


def _ema(inputs: Values, params: Values, expected: Any) -> float:
    return ema(params["alpha"], inputs["current"], None if inputs["first_time"] else inputs["previous"])


def _weight(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    return weight_from_normalized_regret(inputs["regret"], inputs["max_regret"], params["p"], params["c"])


def _weight_spread(inputs: Values, params: Values, expected: Any) -> bool:
    regrets, largest = array(inputs["regrets"]), array(inputs["max_regrets"])
    low, high = (
        stddev(weight_from_normalized_regret(regrets, largest, params[p], params["c"])) for p in ("p_low", "p_high")
    )
    return bool(low < high)


def _weights_given_scale(inputs: Values, params: Values, expected: Any) -> dict[str, float]:
    groups = {"I": array(inputs["regrets_inferers"]), "F": array(inputs["regrets_forecasters"])}
    normalised = {key: values / params["scale_plus_epsilon"] for key, values in groups.items()}
    largest = max(values.max() for values in normalised.values())
    return {
        f"{key}{place}": float(weight)
        for key, values in normalised.items()
        for place, weight in enumerate(ratio_weights(values, largest, params["p"], params["c"]))
    }


def _weighted_inference(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    weights = None if inputs.get("all_new") else inputs["weights"]
    return weighted_inference(array(inputs["values"]), weights, params["epsilon_safe_div"])


def _implied(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    inferences = array(inputs["inferences"])
    forecasts = array(inputs["forecast_losses"]).reshape(-1, len(inferences))
    every, without = implied_inferences(inferences, forecasts, inputs["network_loss"], parameters(params))
    return without[:, int(inputs["withheld"])] if "withheld" in inputs else every


def _synthesis(inputs: Values, params: Values) -> Synthesis:
    inferences = array(inputs["inferences"])
    n = len(inferences)
    forecasts = array(inputs["forecast_losses"]).reshape(-1, n)
    places = layout(n, len(forecasts))
    stored = np.full((places.rows, places.columns), np.nan)
    for name in FAMILIES:
        where = family(name, places)
        block = stored[where]
        if block.size:
            stored[where] = array(inputs["regrets_prev"][name]).reshape(block.shape)
    first = array(inputs.get("initial_regret", np.nan))
    filled = np.where(places.kept, filled_regrets(stored, first), 0.0)
    return synthesise(inferences, forecasts, array(inputs["network_loss_prev"]), filled, first, parameters(params))


def _inferred(pick: str) -> Case:
    def run(inputs: Values, params: Values, expected: Any) -> Any:
        synthesis = _synthesis(inputs, params)
        places = synthesis.layout
        if pick == "confidence_interval":
            return synthesis.confidence_interval()
        slots: dict[str, Any] = {
            "combined": COMBINED, "naive": NAIVE, "one_out_inferer": places.one_out_inferers,
            "one_out_forecaster": places.one_out_forecasters, "one_in_forecaster": places.one_in_forecasters,
            "forecast_implied": places.implied,
        }  # fmt: skip
        return synthesis.values[slots[pick]]

    return run


def _lengths(inputs: Values, params: Values, expected: Any) -> dict[str, int]:
    synthesis = _synthesis(inputs, params)
    places, here = synthesis.layout, ~np.isnan(synthesis.values)
    counts = {
        "forecast_implied": here[places.implied], "one_out_inferer": here[places.one_out_inferers],
        "one_out_forecaster": here[places.one_out_forecasters], "one_in_forecaster": here[places.one_in_forecasters],
        "weights_inferers": here[places.inferers], "weights_forecasters": here[places.implied],
    }  # fmt: skip
    return {name: int(found.sum()) for name, found in counts.items()}


def _median_network(inputs: Values, params: Values, expected: Any) -> float:
    inferences = array(inputs["inferences"])
    nobody = np.zeros((0, len(inferences)))
    nothing = np.zeros((2 + len(inferences), len(inferences)))
    synthesis = synthesise(inferences, nobody, array(np.nan), nothing, array(0.0), parameters(params))
    return float(synthesis.values[COMBINED])


def _running_average(inputs: Values, params: Values, expected: Any) -> dict[str, float]:
    names = ("weighted_loss", "sum_weight", "next_weight", "next_value")
    summed, weight = running_weighted_average(*(inputs[name] for name in names))
    return {"weighted_loss": summed, "sum_weight": weight}


def _stake_weighted(inputs: Values, params: Values, expected: Any) -> Any:
    losses = array(inputs["losses"])
    found = network_losses(losses.reshape(len(losses), -1), array(inputs["stakes"]))
    return found if losses.ndim > 1 else found[0]


def _regret_update(inputs: Values, params: Values, expected: Any) -> float:
    return regret_update(inputs["loss_a"], inputs["loss_b"], inputs["previous"], params["alpha"])


def _regret_family(name: str) -> Case:
    def run(inputs: Values, params: Values, expected: Any) -> np.ndarray:
        losses = inputs["losses"]
        places = layout(len(losses["inferer"]), len(losses["forecaster"]))
        where = family(name, places)
        stored = np.zeros((places.rows, places.columns))
        stored[where] = array(inputs["previous"])
        filled = filled_regrets(stored, array(inputs.get("initial_regret", np.nan)))
        return updated_regrets(stored, filled, flat_losses(losses, places), places, params["alpha"])[where]

    return run


def _higher_loss(inputs: Values, params: Values, expected: Any) -> dict[str, float]:
    return {
        f"r{side}[{place}]": regret_update(inputs["combined"], loss, previous, params["alpha"])
        for side in (0, 1)
        for place, (loss, previous) in enumerate(zip(inputs[f"losses_{side}"], inputs["previous"], strict=True))
    }


def _initial_regret(inputs: Values, params: Values, expected: Any) -> np.ndarray:
    regrets = array(inputs["regrets"])
    return initial_regret(regrets, np.ones(regrets.shape, dtype=bool), np.nan, parameters(params))


FUNCTIONS: dict[str, Case] = {
    "ema": _ema,
    "stddev": lambda inputs, params, expected: stddev(array(inputs["data"])),
    "phi": lambda inputs, params, expected: phi(inputs["x"], params["p"], params["c"]),
    "gradient": lambda inputs, params, expected: gradient(inputs["x"], params["p"], params["c"]),
    "sigmoid": lambda inputs, params, expected: sigmoid(inputs["x"]),
    "median": lambda inputs, params, expected: median(array(inputs["data"])),
    "quantile": lambda inputs, params, expected: quantile(array(inputs["data"]), params["q"]),
    "weighted_percentile": lambda inputs, params, expected: weighted_percentiles(
        array(inputs["data"]), array(inputs["weights"]), array(inputs["percentiles"])
    ),
    "weight_from_normalized_regret": _weight,
    "weight_spread_increases_with_p": _weight_spread,
    "regret_scale_mad": lambda inputs, params, expected: mad_scale(array(inputs["regrets"]), params["epsilon"]),
    "normalize_weights": lambda inputs, params, expected: normalize_weights(array(inputs["weights"])),
    "weights_given_scale": _weights_given_scale,
    "weighted_inference": _weighted_inference,
    "forecast_implied_inference": _implied,
    "forecast_implied_inference_one_out": _implied,
    "forecasted_regret": lambda inputs, params, expected: forecasted_regrets(
        inputs["network_loss_prev"], array(inputs["forecast_losses"])
    ),
    **{
        f"network_inference.{pick}": _inferred(pick)
        for pick in (
            "combined", "naive", "one_out_inferer", "one_out_forecaster", "one_in_forecaster", "forecast_implied",
            "confidence_interval",
        )
    },
    "network_inference.lengths": _lengths,
    "network_inference_median": _median_network,
    "running_weighted_avg_update": _running_average,
    "stake_weighted_average": _stake_weighted,
    "stake_weighted_average_many": _stake_weighted,
    "stake_weighted_loss": _stake_weighted,
    "regret_update": _regret_update,
    **{f"regret_update_all.{name}": _regret_family(name) for name in FAMILIES},
    "higher_loss_lower_regret": _higher_loss,
    "initial_regret": _initial_regret,
    "is_experienced": lambda inputs, params, expected: bool(
        is_experienced(inputs["inclusions"], params["alpha"], is_new=inputs["is_new"])
    ),
}  # fmt: skip
