"""A candidate among a field of workers, epoch by epoch."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.errors import MechanismError
from crucible.network.admission import admit
from crucible.network.backtest import BURN_IN, _Run, backtest, squared_error
from crucible.network.epoch import step
from crucible.network.field import LaterEpochs, RecordedField, SyntheticField, Truth, mean_inference
from crucible.network.inputs import EpochInputs
from crucible.network.losses import squared_log_losses
from crucible.network.parameters import Parameters
from crucible.network.state import TopicState

PARAMS = Parameters()


@pytest.fixture(scope="module")
def truth():
    return Truth.of(1e-3 * np.random.default_rng(0).standard_t(4, size=1200))


def _forecast(truth, skill, seed=1):
    luck = np.random.default_rng(seed).normal(size=len(truth.values))
    return truth.unscaled(skill**2 * truth.moves + skill * np.sqrt(1 - skill**2) * luck)


def test_the_backtest_is_the_mechanism_step_by_step(truth):
    field, own = SyntheticField(truth, workers=5), _forecast(truth, 0.3)
    trace = backtest(own, truth, field, PARAMS, segments=1, burn_in=2, reputers=1)
    floor = 1e-9 * float(np.mean((own - truth.values) ** 2))
    state, names = TopicState.new(PARAMS), tuple("abcdef")
    for epoch in range(60):
        inferences = np.concatenate([own[epoch, None], field.inferences(epoch, epoch + 1)[0]])
        report = squared_log_losses(truth.values[epoch, None], floor)
        inputs = EpochInputs(names, inferences, (), np.zeros((0, 6)), ("r",), np.full(1, 1e4), report, 1.0)
        state, result = step(state, inputs, PARAMS)
        if epoch >= 2:
            assert trace.network_loss[epoch - 2] == pytest.approx(result.losses[0])
            assert trace.score[epoch - 2] == pytest.approx(result.payout.inferer_scores[0], abs=1e-12)
            assert trace.share[epoch - 2] == pytest.approx(result.payout.inferer_fractions[0])
            assert trace.topic_share[epoch - 2] == pytest.approx(result.payout.inferer_rewards[0])
            assert trace.score_ema[epoch - 2] == pytest.approx(state.inferers.score_ema[0], abs=1e-12)


def test_segments_side_by_side_change_next_to_nothing_where_everybody_is_admitted(truth):
    field, own = SyntheticField(truth, workers=7), _forecast(truth, 0.1)
    whole, cut = (backtest(own, truth, field, PARAMS, segments=count) for count in (1, 8))
    assert len(whole.share) == len(truth.values) - BURN_IN
    for name in ("share", "topic_share", "network_loss"):
        np.testing.assert_allclose(getattr(cut, name), getattr(whole, name), rtol=2e-2, atol=1e-4)
        assert getattr(cut, name).mean() == pytest.approx(getattr(whole, name).mean(), rel=1e-4)
    assert np.array_equal(cut.own_loss, whole.own_loss)


def test_where_places_are_contested_segments_take_other_paths_to_the_same_mean():
    # who is turned away decides who is next time, so single epochs differ; over many they average out
    truth = Truth.of(np.random.default_rng(4).normal(size=3100))
    params = replace(PARAMS, max_top_inferers=7)
    field, own = SyntheticField(truth, workers=7), _forecast(truth, 0.1)
    whole, cut = (backtest(own, truth, field, params, segments=count) for count in (2, 12))
    blocks = whole.share.reshape(30, 100).mean(axis=1)
    assert abs(cut.share.mean() - whole.share.mean()) < 2 * np.sqrt(2 / 30) * blocks.std(ddof=1)
    assert abs(cut.active.mean() - whole.active.mean()) < 0.1
    assert 0 < whole.active.mean() < 1
    assert (whole.share[~whole.active] == 0).all()
    assert np.isnan(whole.score[~whole.active]).all()


@given(
    st.lists(st.one_of(st.none(), st.sampled_from([-1.0, 0.0, 0.5, 2.0])), min_size=4, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.integers(2, 4),
)
def test_admission_side_by_side_is_that_of_the_chain(emas, submitted, capacity):
    truth = Truth.of(np.arange(10.0))
    params = replace(PARAMS, max_top_inferers=capacity)
    run = _Run(
        truth, RecordedField(np.ones((10, 3))), params, squared_error, 1.0, np.ones(10), np.ones(10, dtype=bool),
        np.zeros(1, dtype=int), 1,
    )  # fmt: skip
    known = np.array([[np.nan if ema is None else ema for ema in emas]])
    inferers = replace(run._state.inferers, score_ema=known, quantile=np.full(1, 0.3))
    run._state = replace(run._state, inferers=inferers)
    active = run._admitted(np.array([submitted]))[0]
    names = run._names
    before = {name: ema for name, ema in zip(names, emas, strict=True) if ema is not None}
    expected = admit(
        [name for name, here in zip(names, submitted, strict=True) if here], before, capacity, 0.3,
        params.merit_sortition_alpha,
    )  # fmt: skip
    assert tuple(name for name, here in zip(names, active, strict=True) if here) == expected.active
    for name, ema in zip(names, run._state.inferers.score_ema[0], strict=True):
        assert ema == pytest.approx(expected.score_emas.get(name, np.nan), nan_ok=True)


def test_skill_pays_and_absence_does_not(truth):
    field = SyntheticField(truth, workers=7)
    good, poor = (backtest(_forecast(truth, skill), truth, field, PARAMS, segments=8) for skill in (0.6, 0.02))
    assert good.share.mean() > 1.3 * poor.share.mean()
    assert good.score.mean() > 0.01
    present = np.random.default_rng(3).random(len(truth.values)) < 0.5
    half = backtest(_forecast(truth, 0.6), truth, field, PARAMS, segments=8, present=present)
    assert np.array_equal(half.active, present[BURN_IN:])
    assert 0.35 * good.share.mean() < half.share.mean() < 0.75 * good.share.mean()
    nothing = backtest(_forecast(truth, 0.6), truth, field, PARAMS, segments=8, present=np.zeros(1200, dtype=bool))
    assert not nothing.share.any()


def test_progress_is_told_about_every_epoch(truth):
    told = []
    backtest(_forecast(truth, 0.1), truth, SyntheticField(truth, workers=3), PARAMS, segments=4, progress=told.append)
    assert sum(told) == 4 * (BURN_IN + 275)


def test_a_made_up_field_is_what_it_says():
    generator = np.random.default_rng(0)
    scale = np.repeat([1.0, 3.0], 20_000)
    truth = Truth.of(100 + scale * generator.normal(size=40_000), np.full(40_000, 100.0), scale)
    field = SyntheticField(truth, workers=6, skill=0.4, spread=0.5, correlation=0.7, noise=0.0, bias=0.0, seed=1)
    moves = (field.inferences(0, 40_000) - 100) / scale[:, None]
    skills = np.array([np.corrcoef(column, truth.moves)[0, 1] for column in moves.T])
    assert np.sort(skills) == pytest.approx(np.linspace(0.2, 0.6, 6), abs=0.02)
    slopes = np.array([np.polyfit(column, truth.moves, 1)[0] for column in moves.T])
    assert slopes == pytest.approx(1.0, abs=0.05)  # calibrated
    left = moves - np.outer(truth.moves, (moves.T @ truth.moves) / (truth.moves @ truth.moves))
    together = np.corrcoef(left.T)[np.triu_indices(6, 1)]
    assert together == pytest.approx(0.7, abs=0.02)
    noisy = replace(field, noise=0.3, bias=0.1)
    assert ((noisy.inferences(0, 40_000) - 100) / scale[:, None]).var(axis=0).min() > moves.var(axis=0).min()
    assert np.array_equal(field.inferences(250, 700), field.inferences(0, 1000)[250:700])
    assert np.array_equal(LaterEpochs(field, 300).inferences(5, 9), field.inferences(305, 309))
    assert mean_inference(field, 600) == pytest.approx(field.inferences(0, 600).mean(axis=1))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"workers": 1}, "two workers"),
        ({"skill": 0.9}, "correlation"),
        ({"skill": -0.1}, "correlation"),
        ({"spread": 1.5}, "spread"),
        ({"correlation": 2.0}, "between 0 and 1"),
        ({"noise": -1.0}, "negative"),
        ({"bias": float("nan")}, "negative"),
    ],
)
def test_impossible_made_up_fields_are_refused(truth, wrong, word):
    with pytest.raises(MechanismError, match=word):
        SyntheticField(truth, **wrong)


def test_numbers_that_cannot_be_run_are_refused(truth):
    own, field = _forecast(truth, 0.1), SyntheticField(truth, workers=3)
    with pytest.raises(MechanismError, match="epoch 7 is NaN"):
        backtest(np.where(np.arange(1200) == 7, np.nan, own), truth, field, PARAMS)
    with pytest.raises(MechanismError, match="do not fit"):
        backtest(own[:-1], truth, field, PARAMS)
    short = Truth(truth.values[:50], truth.reference[:50], truth.scale[:50])
    with pytest.raises(MechanismError, match="burn-in"):
        backtest(own[:50], short, field, PARAMS)
    with pytest.raises(MechanismError, match="at least"):
        backtest(own, truth, field, PARAMS, segments=0)
    with pytest.raises(MechanismError, match="logarithm"):
        backtest(own, truth, field, PARAMS, loss=lambda truth, predicted, scale: truth - predicted)
    with pytest.raises(MechanismError, match="never moves"):
        Truth.of(np.ones(5))
    with pytest.raises(MechanismError, match="never moves"):
        SyntheticField(Truth(np.ones(5), np.ones(5), np.ones(5)))
    with pytest.raises(MechanismError, match="equal length"):
        Truth.of(np.ones(5), np.ones(4))
    with pytest.raises(MechanismError, match="NaN"):
        Truth.of(np.array([1.0, np.nan]), scale=np.ones(2))
    with pytest.raises(MechanismError, match="above 0"):
        Truth.of(np.ones(2), scale=np.zeros(2))
    with pytest.raises(MechanismError, match="epoch 1"):
        RecordedField(np.array([[1.0, 2.0], [1.0, np.nan]]))
    with pytest.raises(MechanismError, match="finite"):
        RecordedField(np.full((2, 2), np.inf))
