import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.errors import EvaluationError
from crucible.validation.statistics.bootstrap import FEWEST_BLOCKS, bootstrap_mean, persistence


def overlapping(seed, horizon, rows, mean=0.0):
    steps = np.random.default_rng(seed).normal(mean, 1, size=rows + horizon)
    return np.convolve(steps, np.ones(horizon), mode="valid")[:rows]


def test_it_is_calibrated_where_a_naive_test_is_not():
    horizon, rows, runs = 12, 1500, 400
    rejected = naive = covered = 0
    for seed in range(runs):
        values = overlapping(seed, horizon, rows)
        test = bootstrap_mean(values, block=2 * horizon, draws=300, seed=seed)
        rejected += test.p_value < 0.05
        covered += test.low < 0 < test.high
        naive += values.mean() / (values.std() / np.sqrt(rows)) > 1.645
    assert 0.025 <= rejected / runs <= 0.085  # nominal 5 %, standard error 1.1 points
    assert 0.90 <= covered / runs <= 0.98  # nominal 95 %
    assert naive / runs > 0.20


def test_it_has_power():
    found = [
        bootstrap_mean(overlapping(seed, 12, 1500, mean=0.1), block=24, draws=300, seed=seed).p_value < 0.05
        for seed in range(60)
    ]
    # 1,500 steps of mean 0.1: z is 3.9, so nearly every run should find it
    assert np.mean(found) > 0.9


def test_its_interval_is_the_textbook_one_for_independent_values():
    values = np.random.default_rng(4).normal(0.3, 2.0, 5000)
    test = bootstrap_mean(values, block=1, draws=8000, seed=0)
    half = 1.96 * values.std() / np.sqrt(5000)
    assert test.mean == values.mean()
    assert (test.low, test.high) == pytest.approx((test.mean - half, test.mean + half), abs=0.05 * half)


def test_a_block_that_does_not_divide_the_rows_keeps_the_spread():
    # resamples of n rows: with whole blocks only, 19 rows in blocks of 2 would become 20 and the spread too small
    values = np.random.default_rng(5).normal(size=19)
    test = bootstrap_mean(values, block=2, draws=40_000, seed=0)
    sums = np.array([values[np.arange(i, i + 2) % 19].sum() - 2 * values.mean() for i in range(19)])
    variance = (9 * sums.var() + values.var()) / 19**2
    assert (test.high - test.low) / (2 * 1.96) == pytest.approx(np.sqrt(variance), rel=0.05)


def test_equal_seeds_give_equal_results_and_others_others():
    values = np.random.default_rng(1).normal(0.1, 1, 3000)
    one, two = (bootstrap_mean(values, block=4, draws=500, seed=3) for _ in range(2))
    assert one == two
    assert one != bootstrap_mean(values, block=4, draws=500, seed=4)


def test_the_memory_that_is_held_does_not_change_the_result(monkeypatch):
    values = np.random.default_rng(1).normal(0.1, 1, 400)
    whole = bootstrap_mean(values, block=4, draws=500, seed=3)
    monkeypatch.setattr("crucible.validation.statistics.bootstrap._CHUNK", 101 * 7)
    assert bootstrap_mean(values, block=4, draws=500, seed=3) == whole


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(EvaluationError, match="infinite or not a number"):
        bootstrap_mean(np.array([1.0] * 50 + [value]), block=1, draws=200, seed=0)


@given(block=st.integers(1, 100), short=st.integers(1, 8))
def test_too_few_blocks_are_refused(block, short):
    rows = FEWEST_BLOCKS * block
    values = np.random.default_rng(0).normal(size=rows)
    bootstrap_mean(values, block=block, draws=200, seed=0)
    with pytest.raises(EvaluationError, match=f"needs at least 8, so {rows} rows"):
        bootstrap_mean(values[: max(rows - short, 0)], block=block, draws=200, seed=0)


def test_persistence_measures_how_long_neighbours_depend():
    noise = np.random.default_rng(2).normal(size=20_000)
    assert persistence(noise, longest=500) <= 3
    assert 25 <= persistence(np.convolve(noise, np.ones(30), mode="valid"), longest=500) <= 60
    assert persistence(np.cumsum(noise), longest=500) == 500
    assert persistence(np.ones(50), longest=10) == 1
    assert persistence(np.array([1.0]), longest=10) == 1


@given(seed=st.integers(0, 1000), rows=st.integers(3, 200))
def test_persistence_equals_its_definition(seed, rows):
    values = np.cumsum(np.random.default_rng(seed).normal(size=rows))
    centred = values - values.mean()
    lags = [abs(centred[:-lag] @ centred[lag:]) / (centred @ centred) for lag in range(1, rows - 1)]
    quiet = [lag for lag, found in enumerate(lags, start=1) if found < 2 / np.sqrt(rows)]
    assert persistence(values, longest=rows - 2) == (quiet[0] if quiet else max(1, rows - 2))
