"""The research simulator's table of epochs: its columns as inputs and state, and what the mechanism makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from crucible.network.epoch import EpochResult, step
from crucible.network.implied import forecasted_regrets
from crucible.network.inputs import EpochInputs
from crucible.network.layout import COMBINED, NAIVE, Layout, layout
from crucible.network.parameters import Parameters
from crucible.network.state import TopicState

Row = Mapping[str, float]


class SimulatorTable:
    """A table of epochs, one row of named columns each.

    Parameters
    ----------
    headers : sequence of str
        Column names as the simulator writes them.
    epochs : mapping
        Epoch -> row of decimal strings.
    """

    def __init__(self, headers: Sequence[str], epochs: Mapping[str, Sequence[str]]) -> None:
        self.rows: dict[int, Row] = {
            int(epoch): {name: float(value) for name, value in zip(headers, row, strict=True)}
            for epoch, row in epochs.items()
        }
        count = {kind: _count(headers, kind) for kind in ("inferer_score", "forecaster_score", "reputer_score")}
        self.n, self.k, self.m = count.values()
        self.places = layout(self.n, self.k)
        self.names = tuple(
            tuple(f"{kind}{place:03d}" for place in range(count))
            for kind, count in (("i", self.n), ("f", self.k), ("r", self.m))
        )

    def state(self, epoch: int, params: Parameters) -> TopicState:
        """Return the topic's state after ``epoch``."""
        row = self.rows[epoch]
        blank = TopicState.new(params, initial_regret=1.0).enrolled(*self.names)
        inferers, forecasters, reputers = (
            replace(
                actors,
                fractions=_some(row, f"{kind}_reward_fraction_smooth_{{}}", len(actors.names)),
                window=actors.stored_scores(_some(row, f"{kind}_score_{{}}", len(actors.names))),
            )
            for kind, actors in (
                ("inferer", blank.inferers),
                ("forecaster", blank.forecasters),
                ("reputer", blank.reputers),
            )
        )
        return replace(
            blank,
            inferers=inferers,
            forecasters=forecasters,
            reputers=replace(reputers, listening=_some(row, "reputer_listening_coefficient_{}", self.m)),
            regrets=self._regrets(row),
            network_loss=np.asarray(row["network_loss"]),
            tau=np.asarray(row["forecaster_score_ratio"]),
        )

    def inputs(self, epoch: int) -> EpochInputs:
        """Return what was inferred, forecast and reported in ``epoch``."""
        row, places = self.rows[epoch], self.places
        losses = np.empty((self.m, places.size))
        for m in range(self.m):
            for name, slot in self._slots("loss").items():
                losses[m, slot] = row[f"reputer_{m}_{name}"]
        forecasts = [_some(row, f"forecasted_loss_{k}_for_{{}}", self.n) for k in range(self.k)]
        stakes = _some(row, "reputer_stake_{}", self.m)
        inferences = _some(row, "inference_{}", self.n)
        return EpochInputs(
            self.names[0], inferences, self.names[1], np.array(forecasts), self.names[2], stakes, losses,
            row["topic_rewards"],
        )  # fmt: skip

    def columns(self, epoch: int, before: TopicState, after: TopicState, result: EpochResult) -> dict[str, float]:
        """Return the columns of ``epoch`` as the mechanism computes them."""
        found: dict[str, Any] = {}
        payout = result.payout
        for kind, values in (("inference", result.synthesis.values), ("loss", result.losses)):
            for name, slot in self._slots(kind).items():
                found[_network_name(name) if kind == "loss" else name] = values[slot]
        found.update(_numbered("network_inference_errorbar_{}", result.synthesis.confidence_interval()))
        expected = forecasted_regrets(before.network_loss, self.inputs(epoch).forecasts)
        for k in range(self.k):
            found.update(_numbered(f"forecasted_regret_{k}_inferer_{{}}", expected[k]))
        found.update({name: after.regrets[where] for name, where in self._regret_places().items()})
        kinds = (
            ("inferer", payout.inferer_scores, payout.inferer_fractions, payout.inferer_rewards, after.inferers),
            ("forecaster", payout.forecaster_scores, payout.forecaster_fractions, payout.forecaster_rewards,
             after.forecasters),
            ("reputer", payout.reputer_scores, payout.reputer_fractions, payout.reputer_rewards, after.reputers),
        )  # fmt: skip
        for place, (kind, scores, fractions, rewards, actors) in enumerate(kinds):
            found.update(_numbered(f"{kind}_score_{{}}", scores))
            found.update(_numbered(f"{kind}_reward_fraction_{{}}", fractions))
            found.update(_numbered(f"{kind}_reward_fraction_smooth_{{}}", actors.fractions))
            found.update(_numbered(f"{kind}_reward_{{}}", rewards))
            found[f"{kind}s_entropy"] = payout.entropies[place]
            found[f"{kind}s_reward_fraction"] = payout.task_rewards[place] / self.rows[epoch]["topic_rewards"]
        found.update(_numbered("reputer_listening_coefficient_{}", after.reputers.listening))
        found.update(_numbered("reputer_adjusted_stake_{}", payout.adjusted_stakes))
        found["forecaster_task_score"] = payout.task_score
        found["forecaster_score_ratio"], found["forecasters_utility"] = payout.tau, payout.chi
        return {name: float(value) for name, value in found.items()}

    def replayed(
        self, first: int, epochs: Sequence[int], params: Parameters
    ) -> Iterator[tuple[int, Row, dict[str, float]]]:
        """Yield epoch, row and computed columns, carrying the state on from ``first``.

        The score window of forecasters reaches back before the table in its first epochs. Columns that hang on it are
        left out then, and the next epoch goes on from the smoothed fractions of the table.
        """
        state = self.state(first, params)
        for epoch in epochs:
            before = state
            state, result = step(state, self.inputs(epoch), params)
            found = self.columns(epoch, before, state, result)
            if np.isnan(state.forecasters.window).any():
                smooth = _some(self.rows[epoch], "forecaster_reward_fraction_smooth_{}", self.k)
                state = replace(state, forecasters=replace(state.forecasters, fractions=smooth))
                found = {name: value for name, value in found.items() if not _hangs_on_forecasters(name)}
            yield epoch, self.rows[epoch], found

    def given(self, name: str) -> bool:
        """Return whether a column is an input rather than a result."""
        return name == "target" or name in self._inputs

    @property
    def _inputs(self) -> set[str]:
        names = {f"inference_{j}" for j in range(self.n)} | {f"reputer_stake_{m}" for m in range(self.m)}
        names |= {f"forecasted_loss_{k}_for_{j}" for k in range(self.k) for j in range(self.n)}
        return (
            names | {f"reputer_{m}_{name}" for m in range(self.m) for name in self._slots("loss")} | {"topic_rewards"}
        )

    def _slots(self, kind: str) -> dict[str, int]:
        """Return the columns of inferences, or of one reputer's losses, with their places in the vector."""
        prefix = "loss_" if kind == "loss" else ""
        places: Layout = self.places
        slots = {f"{prefix}network_inference": COMBINED, f"{prefix}naive_network_inference": NAIVE}
        if not prefix:
            slots = {"network_inference": COMBINED, "network_naive_inference": NAIVE}
        naive = "naive_network_inference" if prefix else "network_naive_inference"
        slots |= {f"{prefix}inference_{j}": places.inferers.start + j for j in range(self.n)}
        for x in range(self.n + self.k):
            slots[f"{prefix}network_inference_oneout_{x}"] = places.one_out_inferers.start + x
        for k in range(self.k):
            slots[f"{prefix}forecast_implied_inference_{k}"] = places.implied.start + k
            slots[f"{prefix}{naive}_onein_{k}"] = places.one_in_forecasters.start + k
            for j in range(self.n):
                place = places.implied_one_outs.start + k * self.n + j
                slots[f"{prefix}forecast_implied_inference_{k}_oneout_{j}"] = place
        return slots

    def _regret_places(self) -> dict[str, tuple[int, int]]:
        n, k = self.n, self.k
        found = {f"inference_regret_worker_{w}": (COMBINED, w) for w in range(n + k)}
        found |= {f"naive_inference_regret_worker_{j}": (NAIVE, j) for j in range(n)}
        found |= {f"inference_regret_worker_{w}_oneout_{x}": (2 + x, w) for x in range(n + k) for w in range(n + k)}
        for x in range(k):
            row = self.places.one_in_forecasters.start + x
            found |= {f"inference_regret_worker_{j}_onein_{x}": (row, j) for j in range(n)}
            found[f"inference_regret_worker_{n}_onein_{x}"] = (row, n + x)
        return found

    def _regrets(self, row: Row) -> np.ndarray:
        regrets = np.full((self.places.rows, self.places.columns), np.nan)
        for name, where in self._regret_places().items():
            regrets[where] = row[name]
        return regrets


def _count(headers: Sequence[str], kind: str) -> int:
    return sum(name.removeprefix(f"{kind}_").isdigit() for name in headers)


def _some(row: Row, name: str, count: int) -> np.ndarray:
    return np.array([row[name.format(place)] for place in range(count)])


def _numbered(name: str, values: np.ndarray) -> dict[str, float]:
    return {name.format(place): value for place, value in enumerate(values)}


def _network_name(name: str) -> str:
    """Return the column of a network loss for the column of one reputer's loss of the same thing."""
    name = name.removeprefix("loss_")
    for before, after in (
        ("naive_network_inference_onein", "network_naive_loss_onein"),
        ("naive_network_inference", "network_naive_loss"),
        ("network_inference_oneout", "network_loss_oneout"),
        ("network_inference", "network_loss"),
        ("forecast_implied_inference", "forecast_implied_inference_loss"),
        ("inference", "inference_loss"),
    ):
        if name.startswith(before):
            return after + name.removeprefix(before)
    return name


def _hangs_on_forecasters(name: str) -> bool:
    if name.startswith(("forecaster_reward", "forecasters_")) and name != "forecasters_utility":
        return True
    shares = ("inferers_reward_fraction", "reputers_reward_fraction", "inferer_reward_", "reputer_reward_")
    return name.startswith(shares) and "_reward_fraction_" not in name
