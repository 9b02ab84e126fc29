"""Error analysis and the report page, on forecasts whose faults are known."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from crucible.validation.analysis import adaptive_coverage, analyse
from crucible.validation.evaluation import describe
from crucible.validation.fits import Rows
from crucible.validation.gates import judge
from crucible.validation.importance import permutation_importance
from crucible.validation.page import page
from crucible.validation.splits import Fold
from crucible.validation.suites import suite_recipe

SEARCH = {
    "importance": [{"feature": "rsi", "drop": 0.25, "windows": 3, "moves": 0.4, "moves_low": 0.3, "moves_high": 0.5}],
    "trials": 24,
    "pruned": 5,
    "failed": 1,
    "overfitting": 0.25,
    "scores": {},
}


def part(found, name):
    return next(item for item in found.parts if item.part == name)


def test_a_forecast_that_fails_in_turmoil_is_seen(recipe, make_oos):
    oos, scale = make_oos(recipe, correlation=0.15)
    scale = scale * np.where(np.arange(len(scale)) % 3 == 0, 1.5, 1.0)
    oos.y_pred["ridge"][scale > 1.2e-3] *= -1
    found = analyse(recipe, oos, "ridge", scale)
    assert part(found, "turbulent").gain_high < 0
    assert part(found, "turbulent").direction_high < 0.5
    assert part(found, "calm").gain > 0
    assert part(found, "calm").direction_low > 0.5
    by_day = [item for item in found.parts if item.heading == "weekday"]
    assert sum(item.rows for item in by_day) == len(scale)


@pytest.mark.parametrize("horizon", [1, 24])
def test_the_running_quantile_is_the_plain_one(horizon):
    generator = np.random.default_rng(3)
    truth, forecast, scale = generator.standard_t(3, size=1500), 0.1 * generator.normal(size=1500), np.ones(1500)
    errors, level, inside = np.abs(truth - forecast), 0.1, np.ones(1500, dtype=bool)
    first = 100 + horizon
    for t in range(first, 1500):
        known = errors[max(t - horizon - 500, 0) : t - horizon]
        inside[t] = errors[t] <= np.quantile(known, min(max(1 - level, 0), 1))
        level += 0.01 * (0.1 - (not inside[t - horizon]))
    assert adaptive_coverage(truth, forecast, scale, horizon_bars=horizon).found == inside[first:].mean()


def test_noise_is_told_from_skill_by_the_set_and_luck_by_the_number_of_tries(recipe, make_oos):
    oos, scale = make_oos(recipe, correlation=0.03)
    found, often = (analyse(recipe, oos, "ridge", scale, tries) for tries in (1, 100_000))
    assert "ridge" in found.best_set
    assert "mean" not in found.best_set  # noise as large as the truth
    assert found.deflated_sharpe > 0.95
    assert often.deflated_sharpe < 0.5
    assert np.isnan(analyse(recipe, oos, "zero", scale).deflated_sharpe)


def test_bias_and_worst_days_are_found(recipe, make_oos):
    oos, scale = make_oos(recipe)
    oos.y_pred["ridge"] += 0.5 * scale
    day = oos.times.astype("datetime64[D]") == np.datetime64("2026-01-09")
    oos.y_pred["ridge"][day] += 3 * scale[day]
    found = analyse(recipe, oos, "ridge", scale)
    assert found.bias_high < -0.3
    assert found.worst_days[0][0] == "2026-01-09"
    assert found.worst_days[0][1] > 5
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["parts"]


def test_intervals_keep_their_coverage_where_volatility_jumps():
    generator = np.random.default_rng(0)
    truth = generator.normal(size=4000) * np.where(np.arange(4000) < 2000, 1.0, 3.0)
    found = adaptive_coverage(truth, np.zeros(4000), np.ones(4000), horizon_bars=4)
    assert found.found == pytest.approx(0.9, abs=0.02)
    assert found.worst > 0.6  # just after the jump
    steady = adaptive_coverage(truth[:2000], np.zeros(2000), np.ones(2000), horizon_bars=4)
    assert steady.worst > 0.8


def test_the_page_needs_nothing_from_outside_and_escapes_what_it_shows(recipe, make_oos):
    oos, scale = make_oos(recipe)
    odd = replace(oos, y_pred={**oos.y_pred, "<b>": oos.y_pred["ridge"]})
    verdict, _ = judge(recipe, odd, "ridge", scale, {"a & b < c": False})
    text = page(recipe, describe(recipe, odd, scale, verdict), analyse(recipe, odd, "ridge", scale), SEARCH)
    assert text.startswith("<!doctype html>")
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "<script" not in text
    assert "<b>" not in text
    assert "a &amp; b &lt; c" in text
    assert "24 trials, 5 cut short, 1 failed" in text
    assert "with probability 25%" in text
    for gate in verdict.gates:
        assert f'<span class="{gate.outcome}">' in text
    assert text.count("data:image/png") == 4
    assert 'rsi</td><td class="n">25.0%</td><td class="n">3 of 4' in text
    assert len(text) < 400_000


def test_shuffling_finds_the_features_that_matter():
    recipe = suite_recipe(8)
    generator = np.random.default_rng(4)
    x = generator.normal(size=(9000, 4))
    y = 1e-3 * (0.3 * x[:, 2] - 0.1 * x[:, 0] + generator.normal(size=9000))
    rows = Rows(x.astype(np.float32), y, np.ones(9000), np.full(9000, 1e-3), ("a", "b", "c", "d"))
    folds = [Fold(k, np.arange(3000 + 1500 * k), np.arange(3000 + 1500 * k, 4500 + 1500 * k)) for k in range(4)]
    for name in ("ridge", "mean"):
        found = permutation_importance(rows, recipe, name, {}, folds)
        assert [item.feature for item in found[:2]] == ["c", "a"]
        assert found[0].drop > 0.6
        assert found[0].windows == 4
        assert abs(found[-1].drop) < 0.05
