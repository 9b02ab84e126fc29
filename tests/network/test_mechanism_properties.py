"""What must hold whatever the numbers are."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from topic_world import epoch, names, run

from crucible.network.consensus import reputers_output
from crucible.network.epoch import step
from crucible.network.inputs import EpochInputs
from crucible.network.layout import Members, layout
from crucible.network.losses import network_losses
from crucible.network.parameters import VERSIONS, Parameters
from crucible.network.rewards import entropy, forecasting_utility, score_fractions, task_shares
from crucible.network.state import TopicState
from crucible.network.weights import set_weights, weight_from_normalized_regret

seeds = st.integers(0, 2**32 - 1)


def _epochs(seed, count, **shape):
    generator = np.random.default_rng(seed)
    return [epoch(generator, **shape) for _ in range(count)]


def _mirrored(inputs, order_j, order_k, order_m):
    """The same epoch with the participants' addresses handed round."""
    report = inputs.losses

    def losses(synthesis):
        # reputers' truths stand in the order of the original addresses
        return report(synthesis)[order_m]

    return EpochInputs(
        inputs.inferers,
        inputs.inferences[order_j],
        inputs.forecasters,
        inputs.forecasts[np.ix_(order_k, order_j)],
        inputs.reputers,
        inputs.stakes[order_m],
        losses,
        inputs.topic_reward,
    )


@settings(max_examples=20)
@given(seeds)
def test_addresses_do_not_matter(seed):
    generator = np.random.default_rng(seed)
    n, k, m = 5, 3, 4
    order_j, order_k, order_m = (generator.permutation(count) for count in (n, k, m))
    inputs = _epochs(seed, 4, n=n, k=k, m=m)
    _, result = run(inputs)
    _, other = run([_mirrored(item, order_j, order_k, order_m) for item in inputs])
    assert other.combined == pytest.approx(result.combined, rel=1e-9)
    for kind, order in (("inferer", order_j), ("forecaster", order_k), ("reputer", order_m)):
        ours, theirs = (getattr(item.payout, f"{kind}_rewards") for item in (result, other))
        assert theirs == pytest.approx(ours[order], rel=1e-6)


@settings(max_examples=20)
@given(seeds, st.floats(0.01, 100.0), st.floats(-10, 10))
def test_units_do_not_matter(seed, scale, shift):
    """Inferences in other units combine to the same in those units; losses that all grow alike change no weight."""
    inputs = _epochs(seed, 2, n=4, k=2)
    state, _ = run(inputs[:1])
    _, result = step(state, inputs[1], Parameters())
    moved = replace(inputs[1], inferences=inputs[1].inferences * scale + shift)
    _, other = step(state, moved, Parameters())
    assert other.synthesis.weights == pytest.approx(result.synthesis.weights)
    assert other.combined == pytest.approx(result.combined * scale + shift, rel=1e-9, abs=1e-9)


@settings(max_examples=20)
@given(seeds, st.integers(2, 7), st.integers(0, 4), st.integers(1, 4), st.floats(0.0, 0.7))
def test_rewards_add_up_and_weights_are_bounded(seed, n, k, m, missing):
    inputs = _epochs(seed, 3, n=n, k=k, m=m, missing=missing)
    _, result = run(inputs)
    payout = result.payout
    kinds = (payout.inferer_rewards, payout.forecaster_rewards, payout.reputer_rewards)
    assert sum(float(np.nansum(rewards)) for rewards in kinds) == pytest.approx(1000.0)
    assert all((rewards[~np.isnan(rewards)] >= 0).all() for rewards in kinds)
    assert 0.1 <= payout.chi <= 0.5
    weights = result.synthesis.weights
    assert (weights >= 0).all()
    assert (weights <= 3.0).all()
    assert weights.max() >= 3.0 / (1 + np.exp(8.26))
    low, high = np.nanmin(result.synthesis.values), np.nanmax(result.synthesis.values)
    values = result.synthesis.values[result.synthesis.layout.inferers]
    assert values.min() - 1e-9 <= low
    assert high <= values.max() + 1e-9


@settings(max_examples=50)
@given(seeds, st.floats(0.5, 5.0), st.floats(0.0, 2.0))
def test_a_larger_regret_never_weighs_less(seed, p, c):
    regrets = np.sort(np.random.default_rng(seed).normal(scale=4, size=20))
    weights = weight_from_normalized_regret(regrets, regrets.max(), p, c)
    assert (np.diff(weights) >= 0).all()
    assert (weights <= p).all()


@settings(max_examples=50)
@given(seeds, st.floats(0.1, 1e6))
def test_only_relative_stakes_count(seed, scale):
    generator = np.random.default_rng(seed)
    losses, stakes = generator.normal(-3, 0.3, (4, 9)), generator.uniform(1, 10, 4)
    assert network_losses(losses, stakes * scale) == pytest.approx(network_losses(losses, stakes))
    ours, theirs = (reputers_output(losses, amount, np.ones(4), Parameters()) for amount in (stakes, stakes * scale))
    assert theirs[0] == pytest.approx(ours[0], rel=1e-6)
    assert ((theirs[1] >= 0) & (theirs[1] <= 1)).all()
    assert (network_losses(losses, stakes) <= losses.max(axis=0) + 1e-9).all()


@settings(max_examples=50)
@given(st.lists(st.floats(0.01, 5), min_size=3, max_size=3), st.floats(0.1, 0.5))
def test_the_three_tasks_share_everything(entropies, chi):
    shares = task_shares(*entropies, chi)
    assert sum(float(share) for share in shares) == pytest.approx(1.0)
    assert all(share >= 0 for share in shares)


@settings(max_examples=50)
@given(seeds)
def test_fractions_sum_to_one_and_follow_the_scores(seed):
    scores = np.sort(np.random.default_rng(seed).normal(size=6))
    fractions = score_fractions(scores, scores.std(ddof=1), 3.0, 0.75, 0.01)
    assert fractions.sum() == pytest.approx(1.0)
    assert (np.diff(fractions) >= 0).all()
    hopeless = score_fractions(np.array([-1e4, 0.0, 1.0]), 1.0, 3.0, 0.75, 0.01)
    assert 0 < hopeless[0] < 1e-300
    assert np.isfinite(entropy(hopeless, 2.0, 0.25))
    chi, _ = forecasting_utility(scores[0], scores, 0.0, 0.1)
    assert 0.1 <= chi <= 0.5


@settings(max_examples=10)
@given(seeds)
def test_a_batch_is_its_scenarios_one_by_one(seed):
    generator = np.random.default_rng(seed)
    inputs = [epoch(generator, n=4, k=3, m=3, batch=(3,)) for _ in range(4)]
    state, result = run(inputs, batch=(3,))
    for b in range(3):
        alone = []
        for item in inputs:
            report = item.losses

            def losses(synthesis, report=report, b=b):
                return report(replace(synthesis, values=np.stack([synthesis.values] * 3)))[b]

            alone.append(
                replace(
                    item, inferences=item.inferences[b], forecasts=item.forecasts[b], stakes=item.stakes[b],
                    topic_reward=float(item.topic_reward[b]), losses=losses,
                )
            )  # fmt: skip
        single, only = run(alone)
        assert only.synthesis.values == pytest.approx(result.synthesis.values[b], rel=1e-10)
        assert single.regrets == pytest.approx(state.regrets[b], rel=1e-10, nan_ok=True)
        assert single.reputers.listening == pytest.approx(state.reputers.listening[b], rel=1e-3, abs=1e-3)
        assert only.payout.inferer_rewards == pytest.approx(result.payout.inferer_rewards[b], rel=1e-4)


def test_the_absent_keep_everything():
    generator = np.random.default_rng(3)
    first = [epoch(generator, n=5, k=3, m=4) for _ in range(3)]
    before, _ = run(first)
    fewer = epoch(generator, n=4, k=2, m=3)
    after, _ = step(before, fewer, Parameters())
    gone = before.regrets[:, 4]
    assert after.regrets[:, 4] == pytest.approx(gone, nan_ok=True)
    for kind in ("inferers", "forecasters", "reputers"):
        old, new = getattr(before, kind), getattr(after, kind)
        assert new.names == old.names
        for field in ("score_ema", "fractions", "inclusions", "listening"):
            assert getattr(new, field)[-1] == pytest.approx(getattr(old, field)[-1], nan_ok=True), field


def test_newcomers_stand_where_their_address_is():
    generator = np.random.default_rng(4)
    state, _ = run([epoch(generator, n=3, k=2, m=2) for _ in range(2)])
    given_ = epoch(generator, n=4, k=2, m=2)
    moved = replace(given_, inferers=("a-first", *names("i", 3)))
    after, _ = step(state, moved, Parameters())
    assert after.inferers.names == ("a-first", *names("i", 3))
    assert after.regrets.shape == (2 + 4 + 4, 6)
    assert not np.isnan(after.regrets[0]).any()


def test_a_step_changes_neither_state_nor_inputs():
    generator = np.random.default_rng(5)
    state, _ = run([epoch(generator) for _ in range(2)])
    given_ = epoch(generator)
    copies = {field.name: np.copy(getattr(state, field.name)) for field in fields(TopicState)[3:]}
    forecasts = given_.forecasts.copy()
    first, _ = step(state, given_, Parameters())
    second, _ = step(state, given_, Parameters())
    assert first.regrets == pytest.approx(second.regrets, nan_ok=True)
    for name, copy in copies.items():
        assert np.array_equal(getattr(state, name), copy, equal_nan=True), name
    assert np.array_equal(given_.forecasts, forecasts, equal_nan=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_runs(version):
    params = Parameters.of(version)
    _, result = run(_epochs(1, 5, n=5, k=2), params)
    assert np.isfinite(result.combined)
    total = sum(
        float(np.nansum(getattr(result.payout, f"{kind}_rewards"))) for kind in ("inferer", "forecaster", "reputer")
    )
    assert total == pytest.approx(1000.0)
    assert (result.synthesis.weights.max() == pytest.approx(1.0)) == params.since("0.9")


def test_the_shared_scale_of_later_versions_reaches_every_network():
    regrets = np.array([[0.1, 0.4, -0.3], [0.1, 0.4, -0.3]])
    members = Members.of(np.array([[True, True, True], [True, True, False]]))
    own = set_weights(regrets, members, Parameters())
    shared = set_weights(regrets, members, Parameters.of("0.9"), np.array([0.5, 0.5]))
    assert own[1, 0] != own[0, 0]
    assert shared[1, 0] == pytest.approx(shared[0, 0])


def test_the_layout_has_a_place_for_everything():
    places = layout(4, 2)
    assert (places.rows, places.columns, places.size) == (10, 6, 24)
    assert places.members.share.sum(axis=1).tolist() == [6, 4, 5, 5, 5, 5, 5, 5, 5, 5]
    assert places.kept.sum() == 10 * 6 - 2 - 2
