import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.errors import EvaluationError
from crucible.recipe import parse_recipe
from crucible.validation.losses import LOSSES, topic_loss

real = st.floats(-50, 50).filter(lambda value: value == 0 or abs(value) > 1e-6)
share = st.floats(0, 1)


@pytest.mark.parametrize("name", ["sqe", "abse", "huber", "logcosh", "ztae", "zptae"])
@given(truth=real, predicted=real, scale=st.floats(0.01, 10))
def test_real_valued_losses_equal_the_sdks(name, truth, predicted, scale):
    import allora_sdk.loss_methods as sdk

    make = {"ztae": sdk.make_ztae_loss, "zptae": sdk.make_zptae_loss}.get(name)
    expected = make(std=scale)(truth, predicted) if make else sdk.get_default_loss_fn(name)(truth, predicted)
    found = LOSSES[name](np.array([truth]), np.array([predicted]), np.array([scale]))[0]
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", ["bce", "poisson"])
@given(truth=share, predicted=share)
def test_losses_of_shares_and_counts_equal_the_sdks(name, truth, predicted):
    import allora_sdk.loss_methods as sdk

    found = LOSSES[name](np.array([truth]), np.array([predicted]), np.ones(1))[0]
    assert found == pytest.approx(sdk.get_default_loss_fn(name)(truth, predicted), rel=1e-12, abs=1e-12)


def test_a_price_topic_is_scored_on_prices_and_a_return_topic_on_returns(recipe, recipe_text):
    y, p, close, scale = np.array([0.01]), np.array([0.02]), np.array([100.0]), np.array([0.01])
    price = topic_loss(recipe, y, p, close, scale)[0]
    assert price == pytest.approx((100 * np.exp(0.01) - 100 * np.exp(0.02)) ** 2)
    text = recipe_text.replace("testnet = 77", "testnet = 9077").replace('"price" ', '"log_return" ')
    assert topic_loss(parse_recipe(text, "r"), y, p, close, scale)[0] == pytest.approx(1e-4)


def test_the_scale_of_a_price_topic_is_in_prices_too(recipe):
    scaled = recipe.model_copy(update={"topic": recipe.topic.model_copy(update={"loss": "ztae"})})
    y, p, close = np.array([0.1]), np.array([-0.2]), np.array([100.0])
    found = topic_loss(scaled, y, p, close, np.array([0.8]))[0]
    assert found == pytest.approx(abs(np.tanh(np.exp(0.1) / 0.8) - np.tanh(np.exp(-0.2) / 0.8)))


def test_values_that_a_loss_cannot_judge_are_refused():
    with pytest.raises(EvaluationError, match="bce needs values from 0 to 1"):
        LOSSES["bce"](np.array([2.0]), np.array([0.5]), np.ones(1))
    with pytest.raises(EvaluationError, match="poisson needs"):
        LOSSES["poisson"](np.array([-2.0]), np.array([0.5]), np.ones(1))
