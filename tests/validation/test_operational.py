"""A model that is good enough may still be too slow, too large or too hungry to be at work."""

from dataclasses import replace
from datetime import timedelta

import pytest

from crucible.errors import RecipeError
from crucible.recipe import parse_recipe
from crucible.validation.operational import Operation, operational

GOOD = Operation(seconds=0.02, megabytes=1.5, warmup_bars=1200)


def test_a_light_model_is_fit_for_work(recipe):
    gate = operational(recipe, GOOD)
    assert gate.passed
    assert gate.sentence == "a prediction takes 20 ms, its files 1.5 MB, and it warms up on 1,200 stored bars"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seconds": 3.0}, "a prediction takes 3.000 s, 1 s are allowed"),
        ({"megabytes": 80.0}, "its files take 80.0 MB, 50 MB are allowed"),
        ({"warmup_bars": 90_000}, "it needs 90,000 stored bars before it can predict, 50,000 are allowed"),
    ],
)
def test_each_limit_stops_a_model(recipe, change, words):
    gate = operational(recipe, replace(GOOD, **change))
    assert not gate.passed
    assert gate.sentence == words


def test_bars_that_would_always_be_stale_stop_it(recipe):
    deploy = recipe.deploy.model_copy(update={"max_staleness": timedelta(minutes=1)})
    gate = operational(recipe.model_copy(update={"deploy": deploy}), GOOD)
    assert gate.outcome == "fail"
    assert "max_staleness (1m) is shorter than a bar" in gate.sentence


def test_limits_are_the_recipes_and_a_misspelt_one_is_refused(recipe_text):
    text = recipe_text + "\n[gates.operation]\nseconds = 0.01\n"
    assert not operational(parse_recipe(text, "recipe"), GOOD).passed
    with pytest.raises(RecipeError, match="nearest valid one is 'seconds'"):
        parse_recipe(text.replace("seconds = 0.01", "second = 0.01"), "recipe")


def test_a_combinatorial_search_needs_four_pieces(recipe_text):
    text = recipe_text.replace("[search]", '[search]\nsplit = "combinatorial"', 1)
    with pytest.raises(RecipeError, match="needs at least 4 folds"):
        parse_recipe(text, "recipe")
