"""Made-up epochs of a topic."""

import numpy as np

from crucible.network.epoch import step
from crucible.network.inputs import EpochInputs
from crucible.network.losses import squared_log_losses
from crucible.network.parameters import Parameters
from crucible.network.state import TopicState


def names(kind, count):
    return tuple(f"{kind}{place:04d}" for place in range(count))


def epoch(generator, n=5, k=2, m=3, batch=(), reward=1000.0, oif=False, missing=0.0):
    """Inputs of one epoch: inferers of fixed skills, noisy forecasters, honest reputers."""
    truth = generator.normal(size=batch)
    skill = np.geomspace(0.03, 1.0, n)
    inferences = truth[..., None] + skill * generator.normal(size=(*batch, n))
    losses = np.log10((inferences - truth[..., None]) ** 2 + 1e-6)
    forecasts = losses[..., None, :] + 0.5 * generator.normal(size=(*batch, k, n))
    forecasts = np.where(generator.random(forecasts.shape) < missing, np.nan, forecasts)
    truths = truth[..., None] + 0.02 * generator.normal(size=(*batch, m))
    stakes = generator.uniform(2e4, 1e6, (*batch, m))
    report = squared_log_losses(truths, 1e-6, implied_one_outs=oif)
    return EpochInputs(
        names("i", n), inferences, names("f", k), forecasts, names("r", m), stakes, report, np.full(batch, reward)
    )


def run(inputs, params=None, initial_regret=-1.0, batch=()):
    """The state and the last result after some epochs."""
    params = params or Parameters()
    state, result = TopicState.new(params, initial_regret=initial_regret, batch=batch), None
    for given in inputs:
        state, result = step(state, given, params)
    return state, result
