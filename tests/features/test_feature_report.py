"""The feature report: the coefficients are scipy's, and the intervals hold what they promise."""

from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import spearmanr

from crucible.features.dataset import build_dataset
from crucible.features.library import CORE
from crucible.features.report import feature_report, markdown
from crucible.recipe import parse_recipe


def test_every_feature_has_a_line_with_scipy_s_coefficient(make_bars, recipe):
    dataset = build_dataset(make_bars(3000), recipe)
    rows = feature_report(dataset, recipe)
    assert [row.feature for row in rows] == list(CORE.names)
    for index, row in enumerate(rows):
        known = np.isfinite(dataset.x[:, index])
        expected = spearmanr(dataset.x[known, index], dataset.y[known]).statistic
        assert row.information[0].value == pytest.approx(expected, abs=1e-12), row.feature
        assert row.information[0].low < row.information[0].value < row.information[0].high
        assert row.warmup > 1
    text = markdown(recipe, rows)
    assert text.count("\n| ") == len(rows) + 1
    assert "IC 2026" in text


def test_overlapping_targets_widen_the_interval(make_bars, recipe, recipe_text):
    text = recipe_text.replace("testnet = 77", "testnet = 9077").replace('horizon = "5m"', 'horizon = "1h"')
    wide = feature_report(build_dataset(make_bars(3000), parse_recipe(text, "r")), parse_recipe(text, "r"))
    narrow = feature_report(build_dataset(make_bars(3000), recipe), recipe)
    for one, other in zip(wide, narrow, strict=True):
        assert one.information[0].high - one.information[0].low > 3 * (
            other.information[0].high - other.information[0].low
        )


def test_on_noise_the_interval_holds_zero_as_often_as_it_says(make_bars, recipe_text):
    text = recipe_text.replace("testnet = 77", "testnet = 9077").replace('horizon = "5m"', 'horizon = "30m"')
    recipe = parse_recipe(text, "r")
    held = []
    for seed in range(12):
        bars = make_bars(2500, seed=seed, interval=timedelta(minutes=5))
        held += [
            row.information[0].low <= 0 <= row.information[0].high
            for row in feature_report(build_dataset(bars, recipe), recipe)
        ]
    # 23 correlated features on 12 markets without a signal
    assert np.mean(held) > 0.85
