"""A made-up topic, epoch by epoch: the mechanism with workers of known skill and reputers of known honesty."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from crucible.errors import MechanismError
from crucible.network.epoch import step
from crucible.network.forecaster import Forecaster
from crucible.network.inputs import EpochInputs
from crucible.network.layout import COMBINED, NAIVE
from crucible.network.losses import Report, squared_log_losses
from crucible.network.networks import Synthesis
from crucible.network.parameters import Parameters
from crucible.network.state import TopicState

FLOOR = 1e-12  # keeps log10 of a squared error finite


@dataclass(frozen=True)
class Field:
    """Who takes part in the topic. Errors and truths are in topic units, losses in log10.

    Attributes
    ----------
    skills : numpy.ndarray
        Shape (regimes, n): the standard deviation of each inferer's error in each regime.
    forecast_noise : numpy.ndarray
        Shape (K,): standard deviation of a forecaster's error about the log10 loss that it expects. It knows the regime
        and each inferer's skill in it, not the error that will come.
    stakes : numpy.ndarray
        Shape (M,): of the reputers, positive.
    lies : numpy.ndarray
        Shape (M,): standard deviation of what a reputer adds to each log10 loss; 0 for an honest one.
    biases : numpy.ndarray, optional
        Shape (n,): added to every inference; 0 by default.
    correlation : float
        From 0 to 1: the share of the variance of errors that all inferers have in common.
    persistence : float
        The probability that a regime goes on for another epoch.
    truth_noise : float
        Standard deviation of what an honest reputer takes to be the truth.
    """

    skills: np.ndarray
    forecast_noise: np.ndarray
    stakes: np.ndarray
    lies: np.ndarray
    biases: np.ndarray | None = None
    correlation: float = 0.0
    persistence: float = 0.9
    truth_noise: float = 1e-3

    def __post_init__(self) -> None:
        if self.skills.ndim != 2 or not (self.skills > 0).all():
            raise MechanismError("skills must be positive, one row per regime and one column per inferer")
        if self.stakes.shape != self.lies.shape:
            raise MechanismError(f"{len(self.stakes)} stakes do not fit {len(self.lies)} lies")
        if self.biases is not None and self.biases.shape != self.skills.shape[1:]:
            raise MechanismError(f"{len(self.biases)} biases do not fit {self.skills.shape[1]} inferers")
        if not 0 <= self.correlation <= 1 or not 0 <= self.persistence <= 1:
            raise MechanismError("correlation and persistence must lie between 0 and 1")


@dataclass(frozen=True)
class Simulation:
    """What happened; the first axis is the epoch.

    Attributes
    ----------
    truth, combined, naive : numpy.ndarray
        Shape (epochs,), topic units.
    inferences : numpy.ndarray
        Shape (epochs, n), topic units.
    inferer_rewards, forecaster_rewards, reputer_rewards : numpy.ndarray
        Shapes (epochs, n), (epochs, K), (epochs, M); NaN in the first epoch, which pays nobody.
    listening : numpy.ndarray
        Shape (epochs, M): the reputers' listening coefficients after each epoch.
    one_out, one_in : numpy.ndarray
        Shape (epochs, K): the forecasters' scores by the network without each, and by the naive network with only it.
        NaN in the first epoch, and for a lone forecaster, of whom no such network is made.
    state : TopicState
        After the last epoch.
    models : tuple of Forecaster
        After the last epoch.
    """

    truth: np.ndarray
    combined: np.ndarray
    naive: np.ndarray
    inferences: np.ndarray
    inferer_rewards: np.ndarray
    forecaster_rewards: np.ndarray
    reputer_rewards: np.ndarray
    listening: np.ndarray
    one_out: np.ndarray
    one_in: np.ndarray
    state: TopicState
    models: tuple[Forecaster, ...]


def simulate(
    field: Field,
    epochs: int,
    params: Parameters,
    *,
    seed: int = 0,
    topic_reward: float = 1000.0,
    models: tuple[Forecaster, ...] = (),
) -> Simulation:
    """Run ``field`` for a number of epochs.

    ``models`` forecast beside the field's own forecasters, and come last among them. They see the epoch's inferences,
    as somebody does who submits late, and learn from the network's losses.

    The truth is a random walk with steps of 1. The topic starts as a new one: for its first 1/alpha_regret rewarded
    epochs all workers are new, and the network infers their plain mean.
    """
    generator = np.random.default_rng(seed)
    regimes, n = field.skills.shape
    told = len(field.forecast_noise)
    names = tuple(
        tuple(f"{kind}{place:03d}" for place in range(count))
        for kind, count in (("i", n), ("f", told + len(models)), ("r", len(field.stakes)))
    )
    biases = np.zeros(n) if field.biases is None else field.biases
    state, truth, regime = TopicState.new(params), 0.0, 0
    rows: list[tuple[np.ndarray | float, ...]] = []
    for _ in range(epochs):
        truth += generator.normal()
        if generator.random() > field.persistence:
            regime = int(generator.integers(regimes))
        skill = field.skills[regime]
        common = generator.normal() * np.sqrt(field.correlation)
        errors = skill * (common + generator.normal(size=n) * np.sqrt(1 - field.correlation)) + biases
        noise = field.forecast_noise[:, None] * generator.normal(size=(told, n))
        forecasts = np.log10(skill**2 + biases**2) + noise
        report = _report(field, truth, generator)
        learned = [model.forecast(names[0], truth + errors, float(state.network_loss), params) for model in models]
        inputs = EpochInputs(
            names[0], truth + errors, names[1], np.array([*forecasts, *learned]).reshape(-1, n), names[2],
            field.stakes, report, topic_reward,
        )  # fmt: skip
        state, result = step(state, inputs, params)
        losses, places = result.losses, result.synthesis.layout
        models = tuple(model.learned(names[0], inputs.inferences, losses[places.inferers]) for model in models)
        payout, values = result.payout, result.synthesis.values
        rows.append((
            truth, values[0], values[1], inputs.inferences, payout.inferer_rewards, payout.forecaster_rewards,
            payout.reputer_rewards, state.reputers.listening,
            losses[places.one_out_forecasters] - losses[COMBINED], losses[NAIVE] - losses[places.one_in_forecasters],
        ))  # fmt: skip
    kept = [item.name for item in fields(Simulation)][:-2]
    columns: dict[str, Any] = {
        name: np.array(column) for name, column in zip(kept, zip(*rows, strict=True), strict=True)
    }
    return Simulation(**columns, state=state, models=models)


def _report(field: Field, truth: float, generator: np.random.Generator) -> Report:
    honest = squared_log_losses(truth + field.truth_noise * generator.normal(size=field.stakes.shape), FLOOR)

    def report(synthesis: Synthesis) -> np.ndarray:
        losses = honest(synthesis)
        return losses + field.lies[:, None] * generator.normal(size=losses.shape)

    return report
