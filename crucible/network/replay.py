"""Recorded epochs run again: what a scenario's inputs lead to, under the names that the recording uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from crucible.network.actors import Actors
from crucible.network.epoch import EpochResult, step
from crucible.network.inputs import EpochInputs
from crucible.network.layout import COMBINED, NAIVE, Layout
from crucible.network.losses import Report, squared_log_losses
from crucible.network.networks import Synthesis
from crucible.network.parameters import Parameters
from crucible.network.state import TopicState

Found = Mapping[str, Any]


def scenario_parameters(scenario: Mapping[str, Any]) -> Parameters:
    """Return the parameters of a recorded scenario, whose numbers are decimal strings."""
    topic, module = scenario["topic"], scenario["params"]
    names = set(Parameters.__dataclass_fields__)
    values: dict[str, Any] = {name: float(value) for name, value in {**module, **topic}.items() if name in names}
    for name in ("gradient_descent_max_iters", "max_samples_to_scale_scores"):
        if name in values:
            values[name] = int(values[name])
    for kind in ("inferer", "forecaster", "reputer"):
        values[f"active_{kind}_quantile"] = float(topic["quantile"])
    return Parameters(**values, implied_one_out_losses=bool(scenario["one_out_inferer_forecaster_losses_reported"]))


def replayed(scenario: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Callable[[], Any]]]]:
    """Yield every recorded epoch of ``scenario`` with what was computed anew, by the names of the recording.

    The values are functions, so that only what the recording has is built.
    """
    params = scenario_parameters(scenario)
    state = TopicState.new(params, initial_regret=float(scenario["topic"]["initial_regret"]))
    paid = False
    floor = float(scenario["loss"]["floor"])
    for epoch in scenario["epochs"]:
        before = state
        inputs = _inputs(epoch, floor, params)
        state, result = step(state, inputs, params)
        paid = paid or not result.payout.reward_error
        yield epoch, _found(before, state, inputs, result, paid)


def _inputs(epoch: Mapping[str, Any], floor: float, params: Parameters) -> EpochInputs:
    reputers = epoch["reputers"]
    names = sorted(reputers)
    truths = np.array([float(reputers[name]["truth"]) for name in names])
    inferers, forecasters = sorted(epoch["inferences"]), sorted(epoch["forecasts"])
    report = squared_log_losses(truths, floor, implied_one_outs=params.implied_one_out_losses)
    return EpochInputs.of(
        {name: float(value) for name, value in epoch["inferences"].items()},
        {name: {j: float(loss) for j, loss in losses.items()} for name, losses in epoch["forecasts"].items()},
        {name: float(reputers[name]["stake"]) for name in names},
        _with_omissions(report, [reputers[name].get("omit", ()) for name in names], inferers, forecasters),
        float(epoch["topic_reward"]),
    )


def _with_omissions(report: Report, omissions: list[Any], inferers: list[str], forecasters: list[str]) -> Report:
    if not any(omissions):
        return report

    def reduced(synthesis: Synthesis) -> np.ndarray:
        losses = report(synthesis)
        for row, names in zip(losses, omissions, strict=True):
            for name in names:
                for place in _omitted(name, inferers, forecasters, synthesis.layout):
                    if place < losses.shape[-1]:
                        row[place] = np.nan
        return losses

    return reduced


def _omitted(name: str, inferers: list[str], forecasters: list[str], places: Layout) -> list[int]:
    """Return the places that ``name`` (``i01``, ``out:i01``, ``in:f0``, ``oif:i01``) leaves out."""
    kind, _, worker = name.rpartition(":")
    if worker in inferers:
        j = inferers.index(worker)
        if kind == "oif":
            return [places.implied_one_outs.start + k * places.n + j for k in range(places.k)]
        return [{"": places.inferers, "out": places.one_out_inferers}[kind].start + j]
    if worker in forecasters:
        slices = {"": places.implied, "out": places.one_out_forecasters, "in": places.one_in_forecasters}
        return [slices[kind].start + forecasters.index(worker)]
    return []


def _found(
    before: TopicState, after: TopicState, inputs: EpochInputs, result: EpochResult, paid: bool
) -> dict[str, Callable[[], Any]]:
    payout, synthesis = result.payout, result.synthesis
    names = (inputs.inferers, inputs.forecasters, inputs.reputers)
    split = synthesis.layout.n

    def by_kind(*arrays: np.ndarray) -> dict[str, dict[str, float]]:
        kinds = ("inferer", "forecaster", "reputer")
        return {kind: _named(who, values) for kind, who, values in zip(kinds, names, arrays, strict=True)}

    found: dict[str, Callable[[], Any]] = {
        "mode": lambda: synthesis.mode,
        "all_new": lambda: bool(synthesis.all_new),
        "initial_regret_before": lambda: before.initial_regret,
        "initial_regret_after": lambda: after.initial_regret,
        "network_inference": lambda: bundle(synthesis.values[: result.losses.shape[-1]], names, synthesis.layout),
        "network_loss": lambda: bundle(result.losses, names, synthesis.layout),
        "confidence_interval": lambda: list(synthesis.confidence_interval()),
        "weights_inferers": lambda: _named(names[0], _weights(synthesis)[:split]),
        "weights_forecasters": lambda: _named(names[1], _weights(synthesis)[split:]),
        "scores": lambda: by_kind(payout.inferer_scores, payout.forecaster_scores, payout.reputer_scores),
        "fractions": lambda: by_kind(payout.inferer_fractions, payout.forecaster_fractions, payout.reputer_fractions),
        "rewards": lambda: by_kind(payout.inferer_rewards, payout.forecaster_rewards, payout.reputer_rewards),
        "score_ema": lambda: _prefixed(after, "score_ema", ("ei", "ef", "er")),
        "state": lambda: _state(after, paid),
        "regrets": lambda: regret_families(after),
        "reward_error": lambda: payout.reward_error,
    }
    for place, (entropy, reward) in enumerate(
        (("inference", "inference"), ("forecasting", "forecast"), ("reputer", "reputer"))
    ):
        found[f"{entropy}_entropy"] = lambda place=place: payout.entropies[place]  # type: ignore[misc]
        found[f"task_reward_{reward}"] = lambda place=place: payout.task_rewards[place]  # type: ignore[misc]
    for name in ("chi", "gamma", "tau", "task_score"):
        found[name] = lambda name=name: getattr(payout, name)  # type: ignore[misc]
    return found


def bundle(values: np.ndarray, names: tuple[tuple[str, ...], ...], places: Layout) -> dict[str, Any]:
    """Return the vector ``values`` (layout.reported or layout.size,) as the bundle that the chain shows."""
    inferers, forecasters = names[:2]
    withheld = values[places.implied_one_outs].reshape(-1, places.n) if len(values) == places.size else ()
    full = {k: _named(inferers, row) for k, row in zip(forecasters, withheld, strict=False)}
    return {
        "combined": values[COMBINED],
        "naive": values[NAIVE],
        "inferer": _named(inferers, values[places.inferers]),
        "forecaster": _named(forecasters, values[places.implied]),
        "one_out_inferer": _named(inferers, values[places.one_out_inferers]),
        "one_out_forecaster": _named(forecasters, values[places.one_out_forecasters]),
        "one_in_forecaster": _named(forecasters, values[places.one_in_forecasters]),
        "one_out_inferer_forecaster": {k: row for k, row in full.items() if row},
    }


def regret_families(state: TopicState) -> dict[str, float]:
    """Return stored regrets by the recording's keys: R_i/j, R_f/k, N/j, Oii/j/l, Oif/j/k, Ofi/k/j, Off/k/k, I/k/w."""
    inferers, forecasters = state.inferers.names, state.forecasters.names
    n, k = len(inferers), len(forecasters)
    rows = [("R", ""), ("N", "")] + [("O", f"/{name}") for name in inferers + forecasters]
    rows += [("I", f"/{name}") for name in forecasters]
    found = {}
    for place, (family, of) in enumerate(rows):
        kind = {"R": "_", "O": "i" if place < 2 + n else "f"}.get(family, "")
        for column, worker in enumerate(inferers + forecasters):
            role = ("i" if column < n else "f") if family in "RO" else ""
            value = state.regrets[place, column]
            if not np.isnan(value):
                found[f"{family}{kind}{role}{of}/{worker}"] = float(value)
    assert len(rows) == 2 + n + 2 * k
    return found


def _state(state: TopicState, paid: bool) -> dict[str, float]:
    found = _prefixed(state, "fractions", ("pi", "pf", "pr"))
    found.update({f"lc/{m}": float(a) for m, a in zip(state.reputers.names, state.reputers.listening, strict=True)})
    for key, actors in zip(("qei", "qef", "qer"), _kinds(state), strict=True):
        found[key] = float(actors.quantile)
    if paid:  # the chain stores it with the first rewards
        found["tau"] = float(state.tau)
    return found


def _kinds(state: TopicState) -> tuple[Actors, Actors, Actors]:
    return state.inferers, state.forecasters, state.reputers


def _prefixed(state: TopicState, field: str, prefixes: tuple[str, str, str]) -> dict[str, float]:
    return {
        f"{prefix}/{name}": value
        for prefix, actors in zip(prefixes, _kinds(state), strict=True)
        for name, value in _named(actors.names, getattr(actors, field)).items()
    }


def _weights(synthesis: Synthesis) -> np.ndarray:
    if synthesis.weights is None:
        return np.full(synthesis.layout.columns, np.nan)
    return np.where(
        np.isnan(synthesis.values[synthesis.layout.rows : synthesis.layout.reported]), np.nan, synthesis.weights
    )


def _named(names: tuple[str, ...], values: np.ndarray) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True) if not np.isnan(value)}
