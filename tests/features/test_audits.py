"""The audits catch every planted fault, and find none in the library."""

import os
import time
from datetime import timedelta

import numpy as np
import pytest

from crucible.errors import DataError, RecipeError
from crucible.features.audit.drift import measure_drift, stability
from crucible.features.audit.lookahead import find_leaks
from crucible.features.audit.parity import compare_paths
from crucible.features.audit.redundancy import find_near_copies
from crucible.features.audit.warmup import measure_warmup
from crucible.features.engine import compute_plan
from crucible.features.feature import Feature, FeatureSet, Window
from crucible.features.library import CORE, LIBRARY, WIDE
from crucible.features.plan import compile_plan
from crucible.market.bars import check_bars

FIVE = timedelta(minutes=5)
TIMES = 10_000 if os.environ.get("CRUCIBLE_PROVE") else 240
TWELVE = {"n": Window(1, 12)}


def declared(name, sql="", windows=None, function=None):
    return Feature(name, "nothing", "a test", sql, windows or {}, function=function)


def rolling_mean(x, n, shift=0):
    out = np.full(len(x), np.nan)
    if len(x) >= n:
        out[n - 1 :] = np.convolve(np.nan_to_num(x), np.ones(n) / n, "valid")
    return np.roll(out, shift)


def filled_backwards(columns, windows):
    close = columns["close"].copy()
    for i in range(len(close) - 2, -1, -1):
        if np.isnan(close[i]) or i % 7 == 3:
            close[i] = close[i + 1]
    return close


def interpolated(columns, windows):
    close, rows = columns["close"], np.arange(len(columns["close"]))
    known = np.isfinite(close) & (rows % 5 == 0)
    return np.interp(rows, rows[known], close[known])


BIASED = {
    "lead": declared("lead", "lead(close) OVER (ORDER BY t)"),
    "following": declared("following", "avg(close) OVER (ORDER BY t ROWS BETWEEN 2 PRECEDING AND 2 FOLLOWING)"),
    "target": declared("target", "ln(lead(close, 3) OVER (ORDER BY t) / close)"),
    "whole_mean": declared("whole_mean", "r - avg(r) OVER ()"),
    "z_score": declared("z_score", function=lambda c, w: (c["close"] - np.nanmean(c["close"])) / np.nanstd(c["close"])),
    "min_max": declared("min_max", function=lambda c, w: c["close"] / np.nanmax(c["close"])),
    "rank": declared("rank", function=lambda c, w: np.argsort(np.argsort(c["close"])) / len(c["close"])),
    "centred": declared("centred", function=lambda c, w: rolling_mean(c["close"], 5, -2)),
    "gradient": declared("gradient", function=lambda c, w: np.gradient(c["close"])),
    "filled_backwards": declared("filled_backwards", function=filled_backwards),
    "interpolated": declared("interpolated", function=interpolated),
    "smoothed": declared("smoothed", function=lambda c, w: np.fft.irfft(
        np.fft.rfft(np.nan_to_num(c["close"]))[:40], len(c["close"]))),
    "over_last": declared("over_last", function=lambda c, w: c["close"] / c["close"][-1]),
    "detrended": declared("detrended", function=lambda c, w: c["close"] - np.polyval(
        np.polyfit(np.arange(len(c["close"])), np.nan_to_num(c["close"], nan=100), 1), np.arange(len(c["close"])))),
    "wall_clock": declared("wall_clock", function=lambda c, w: c["close"] + time.perf_counter()),
    "unseeded": declared("unseeded", function=lambda c, w: np.random.default_rng().normal(size=len(c["close"]))),
}  # fmt: skip


@pytest.fixture(scope="module")
def bars(make_bars):
    return check_bars(make_bars(1200, seed=3, missing=(400, 401)), FIVE, "bars")


@pytest.mark.parametrize("name", sorted(BIASED))
def test_every_biased_feature_is_caught(bars, name):
    plan = compile_plan(FeatureSet("biased", 1, (LIBRARY["return_1"], BIASED[name])), 1)
    leaks = find_leaks(bars, plan, FIVE, cuts=2)
    assert {leak.feature for leak in leaks} == {name}
    assert all(leak.rows > 0 for leak in leaks)
    if name in ("wall_clock", "unseeded"):
        assert "computed again" in {leak.when for leak in leaks}


def test_prices_and_volumes_are_perturbed_cut_off_and_thinned_out(bars):
    # most leaks show in any of these; each is there for the one that shows in it alone
    means = (BIASED["whole_mean"], declared("whole_volume", "volume / avg(volume) OVER ()"))
    leaks = find_leaks(bars, compile_plan(FeatureSet("means", 1, means), 1), FIVE, cuts=1)
    every = {"perturbed", "cut off", "thinned out"}
    assert {(leak.feature, leak.when) for leak in leaks} == {(item.name, when) for item in means for when in every}


def test_a_value_that_is_missing_because_of_the_future_is_a_leak(bars):
    known = declared("known", "CASE WHEN lead(close) OVER (ORDER BY t) > 0 THEN close END")
    leaks = find_leaks(bars, compile_plan(FeatureSet("known", 1, (known,)), 1), FIVE, cuts=1)
    assert ("known", "cut off", 1) in [(leak.feature, leak.when, leak.rows) for leak in leaks]


def test_the_library_sees_no_future(bars):
    assert find_leaks(bars, compile_plan(WIDE, 2), FIVE, cuts=3) == []


def test_the_declared_warm_up_is_sufficient_and_not_absurd(make_bars):
    whole = check_bars(make_bars(1200, seed=5), FIVE, "bars")
    for horizon in (1, 4):
        found = measure_warmup(whole, WIDE, horizon, FIVE, instants=1)
        assert [item.feature for item in found if not item.sufficient] == []
        assert [item.feature for item in found if item.absurd] == []


def test_wrong_warm_ups_are_caught(make_bars):
    whole = check_bars(make_bars(1200, seed=5), FIVE, "bars")
    short = declared("short", function=lambda c, w: rolling_mean(c["close"], 60), windows=TWELVE)
    endless = declared("endless", function=lambda c, w: np.cumsum(np.nan_to_num(c["r"])), windows=TWELVE)
    lavish = declared("lavish", "r + 0 * {n}", {"n": Window(1, 300)})
    found = {
        item.feature: item
        for item in measure_warmup(whole, FeatureSet("wrong", 1, (short, endless, lavish)), 1, FIVE, instants=2)
    }
    assert not found["short"].sufficient
    assert 60 <= found["short"].needed <= 80
    assert not found["endless"].sufficient
    assert found["lavish"].sufficient
    assert found["lavish"].absurd


def test_live_equals_history_bit_for_bit(bars):
    found = compare_paths(bars, compile_plan(WIDE, 2), FIVE, times=TIMES)
    assert len(found) == len(WIDE.features)
    assert {item.masks for item in found} == {0}
    assert {item.largest for item in found} == {0.0}  # the bar is 1e-10
    assert all(item.times == TIMES for item in found)


@pytest.mark.parametrize(
    ("name", "function", "masks", "low", "high"),
    [
        # known in a long table only
        ("short", lambda close: close if len(close) > 300 else np.full(len(close), np.nan), True, 0.0, 0.0),
        ("faint", lambda close: close + 1e-8 * len(close), False, 1e-9, 1e-4),  # faintly other in a long one
        (
            "counted",
            lambda close: np.cumsum(np.isnan(close)).astype(float),
            False,
            0.01,
            np.inf,
        ),  # other only after a hole
    ],
)
def test_live_and_history_are_compared_in_what_is_missing_in_the_last_digits_and_after_holes(
    make_bars, name, function, masks, low, high
):
    whole = check_bars(make_bars(1200, seed=5), FIVE, "bars")
    skewed = declared(name, function=lambda c, w: function(c["close"]), windows=TWELVE)
    [found] = compare_paths(whole, compile_plan(FeatureSet(name, 1, (skewed,)), 1), FIVE, times=40)
    assert not found.equal
    assert bool(found.masks) == masks
    assert low <= found.largest <= high


def test_a_skewed_feature_is_caught(bars):
    skewed = declared("skewed", function=lambda c, w: c["close"] / c["close"][0], windows=TWELVE)
    endless = declared("endless", function=lambda c, w: np.cumsum(np.nan_to_num(c["r"])), windows=TWELVE)
    found = compare_paths(
        bars, compile_plan(FeatureSet("skewed", 1, (skewed, endless, LIBRARY["rsi"])), 1), FIVE, times=60
    )
    assert [item.feature for item in found if not item.equal] == ["skewed", "endless"]


def test_drift_is_measured_against_its_definition():
    generator = np.random.default_rng(1)
    before = generator.normal(size=20_000)
    assert stability(before, generator.normal(size=5_000)) < 0.02
    assert 0.05 < stability(before, generator.normal(0.3, 1, 5_000)) < 0.2
    assert stability(before, generator.normal(1.0, 1, 5_000)) > 0.5
    assert np.isnan(stability(before, before[:5]))
    edges = np.quantile(before, np.linspace(0, 1, 11)[1:-1])
    now = generator.normal(0.5, 1, 3_000)
    p = np.bincount(np.searchsorted(edges, before), minlength=10) + 0.5
    q = np.bincount(np.searchsorted(edges, now), minlength=10) + 0.5
    p, q = p / p.sum(), q / q.sum()
    assert stability(before, now) == pytest.approx(sum((a - b) * np.log(a / b) for a, b in zip(p, q, strict=True)))


def test_a_feature_that_moved_is_named(make_bars):
    table = make_bars(1500, seed=1).to_pydict()
    for name in ("volume",):
        table[name][1300:] = [value * 40 for value in table[name][1300:]]
    import pyarrow as pa

    frame = compute_plan(check_bars(pa.table(table), FIVE, "bars"), compile_plan(CORE, 1), FIVE)
    moved = {item.feature for item in measure_drift(frame, 150) if item.moved}
    assert "illiquidity" in moved
    assert "return_1" not in moved


def test_near_copies_are_found(bars):
    twin = declared("twin", "2 * {n:sum(r)} + 1e-9", {"n": Window(3, 3)})
    mirror = declared("mirror", "-{n:sum(r)}", {"n": Window(3, 3)})
    plan = compile_plan(FeatureSet("twins", 1, (LIBRARY["return_3"], twin, mirror, LIBRARY["volume_shock"])), 1)
    clusters = find_near_copies(compute_plan(bars, plan, FIVE))
    assert [cluster.features for cluster in clusters] == [("return_3", "twin", "mirror")]
    assert clusters[0].weakest > 0.999
    assert (
        find_near_copies(
            compute_plan(bars, compile_plan(FeatureSet("x", 1, (LIBRARY["rsi"], LIBRARY["body"])), 1), FIVE)
        )
        == []
    )


def test_bad_features_are_refused_with_their_name(bars):
    def plan(*features):
        return compile_plan(FeatureSet("bad", 1, features), 1)

    with pytest.raises(DataError, match=r"Feature typo: Binder Error.*closee.*\(in: closee \* 2\)"):
        compute_plan(bars, plan(LIBRARY["rsi"], declared("typo", "closee * 2")), FIVE)
    with pytest.raises(DataError, match=r"Feature inside: .*\(in: volum \* r\)"):
        compute_plan(bars, plan(declared("inside", "{n:avg(volum * r)}", TWELVE)), FIVE)
    with pytest.raises(DataError, match=r"Feature short gave values of shape \(3,\) for 1200 bars"):
        compute_plan(bars, plan(declared("short", function=lambda c, w: np.ones(3))), FIVE)
    with pytest.raises(DataError, match="Feature broken: ZeroDivisionError: integer division"):
        compute_plan(bars, plan(declared("broken", function=lambda c, w: c["close"] * (1 // 0))), FIVE)
    with pytest.raises(RecipeError, match="no aggregate 'averge'; the nearest is 'avg'"):
        plan(declared("x", "{n:averge(r)}", TWELVE))
    with pytest.raises(RecipeError, match="corr takes 2 arguments, not 1"):
        plan(declared("x", "{n:corr(r)}", TWELVE))
    with pytest.raises(RecipeError, match="names return_1 twice"):
        plan(LIBRARY["return_1"], LIBRARY["return_1"])
    with pytest.raises(RecipeError, match="needs either an SQL expression or a function"):
        declared("x")
    with pytest.raises(RecipeError, match="must say what it estimates"):
        Feature("x", " ", "y", "r")
    with pytest.raises(DataError, match="20 bars are too few for this audit: the features look back 26, 32 more"):
        find_leaks(bars.slice(0, 20), plan(declared("x", "{n:avg(r)}", {"n": Window(1, 24)})), FIVE)
