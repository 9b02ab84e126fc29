"""The open field against the dense computation."""

from dataclasses import replace

import numpy as np
import pytest
from topic_world import epoch

from crucible.errors import MechanismError
from crucible.network.epoch import step
from crucible.network.kernel_sums import sums_without_own
from crucible.network.open_field import OpenFieldState, step_open_field
from crucible.network.parameters import Parameters
from crucible.network.state import TopicState
from crucible.network.weights import weight_from_normalized_regret

PARAMS = Parameters()


def _start(inputs, initial_regret):
    state = TopicState.new(PARAMS, initial_regret=initial_regret)
    return state.enrolled(inputs.inferers, inputs.forecasters, inputs.reputers)


@pytest.mark.parametrize(("n", "k", "count"), [(2, 1, 4), (5, 0, 4), (5, 2, 14), (60, 3, 14), (200, 4, 5)])
@pytest.mark.parametrize("initial_regret", [0.0, -1.0])
def test_it_is_the_dense_computation(n, k, count, initial_regret):
    generator = np.random.default_rng(n)
    epochs = [epoch(generator, n=n, k=k) for _ in range(count)]
    state = _start(epochs[0], initial_regret)
    field = OpenFieldState.of(state)
    for given in epochs:
        state, dense = step(state, given, PARAMS)
        field, found = step_open_field(field, given, PARAMS)
        assert found.synthesis.values == pytest.approx(dense.synthesis.values, rel=1e-9, abs=1e-12, nan_ok=True)
        assert found.losses == pytest.approx(dense.losses, rel=1e-9, nan_ok=True)
        assert found.payout.inferer_rewards == pytest.approx(dense.payout.inferer_rewards, rel=1e-7, nan_ok=True)
    assert field.topic.initial_regret == pytest.approx(float(state.initial_regret), rel=1e-9)
    assert OpenFieldState.of(state).networks - OpenFieldState.of(state).networks[0] == pytest.approx(
        field.networks - field.networks[0], abs=1e-9
    )


def test_sums_are_those_of_every_term_also_at_cap_and_cut():
    generator = np.random.default_rng(0)
    n = 400
    b, values = generator.normal(scale=2.0, size=n), generator.normal(size=n)
    for spread in (1e-4, 1e-2, 0.3, 5.0):  # from one smooth kernel to hardly any
        t = generator.normal(-1.0, spread, n)
        t[:3] += 40.0  # far from the others
        u = np.exp(generator.normal(0.0, spread, n))
        own = generator.permutation(n)
        found = sums_without_own(b, values, t, u, 0.0, own, PARAMS)
        weights = weight_from_normalized_regret((t[:, None] - b) * u[:, None], np.inf, 3.0, 0.75)
        weights[np.arange(n), own] = 0.0
        assert found[:, 0] == pytest.approx(weights.sum(axis=1), rel=1e-10, abs=1e-12)
        assert found[:, 1] == pytest.approx(weights @ values, rel=1e-9, abs=1e-9)


def test_what_it_cannot_do_it_refuses():
    generator = np.random.default_rng(1)
    first, second = epoch(generator, n=6), epoch(generator, n=5)
    state = _start(first, -1.0)
    field = OpenFieldState.of(state)
    with pytest.raises(MechanismError, match="participants are not those"):
        step_open_field(field, second, PARAMS)
    with pytest.raises(MechanismError, match="complete forecasts"):
        step_open_field(field, replace(first, forecasts=np.full((2, 6), np.nan)), PARAMS)
    with pytest.raises(MechanismError, match=r"before 0\.9"):
        step_open_field(field, first, Parameters.of("0.9"))
    for given in (first, first, second, first):
        state, _ = step(state, given, PARAMS)
    with pytest.raises(MechanismError, match="came and went"):
        OpenFieldState.of(state)
