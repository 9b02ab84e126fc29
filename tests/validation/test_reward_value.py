"""Shares and scores with intervals, and what changes them."""

import numpy as np
import pytest

from crucible.errors import EvaluationError, MechanismError
from crucible.network.field import RecordedField, SyntheticField, Truth
from crucible.network.parameters import Parameters
from crucible.validation.losses import LOSSES
from crucible.validation.marginal import marginal_value
from crucible.validation.reward import _likeness, outages, reward_backtest

EPOCHS = 1100


@pytest.fixture(scope="module")
def world():
    generator = np.random.default_rng(0)
    actual = 1e-3 * generator.normal(size=EPOCHS)
    return actual, generator.normal(size=EPOCHS)


def _forecast(world, skill):
    actual, luck = world
    return skill**2 * actual + 1e-3 * skill * np.sqrt(1 - skill**2) * luck


def test_a_candidate_that_knows_something_adds_value_and_one_of_noise_does_not(world):
    actual, luck = world
    field = SyntheticField(Truth.of(actual), workers=6)
    good = marginal_value(_forecast(world, 0.6), actual, field)
    assert good.score.low > 0
    assert good.share.low > 1
    assert (good.active, good.epochs) == (1.0, EPOCHS - 100)
    noise = marginal_value(2e-3 * luck, actual, field)
    assert noise.score.mean < good.score.mean
    assert noise.score.low < 0
    recorded = marginal_value(_forecast(world, 0.6), actual, field.inferences(0, EPOCHS))
    assert recorded == good


def test_the_default_field_has_as_many_workers_as_an_active_set(world):
    found = marginal_value(_forecast(world, 0.1)[:400], world[0][:400])
    assert 0 < found.active <= 1
    assert found.share.low < found.share.mean < found.share.high


def test_a_backtest_tells_what_uptime_likeness_and_blending_change(world):
    actual, _ = world
    truth, told = Truth.of(actual), []
    field = SyntheticField(truth, workers=6, skill=0.2)
    arguments = (_forecast(world, 0.3), truth, field, Parameters())
    found = reward_backtest(*arguments, effect_epochs=600, loss=LOSSES["abse"],
                            progress=lambda done, total: told.append((done, total)))  # fmt: skip
    assert told[-1][0] == told[-1][1]
    assert found.effect_epochs == 600
    shares = [effect.share for effect in found.uptime]
    assert shares == sorted(shares, reverse=True)
    assert found.uptime[-1].gained.high < 0
    assert [effect.setting for effect in found.correlation] == [0.0, 0.3, 0.6, 0.9]
    assert abs(found.likeness) < 0.1
    blends = [effect.setting for effect in found.blend]
    assert blends == sorted(blends)
    as_it_is = next(effect for effect in found.blend if effect.setting == 0)
    assert (as_it_is.gained.low, as_it_is.gained.high) == (0.0, 0.0)
    assert found.best_blend in found.blend
    assert 0 < found.topic_share.low < found.topic_share.mean < 1
    same = reward_backtest(*arguments, effect_epochs=600, loss=LOSSES["abse"], threads=2)
    assert same == found


def test_likeness_is_set_at_equal_accuracy(world):
    actual, luck = world
    truth = Truth.of(actual)
    own, theirs = _forecast(world, 0.3), np.random.default_rng(1).normal(size=EPOCHS) + luck
    likeness, at = _likeness(own, truth, theirs)
    assert likeness == pytest.approx(np.sqrt(0.5), abs=0.05)
    assert at(likeness) == pytest.approx(own)
    for share in (0.0, 0.5, 0.9):
        other = at(share)
        assert np.corrcoef(other, actual)[0, 1] == pytest.approx(np.corrcoef(own, actual)[0, 1], abs=1e-9)
        assert other.std() == pytest.approx(own.std())
        assert _likeness(other, truth, theirs)[0] == pytest.approx(share, abs=1e-9)


def test_a_candidate_without_an_opinion_has_no_likeness(world):
    truth = Truth.of(world[0][:400])
    found = reward_backtest(np.zeros(400), truth, SyntheticField(truth, workers=4), Parameters(), effect_epochs=300)
    assert np.isnan(found.likeness)
    assert found.correlation == ()


def test_outages_have_their_length_and_leave_the_uptime():
    present = outages(200_000, 0.8, seed=0)
    assert present.mean() == pytest.approx(0.8, abs=0.02)
    starts = (np.diff(present.astype(int)) == -1).sum()
    assert (~present).sum() / starts == pytest.approx(12, rel=0.1)
    assert outages(10, 1.0, seed=0).all()


def test_too_few_epochs_and_nan_are_refused(world):
    actual, luck = world
    with pytest.raises(EvaluationError, match="107 epochs are too few: 100 are burn-in"):
        marginal_value(luck[:107], actual[:107])
    with pytest.raises(EvaluationError, match="so 900"):
        marginal_value(luck[:500], actual[:500], block=100)
    truth = Truth.of(actual)
    holes = np.where(np.arange(EPOCHS) == 3, np.nan, luck)
    with pytest.raises(EvaluationError, match="row 3"):
        reward_backtest(holes, truth, SyntheticField(truth), Parameters())
    with pytest.raises(MechanismError, match="epoch 3"):
        marginal_value(holes, actual)
    with pytest.raises(MechanismError, match="do not fit"):
        marginal_value(luck[:-1], actual)
    with pytest.raises(MechanismError, match="two recorded workers"):
        marginal_value(luck, actual, np.full((EPOCHS, 3), np.nan))
    assert RecordedField(np.ones((2, 2))).size == 2
