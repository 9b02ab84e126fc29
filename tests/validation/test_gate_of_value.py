"""What a candidate adds to a made-up field decides only where the recipe says so."""

import numpy as np
import pytest

from crucible.network.field import Truth
from crucible.validation.gate_of_value import adds_to_the_network

EPOCHS = 3000


def world(seed=0):
    generator = np.random.default_rng(seed)
    truth = 1e-3 * generator.normal(size=EPOCHS)
    return truth, 1e-3 * generator.normal(size=EPOCHS)


def recipe_that(recipe, marginal):
    gates = recipe.gates.model_copy(update={"marginal": marginal, "bootstrap": 300})
    return recipe.model_copy(update={"gates": gates})


def test_a_forecast_that_knows_what_nobody_knows_adds_value(recipe):
    truth, noise = world()
    gate = adds_to_the_network(recipe_that(recipe, "require"), 0.5 * truth + 0.05 * noise, Truth.of(truth), 1)
    assert gate.outcome == "pass"
    assert gate.low > 0
    assert "without it a made-up field of 32 workers would lose +" in gate.sentence


@pytest.mark.parametrize(("marginal", "passed"), [("report", True), ("require", False)])
def test_noise_stops_a_candidate_only_where_value_is_required(recipe, marginal, passed):
    truth, noise = world()
    gate = adds_to_the_network(recipe_that(recipe, marginal), noise, Truth.of(truth), 1)
    assert gate.outcome != "pass"
    assert gate.passed is passed


def test_too_few_epochs_are_undecided_with_the_reason(recipe):
    truth, _ = world()
    gate = adds_to_the_network(recipe_that(recipe, "report"), truth[:50], Truth.of(truth[:50]), 1)
    assert gate.outcome == "undecided"
    assert "50 epochs are too few" in gate.sentence
