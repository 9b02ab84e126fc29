"""Training losses: derivatives against finite differences, equality with the network's, and a fit with each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible.model_settings import LightGBMSection
from crucible.models.lightgbm import LightGBM
from crucible.models.objectives import OBJECTIVES
from crucible.validation.losses import LOSSES


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
@given(truth=st.floats(-5, 5), forecast=st.floats(-5, 5))
@settings(deadline=None)
def test_the_gradient_is_that_of_the_loss(name, truth, forecast):
    objective, step = OBJECTIVES[name], 1e-6
    t = np.array([truth])
    if name == "huber" and abs(abs(forecast - truth) - 1) < 1e-5:
        return  # its second derivative jumps there
    if name == "czar" and (abs(truth - forecast) < 1e-5 or abs(truth) < 1e-5):
        return  # it has its kink there, as an absolute value has
    first, curvature = objective.derivatives(t, np.array([forecast]))
    ahead, behind = (objective.loss(t, np.array([forecast + sign * step])) for sign in (1, -1))
    assert first[0] == pytest.approx((ahead[0] - behind[0]) / (2 * step), abs=1e-5)
    assert curvature[0] > 0


@pytest.mark.parametrize("name", ["huber", "logcosh", "zptae"])
def test_the_loss_is_the_network_s(name):
    truth, forecast = np.random.default_rng(0).normal(size=(2, 500)) * 2
    theirs = LOSSES[name](truth, forecast, np.ones(500))
    assert np.abs(OBJECTIVES[name].loss(truth, forecast) - theirs).max() <= (0.1 if name == "zptae" else 1e-12)


@pytest.mark.parametrize("name", ["sqe", "abse", *sorted(OBJECTIVES)])
def test_every_objective_learns_and_is_read_back(name, tmp_path):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(4000, 5))
    y = 1e-3 * (0.5 * x[:, 0] + generator.standard_t(3, 4000))
    section = LightGBMSection(trees=40, learning_rate=0.1, leaves=7, min_leaf_rows=50, feature_fraction=1.0, bins=63,
                              objective=name)  # fmt: skip
    model = LightGBM(section, 3).fit(x[:3000], y[:3000])
    predicted = model.predict(x[3000:])
    assert np.corrcoef(predicted, x[3000:, 0])[0, 1] > 0.9
    assert 0.2 < predicted.std() / 5e-4 < 1.5
    model.save(tmp_path)
    assert np.array_equal(LightGBM.load(tmp_path).predict(x[3000:]), predicted)
    again = LightGBM(section, 3).fit(x[:3000], y[:3000])
    assert np.array_equal(again.predict(x[3000:]), predicted)


def test_czar_is_what_the_research_notes_describe():
    czar, none = OBJECTIVES["czar"].loss, np.zeros(1)
    grid = np.linspace(-4, 4, 801)
    for truth in (0.3, 1.0, 2.5, -1.0):
        loss = czar(np.full(801, truth), grid)
        assert grid[loss.argmin()] == pytest.approx(truth, abs=0.011)
        assert np.abs(np.diff(loss)).max() < 0.08  # continuous
        mirrored = czar(np.full(801, -truth), -grid)
        assert np.allclose(loss, mirrored)
        wrong_side = czar(np.array([truth]), np.array([-truth]))
        assert wrong_side > czar(np.array([truth]), none) > czar(np.array([truth]), np.array([1.5 * truth]))
    # overshooting costs less, the larger the truth
    over = [float(czar(np.array([a]), np.array([a + 1]))[0]) for a in (0.5, 1.0, 2.0, 4.0)]
    assert over == sorted(over, reverse=True)
