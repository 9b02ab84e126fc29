"""The quick ascent of a single scenario beside the general one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crucible.network import consensus
from crucible.network.consensus import reputers_output
from crucible.network.parameters import Parameters


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 40), st.sampled_from([0.0, 0.5, 0.95]))
def test_the_quick_ascent_is_the_general_one(seed, m, columns, least):
    generator = np.random.default_rng(seed)
    losses = (
        -3 + generator.normal(size=columns) + generator.exponential(0.3, (m, 1)) * generator.normal(size=(m, columns))
    )
    stakes = generator.uniform(1e4, 1e6, m)
    listening = np.where(generator.random(m) < 0.5, 1.0, generator.uniform(0.3, 1.0, m))
    # from below the least stake the way back is as long as rounding makes it; no topic gets there
    assume((listening * stakes).sum() >= least * stakes.sum())
    params = replace(Parameters(), min_stake_fraction=least, learning_rate=0.5)
    quick = reputers_output(losses, stakes, listening, params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consensus, "ascend", lambda *arguments: None)
        general = reputers_output(losses, stakes, listening, params)
    for ours, theirs in zip(quick, general, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_consensus_without_a_norm_takes_the_chains_number():
    found = reputers_output(np.zeros((3, 5)), np.ones(3), np.ones(3), Parameters())
    assert found[0] == pytest.approx(1 / 0.01)
    assert found[1].tolist() == [1.0, 1.0, 1.0]


def test_without_iterations_scores_are_nothing():
    none = replace(Parameters(), gradient_descent_max_iters=0)
    scores, listening, _ = reputers_output(np.ones((2, 3)), np.ones(2), np.full(2, 0.5), none)
    assert scores.tolist() == [0.0, 0.0]
    assert listening.tolist() == [0.5, 0.5]
