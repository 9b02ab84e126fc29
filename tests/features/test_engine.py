from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible.errors import DataError, RecipeError
from crucible.features.dataset import build_dataset, target
from crucible.features.dataset_file import read_dataset, write_dataset
from crucible.features.engine import compute_features, feature_digest, recipe_features, warmup_bars
from crucible.features.feature import Feature, Window
from crucible.features.library import CORE, feature_set
from crucible.recipe import parse_recipe


def column(frame, name):
    return frame.values[:, frame.names.index(name)]


def test_values_equal_an_independent_computation(make_bars, recipe):
    bars = make_bars(400)
    frame = compute_features(bars, recipe)
    close, volume = bars["close"].to_numpy(), bars["volume"].to_numpy()
    r = np.diff(np.log(close), prepend=np.nan)
    i = 300
    window = r[i - 47 : i + 1]
    expected = {
        "return_1": r[i],
        "return_3": np.log(close[i] / close[i - 3]),
        "return_6": np.log(close[i] / close[i - 12]),
        "fading_return": sum(r[i - k] * 0.5 ** (4 * k / 12) for k in range(12)),
        "shock": r[i] / window.std(ddof=1),
        "volatility_12": np.sqrt((window**2).mean()),
        "distance_6": np.log(close[i] / close[i - 11 : i + 1].mean()),
        "rsi": np.maximum(r[i - 11 : i + 1], 0).sum() / np.abs(r[i - 11 : i + 1]).sum(),
        "up_share": (r[i - 11 : i + 1] > 0).mean(),
        "autocorrelation": np.corrcoef(window, r[i - 48 : i])[0, 1],
        "volume_change": np.log(volume[i - 2 : i + 1].mean() / volume[i - 47 : i + 1].mean()),
        "signed_volume": (np.sign(r) * volume)[i - 11 : i + 1].sum() / volume[i - 11 : i + 1].sum(),
    }
    for name, value in expected.items():
        assert column(frame, name)[i] == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("name", ["btc_usd_5min", "btc_usd_1d", "btc_usd_8h"])
def test_the_warm_up_alone_gives_the_live_row_that_history_gives(make_bars, pytestconfig, name):
    from crucible.recipe import find_recipe

    recipe = find_recipe(pytestconfig.rootpath / "recipes", name)
    warm = warmup_bars(recipe)
    bars = make_bars(warm + 300, interval=recipe.data.interval)
    history = compute_features(bars, recipe)
    scale = np.nanstd(history.values, axis=0)
    for last in (warm - 1, warm + 123, warm + 299):
        tail = bars.slice(last - warm + 1, warm)
        live = compute_features(tail, recipe, at=bars["open_time"][last].as_py() + recipe.data.interval)
        assert live.times[0] == history.times[last]
        assert np.isfinite(live.values).all()
        assert (np.abs(live.values[0] - history.values[last]) <= 1e-10 * scale).all()


@given(cut=st.integers(60, 198), factor=st.floats(0.5, 2.0))
@settings(max_examples=15, deadline=None)
def test_no_past_feature_moves_when_the_future_does(cut, factor):
    from tests_support import bars_and_recipe

    bars, recipe = bars_and_recipe()
    changed = bars.to_pydict()
    for name in ("open", "high", "low", "close", "volume"):
        changed[name][cut:] = [value * factor for value in changed[name][cut:]]
    before = compute_features(bars, recipe).values[:cut]
    perturbed = compute_features(pa.table(changed, schema=bars.schema), recipe).values[:cut]
    truncated = compute_features(bars.slice(0, cut), recipe).values
    assert np.array_equal(before, perturbed, equal_nan=True)
    assert np.array_equal(before, truncated, equal_nan=True)


def test_a_missing_bar_makes_missing_features_and_targets_never_wrong_ones(make_bars, recipe):
    whole, holed = make_bars(300), make_bars(300, missing=(150, 151))
    full, frame = compute_features(whole, recipe), compute_features(holed, recipe)
    assert len(frame.times) == 298
    rows = np.searchsorted(full.times, frame.times)
    with np.errstate(invalid="ignore"):
        same = np.isclose(frame.values, full.values[rows], rtol=1e-9, atol=1e-12, equal_nan=True)
    assert (same | np.isnan(frame.values)).all()
    assert np.isnan(column(frame, "return_12")[150:198]).all()
    assert np.isfinite(column(frame, "return_12")[199:]).all()
    y = target(holed, recipe)
    assert np.isnan(y[149])
    assert np.isnan(y[-1])
    assert np.isfinite(y[:149]).all()


def test_the_target_is_joined_by_time(make_bars, recipe_text):
    hourly = parse_recipe(
        recipe_text.replace("testnet = 77", "testnet = 9077").replace('horizon = "5m"', 'horizon = "1h"'), "r"
    )
    bars = make_bars(100, missing=(30,))
    y = target(bars, hourly)
    opened, close = bars["open_time"].to_pylist(), bars["close"].to_pylist()
    price = dict(zip(opened, close, strict=True))
    for i, at in enumerate(opened):
        later = price.get(at + timedelta(hours=1))
        if later is None:
            assert np.isnan(y[i])
        else:
            assert y[i] == pytest.approx(np.log(later / close[i]), rel=1e-12)


def test_a_dataset_survives_its_file(make_bars, recipe, tmp_path):
    dataset = build_dataset(make_bars(300), recipe)
    assert np.isfinite(dataset.y).all()
    assert np.isfinite(dataset.x).mean(axis=1).min() > 0.5
    write_dataset(tmp_path / "d.parquet", dataset)
    again = read_dataset(tmp_path / "d.parquet")
    assert again.names == dataset.names
    for one, other in ((again.x, dataset.x), (again.y, dataset.y), (again.times, dataset.times)):
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def test_windows_follow_the_horizon():
    window = Window(12, 48)
    assert window.bars(1) == 48
    assert window.bars(200) == 2 * window.bars(100) == 2400
    for feature in CORE.features:
        assert feature.lookback(200) >= feature.lookback(100)
        assert len(feature.estimates) > 5
        assert len(feature.because) > 5


def test_the_digest_follows_what_is_computed(recipe, recipe_text):
    other = parse_recipe(recipe_text.replace("alpha = 300.0", "alpha = 3.0"), "r")
    assert feature_digest(other) == feature_digest(recipe)
    longer = recipe_text.replace("testnet = 77", "testnet = 9077").replace('horizon = "5m"', 'horizon = "1h"')
    assert feature_digest(parse_recipe(longer, "r")) != feature_digest(recipe)
    assert recipe_features(recipe) == CORE


def test_bad_requests_are_one_sentence(make_bars, recipe):
    bars = make_bars(60)
    with pytest.raises(DataError, match="no bars"):
        compute_features(bars.slice(0, 0), recipe)
    with pytest.raises(DataError, match="No bar closes at"):
        compute_features(bars, recipe, at=bars["open_time"][5].as_py() + timedelta(minutes=1))
    with pytest.raises(RecipeError, match="nearest is core version 2"):
        feature_set("cor", 1)
    with pytest.raises(RecipeError, match="declares windows"):
        Feature("x", "y", "z", "{n:avg(r)}", {"m": Window(1, 1)})


def test_a_recipe_may_declare_features_of_its_own(make_bars, recipe_text):
    own = """
[[features.own]]
name = "gap_to_high"
estimates = "distance below the recent high, in units of range"
because = "resistance"
sql = "ratio({n:max(high)} - close, {n:max(high)} - {n:min(low)})"
windows = { n = { horizons = 6, least = 12 } }
low = 0
high = 1
"""
    text = recipe_text.replace("[models]\n", own + "\n[models]\n", 1)
    recipe = parse_recipe(text, "r")
    assert parse_recipe(recipe.canonical(), "canonical") == recipe
    assert recipe_features(recipe).names == (*CORE.names, "gap_to_high")
    frame = compute_features(make_bars(200), recipe)
    bars = make_bars(200).to_pylist()
    top, bottom = max(row["high"] for row in bars[89:101]), min(row["low"] for row in bars[89:101])
    assert frame.columns["gap_to_high"][100] == pytest.approx((top - bars[100]["close"]) / (top - bottom))
    assert feature_digest(recipe) != feature_digest(parse_recipe(recipe_text, "r"))
    for old, new, words in (
        (
            'estimates = "dist',
            'estimate = "dist',
            "unknown key 'features.own.0.estimate'; the nearest valid one is 'estimates'",
        ),
        ("least = 12", "lest = 12", "unknown key 'features.own.0.windows.n.lest'; the nearest valid one is 'least'"),
        ('name = "gap_to_high"', 'name = "rsi"', "names rsi twice"),
        ("{n:max(high)} - close", "{n:maximum(high)} - close", "no aggregate 'maximum'; the nearest is 'max'"),
    ):
        with pytest.raises(RecipeError, match=words.replace("(", r"\(")):
            compute_features(make_bars(200), parse_recipe(text.replace(old, new), "r"))


def test_too_short_a_history_and_infinities_are_refused(make_bars, recipe, recipe_text):
    with pytest.raises(DataError, match=r"40 bars of BTCUSDT are stored, .* look back 50: 11 more are needed"):
        build_dataset(make_bars(40), recipe)
    own = """
[[features.own]]
name = "per_volume"
estimates = "movement per unit of volume"
because = "liquidity"
sql = "CAST('inf' AS DOUBLE) * (close > 0)::INT"

"""
    broken = parse_recipe(recipe_text.replace("[models]\n", own + "[models]\n", 1), "r")
    with pytest.raises(DataError, match=r"Feature per_volume is infinite at 2026-01-01T00:05:00.*use ratio"):
        build_dataset(make_bars(200), broken)
