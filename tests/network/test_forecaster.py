"""A forecaster that learns: worth something where skill depends on the regime, harmless where there is nothing."""

import json

import numpy as np
import pytest

from crucible.errors import MechanismError
from crucible.network.forecaster import FEATURES, Forecaster, Memory
from crucible.network.parameters import Parameters
from crucible.network.simulate import Field, simulate

HONEST = {"stakes": np.full(3, 1e5), "lies": np.zeros(3)}
WARM, EPOCHS = 60, 260
NAMES = tuple("abcdef")
REGIMES = np.array([[0.5, 0.5, 0.5, 1.5, 1.5, 1.5], [1.5, 1.5, 1.5, 0.5, 0.5, 0.5]])


def _squared_error(run):
    return float(((run.combined - run.truth)[WARM:] ** 2).mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_it_pays_and_the_network_gains_where_skill_depends_on_the_regime(seed):
    # beside one that knows nothing, as a lone forecaster has no scores
    clueless = Field(REGIMES, np.array([2.0]), **HONEST)
    alone = simulate(Field(REGIMES, np.zeros(0), **HONEST), EPOCHS, Parameters(), seed=seed)
    run = simulate(clueless, EPOCHS, Parameters(), seed=seed, models=(Forecaster.new(),))
    assert np.isnan(run.one_out[0]).all()
    assert run.one_out[WARM:, 1].mean() > 0.02
    assert run.one_in[WARM:, 1].mean() > 0.1
    assert run.one_in[WARM:, 1].mean() > run.one_in[WARM:, 0].mean()
    assert run.forecaster_rewards[WARM:, 1].mean() > run.forecaster_rewards[WARM:, 0].mean()
    assert _squared_error(run) < 0.7 * _squared_error(alone)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_about_neutral_where_there_is_nothing_to_know(seed):
    # equal skill, and errors so alike that it matters little who is listened to
    same = Field(np.ones((2, 6)), np.zeros(0), correlation=0.99, **HONEST)
    run = simulate(same, EPOCHS, Parameters(), seed=seed, models=(Forecaster.new(), Forecaster.new(Memory(fast=0.1))))
    assert np.abs(run.one_out[WARM:].mean(axis=0)).max() < 0.02
    assert np.abs(run.one_in[WARM:].mean(axis=0)).max() < 0.02
    naive = float(((run.naive - run.truth)[WARM:] ** 2).mean())
    assert _squared_error(run) == pytest.approx(naive, rel=0.05)


def _taught(epochs, period=10):
    """One that was taught two regimes, by losses alone; at the end the regime has just changed."""
    generator, model = np.random.default_rng(0), Forecaster.new()
    nothing = np.full(6, np.nan)
    for epoch in range(epochs):
        sign = 1.0 if epoch // period % 2 else -1.0
        losses = -3 + sign * np.array([1.0, 1, 1, -1, -1, -1]) + 0.3 * generator.normal(size=6)
        model = model.learned(NAMES, nothing, losses)
    return model, sign


def test_one_epoch_tells_it_that_the_regime_has_changed():
    model, sign = _taught(201)  # one epoch into a regime
    relative = model.relative(NAMES, np.full(6, np.nan))
    assert (np.sign(relative) == sign * np.array([1, 1, 1, -1, -1, -1])).all()
    before = _taught(200)[0].relative(NAMES, np.full(6, np.nan))
    assert (np.sign(before) == -np.sign(relative)).all()


def test_newcomers_are_expected_to_be_average_and_those_apart_to_be_wrong():
    model, _ = _taught(30)
    names = (*NAMES, "g")
    assert model.relative(names, np.full(7, np.nan))[6] == pytest.approx(0.0)
    assert Forecaster.new().coefficients.tolist() == [1.0] + [0.0] * (len(FEATURES) - 1)
    generator, taught = np.random.default_rng(1), Forecaster.new()
    for _ in range(100):
        errors = generator.normal(size=6) * generator.permutation([0.1, 0.1, 0.1, 0.1, 0.1, 5.0])
        taught = taught.learned(NAMES, errors, np.log10(errors**2))
    relative = taught.relative(NAMES, np.array([0.0, 0.1, -0.1, 0.05, -0.05, 4.0]))
    assert relative.argmax() == 5


def test_the_level_leaves_the_order_and_suits_the_differences():
    model, _ = _taught(201)
    nothing, params = np.full(6, np.nan), Parameters()
    relative = model.relative(NAMES, nothing)
    told = model.forecast(NAMES, nothing, -4.0, params)
    assert told - told.min() == pytest.approx(relative - relative.min())
    unknown = model.forecast(NAMES, nothing, float("nan"), params)
    assert unknown.mean() == pytest.approx(model.mean_loss)
    same = Forecaster.new().forecast(NAMES, nothing, -4.0, params)
    assert same == pytest.approx(same[0])
    assert Forecaster.new().forecast(("a",), np.ones(1), -4.0, params).shape == (1,)


def test_the_text_gives_an_equal_forecaster_and_equal_teaching_too():
    model, _ = _taught(50)
    again = Forecaster.load(model.save())
    assert again.save() == model.save() == _taught(50)[0].save()
    nothing = np.full(6, np.nan)
    assert np.array_equal(again.relative(NAMES, nothing), model.relative(NAMES, nothing))
    losses = np.arange(6.0)
    assert again.learned(NAMES, nothing, losses).save() == model.learned(NAMES, nothing, losses).save()
    empty = Forecaster.load(Forecaster.new().save())
    assert empty.names == ()
    assert np.isnan(empty.mean_loss)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}', '{"format": "crucible-forecaster-1"}'])
def test_other_text_is_refused(text):
    with pytest.raises(MechanismError, match="not the text of a forecaster"):
        Forecaster.load(text)


def test_damaged_text_and_impossible_numbers_are_refused():
    held = json.loads(_taught(5)[0].save())
    for name, value in (("level", [1.0]), ("covariance", [[1.0]]), ("recent", [None] * 6), ("extra", [1.0])):
        with pytest.raises(MechanismError, match="not the text"):
            Forecaster.load(json.dumps({**held, name: value}))
    model = Forecaster.new()
    with pytest.raises(MechanismError, match="fit"):
        model.learned(NAMES, np.ones(6), np.ones(5))
    with pytest.raises(MechanismError, match="ascend"):
        model.learned(("b", "a"), np.ones(2), np.ones(2))
    with pytest.raises(MechanismError, match="finite"):
        model.learned(("a", "b"), np.ones(2), np.array([1.0, -np.inf]))
    assert model.learned(("a", "b"), np.ones(2), np.array([1.0, np.nan])) is model
    for wrong in ({"slow": 0.0}, {"forgetting": 1.5}, {"ridge": 0.0}, {"components": -1}):
        with pytest.raises(MechanismError):
            Memory(**wrong)
