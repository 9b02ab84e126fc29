"""What the mechanism is for, seen in made-up topics."""

import numpy as np
import pytest

from crucible.errors import MechanismError
from crucible.network.parameters import Parameters
from crucible.network.simulate import Field, simulate

HONEST = {"stakes": np.full(4, 1e5), "lies": np.zeros(4)}
WARM = 30  # epochs until the workers are known


def _squared_error(simulation, values):
    return float(((values - simulation.truth[(...,) + (None,) * (values.ndim - 1)])[WARM:] ** 2).mean(axis=0).min())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_network_beats_its_best_worker(seed):
    skills = np.linspace(0.8, 1.2, 8)[None, :]
    run = simulate(Field(skills, np.zeros(0), **HONEST), 250, Parameters(), seed=seed)
    assert _squared_error(run, run.combined) < 0.9 * _squared_error(run, run.inferences)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_forecasters_help_where_skill_depends_on_the_regime(seed):
    skills = np.array([[0.1, 0.1, 0.1, 3.0, 3.0, 3.0], [3.0, 3.0, 3.0, 0.1, 0.1, 0.1]])
    without = simulate(Field(skills, np.zeros(0), **HONEST), 250, Parameters(), seed=seed)
    informed = simulate(Field(skills, np.array([0.1, 0.1, 0.1]), **HONEST), 250, Parameters(), seed=seed)
    assert _squared_error(informed, informed.combined) < 0.8 * _squared_error(without, without.combined)
    assert np.nanmean(informed.forecaster_rewards) > 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_lying_reputer_is_heard_less_and_paid_less(seed):
    lies = np.array([0.0, 0.0, 0.0, 1.5])
    field = Field(np.linspace(0.2, 1.0, 5)[None, :], np.full(2, 0.3), np.full(4, 1e5), lies, truth_noise=0.02)
    run = simulate(field, 150, Parameters(), seed=seed)
    assert run.listening[WARM:, 3].mean() < run.listening[WARM:, :3].mean(axis=0).min()
    rewards = np.nanmean(run.reputer_rewards, axis=0)
    assert rewards[3] < 0.5 * rewards[:3].min()


def test_a_biased_worker_is_left_out_and_correlated_errors_do_not_average_out():
    skills = np.full((1, 6), 0.5)
    biased = Field(skills, np.zeros(0), biases=np.array([2.0, 0, 0, 0, 0, 0]), **HONEST)
    run = simulate(biased, 200, Parameters(), seed=3)
    regrets = run.state.regrets[0]
    assert regrets[0] < regrets[1:].min() - 0.5
    assert abs(np.mean((run.combined - run.truth)[WARM:])) < 0.2  # a sixth of the bias would be 0.33
    alone, together = (
        simulate(Field(skills, np.zeros(0), correlation=share, **HONEST), 200, Parameters(), seed=4)
        for share in (0.0, 0.9)
    )
    assert _squared_error(alone, alone.combined) < 0.6 * _squared_error(together, together.combined)


def test_the_seed_decides_everything():
    field = Field(np.ones((2, 3)), np.ones(1), **HONEST)
    first, same, other = (simulate(field, 12, Parameters(), seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.combined, same.combined)
    assert not np.array_equal(first.combined, other.combined)


@pytest.mark.parametrize(
    "wrong",
    [
        {"skills": np.zeros((1, 3))},
        {"lies": np.zeros(3)},
        {"biases": np.zeros(2)},
        {"correlation": 2.0},
    ],
)
def test_impossible_fields_are_refused(wrong):
    with pytest.raises(MechanismError):
        Field(**{"skills": np.ones((1, 3)), "forecast_noise": np.zeros(1), **HONEST, **wrong})
