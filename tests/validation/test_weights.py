"""How much rows count in a fit."""

from datetime import timedelta

import numpy as np
import pytest

from crucible.models.candidates import build_model
from crucible.recipe import Recipe
from crucible.validation.weights import normalised, row_weights, uniqueness

HOUR = timedelta(hours=1)


def hours(count):
    return np.datetime64("2026-01-01T00:00", "us") + np.arange(count) * np.timedelta64(HOUR)


def asking(recipe, **models):
    values = recipe.model_dump(mode="json")
    values["models"] |= models
    return Recipe.model_validate(values)


def test_labels_share_what_the_definition_says():
    times = np.delete(hours(12), [5, 6])
    found = uniqueness(times, 3 * HOUR)
    ends = times + np.timedelta64(3 * HOUR)
    for i, t in enumerate(times):
        inside = [u for u in times if t <= u < ends[i]]
        counts = [sum(v <= u < e for v, e in zip(times, ends, strict=True)) for u in inside]
        assert found[i] == pytest.approx(np.mean([1 / count for count in counts])), i
    assert np.allclose(uniqueness(hours(30), 3 * HOUR)[3:-3], 1 / 3)


def test_old_rows_count_less_and_the_mean_is_one(recipe):
    times = hours(49)
    weight = row_weights(asking(recipe, recency="1d"), times)
    assert weight[-1] == 1
    assert weight[24] == pytest.approx(0.5)
    assert weight[0] == pytest.approx(0.25)
    assert normalised(weight, np.arange(10, 20)).mean() == pytest.approx(1)
    assert row_weights(recipe, times) is None
    assert row_weights(asking(recipe, uniqueness=True), times).shape == (49,)


@pytest.mark.parametrize("name", ["ridge", "lightgbm", "catboost", "mean"])
def test_every_learner_heeds_them(recipe, name):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(4000, 3))
    slope = np.where(np.arange(4000) < 2000, -1.0, 1.0)  # what was true is true no more
    y = 1e-3 * (slope * x[:, 0] + 0.1 * generator.normal(size=4000))
    weight = normalised(np.where(np.arange(4000) < 2000, 0.01, 1.0), np.arange(4000))
    model = build_model(name, recipe, ("a", "b", "c")).fit(x, y, weight=weight)
    plain = build_model(name, recipe, ("a", "b", "c")).fit(x, y)
    assert np.corrcoef(model.predict(x), x[:, 0])[0, 1] > 0.9
    assert model.predict(x).std() > 3 * plain.predict(x).std()
