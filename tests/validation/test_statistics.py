"""Statistics against their definitions, against simulation, and against what they are for."""

import itertools
import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from crucible.errors import EvaluationError
from crucible.validation.statistics import hac
from crucible.validation.statistics.comparison import clark_west, confidence_set, diebold_mariano, superior_ability
from crucible.validation.statistics.precision import days_until, detectable_correlation, exact
from crucible.validation.statistics.selection import deflated_sharpe, expected_best, overfitting_probability


def overlapping(generator, n, horizon, look_back):
    """Return returns over the next ``horizon`` bars and over the last ``look_back``, of a random walk."""
    path = np.concatenate([[0.0], np.cumsum(generator.normal(size=n + horizon + look_back))])
    at = np.arange(look_back, look_back + n)
    return path[at + horizon] - path[at], path[at] - path[at - look_back]


@pytest.mark.parametrize("bandwidth", [1, 7, 40])
def test_the_long_run_variance_is_its_definition(bandwidth):
    values = np.random.default_rng(0).normal(size=300).cumsum()
    centred = values - values.mean()
    covariance = [(centred[lag:] * centred[: len(centred) - lag]).sum() / len(centred) for lag in range(bandwidth + 1)]
    expected = covariance[0] + 2 * sum((1 - lag / (bandwidth + 1)) * covariance[lag] for lag in range(1, bandwidth + 1))
    assert hac.long_run_variance(values, bandwidth) == pytest.approx(expected, rel=1e-10)


def test_the_critical_values_are_those_of_their_limit():
    """Simulate t statistics of white noise at the same b: the published polynomials must fit."""
    generator, n, draws = np.random.default_rng(1), 300, 4000
    for share in (0.05, 0.3):
        bandwidth = int(share * n)
        found = []
        for _ in range(draws):
            values = generator.normal(size=n)
            found.append(values.mean() / math.sqrt(hac.long_run_variance(values, bandwidth) / n))
        above = np.mean(np.array(found) > hac.critical_value(0.05, share))
        assert abs(above - 0.05) < 3 * math.sqrt(0.05 * 0.95 / draws)


@given(t=st.floats(-8, 8), share=st.floats(0.001, 0.5))
@settings(deadline=None)
def test_p_values_are_monotone_and_symmetric(t, share):
    assert hac.upper_tail(t, share) + hac.upper_tail(-t, share) == pytest.approx(1)
    assert hac.upper_tail(t + 0.1, share) < hac.upper_tail(t, share)
    for tail in (0.1, 0.05, 0.025, 0.01):
        assert hac.upper_tail(hac.critical_value(tail, share), share) == pytest.approx(tail)


@pytest.mark.parametrize(("horizon", "look_back", "n"), [(1, 24, 4000), (8, 8, 4000), (24, 240, 4000), (96, 96, 6000)])
def test_the_test_of_skill_has_the_size_that_it_says(horizon, look_back, n):
    generator, draws = np.random.default_rng(horizon), 600
    rejected = 0
    for _ in range(draws):
        y, f = overlapping(generator, n, horizon, look_back)
        rejected += clark_west(y, f, np.ones(n), overlap=horizon).p_value < 0.05
    assert 0.02 < rejected / draws < 0.075  # nominal 5 %, standard error 0.9 points


def test_the_test_of_skill_finds_what_the_difference_of_losses_hides():
    generator = np.random.default_rng(3)
    signal, noise = generator.normal(size=(2, 4000))
    truth = 0.05 * signal + noise
    forecast = 0.05 * signal
    skill = clark_west(truth, forecast, np.ones(4000), overlap=1)
    plain = diebold_mariano((truth - forecast) ** 2, truth**2, overlap=1)
    assert skill.t > 1.6 * plain.t
    assert skill.independent == pytest.approx(4000, rel=0.2)


def test_what_cannot_be_tested_is_refused():
    with pytest.raises(EvaluationError, match="infinite or not a number"):
        hac.mean_statistic(np.array([1.0, np.nan]), overlap=1)
    with pytest.raises(EvaluationError, match="30 rows are too few for a test: with a bandwidth of 48 it takes 240"):
        hac.mean_statistic(np.ones(30), overlap=24)
    with pytest.raises(EvaluationError, match="do not vary"):
        hac.mean_statistic(np.ones(300), overlap=1)


def test_superior_ability_counts_every_try():
    generator = np.random.default_rng(5)
    noise = generator.normal(size=(600, 60))
    best = noise[:, [int(noise.mean(axis=0).argmax())]]
    alone = superior_ability(best, block=5, draws=500, seed=1)
    among = superior_ability(noise, block=5, draws=500, seed=1)
    assert alone < 0.05 < among
    assert superior_ability(noise + 0.3, block=5, draws=500, seed=1) < 0.01
    assert superior_ability(np.zeros((600, 2)), block=5, draws=500, seed=1) == 1.0
    with pytest.raises(EvaluationError, match="fewer than 8 blocks"):
        superior_ability(noise, block=100, draws=500, seed=1)


def test_the_confidence_set_keeps_the_best_and_its_twins():
    generator = np.random.default_rng(6)
    good = generator.normal(size=800) ** 2
    losses = {"good": good, "twin": good.copy(), "close": good + 0.01 * generator.normal(size=800), "bad": good + 0.5}
    kept = confidence_set(losses, size=0.1, block=5, draws=300, seed=2)
    assert {"good", "twin"} <= set(kept)
    assert "bad" not in kept


def test_the_expected_best_is_what_luck_gives():
    generator = np.random.default_rng(7)
    for trials in (10, 200):
        simulated = generator.normal(size=(4000, trials)).max(axis=1).mean()
        assert expected_best(trials, 1.0) == pytest.approx(simulated, rel=0.05)
    assert expected_best(1, 1.0) == 0.0


def test_the_deflated_sharpe_ratio_falls_with_the_number_of_trials():
    generator = np.random.default_rng(8)
    gains = 0.08 + generator.normal(size=2000)
    found = [deflated_sharpe(gains, trials=count, spread=0.03, overlap=1) for count in (1, 10, 1000)]
    assert found == sorted(found, reverse=True)
    sharpe = gains.mean() / gains.std()
    z = (gains - gains.mean()) / gains.std()
    error = math.sqrt((1 - (z**3).mean() * sharpe + ((z**4).mean() - 1) / 4 * sharpe**2) / 1999)
    assert found[0] == pytest.approx(norm.cdf(sharpe / error))
    assert deflated_sharpe(gains, trials=10, spread=0.03, overlap=24) < found[1]


def test_overfitting_is_even_odds_for_noise_and_nil_for_skill():
    generator = np.random.default_rng(9)
    noise = np.mean([overfitting_probability(generator.normal(size=(200, 20))) for _ in range(30)])
    assert 0.4 < noise < 0.6
    skill = generator.normal(size=(200, 20)) + np.linspace(0, 2, 20)
    assert overfitting_probability(skill) < 0.05
    gains = generator.normal(size=(4, 3))
    by_hand = []
    for inside in itertools.combinations(range(4), 2):
        outside = [row for row in range(4) if row not in inside]
        best = gains[list(inside)].mean(axis=0).argmax()
        means = gains[outside].mean(axis=0)
        by_hand.append((means < means[best]).sum() + 1 <= 2)  # rank 1 or 2 of 3: at or below the median
    assert overfitting_probability(gains, parts=4) == pytest.approx(np.mean(by_hand))
    with pytest.raises(EvaluationError, match="cannot be compared in 10 parts"):
        overfitting_probability(gains)


def test_intervals_of_shares():
    assert exact(0, 300) == pytest.approx((0.0, 0.0122), abs=1e-4)
    assert exact(3, 300)[1] == pytest.approx(0.0289, abs=1e-4)


def test_a_verdict_takes_as_long_as_the_arithmetic_says():
    # one-sided 5 % with 80 % power: 52 % right of independent epochs takes about 3,860 of them
    assert detectable_correlation(3860, 0.05) == pytest.approx(0.04, abs=0.001)
    generator = np.random.default_rng(10)
    statistic = hac.mean_statistic(generator.normal(size=4000), overlap=1)
    days = days_until(0.05, statistic, 4000, timedelta(hours=1), 0.05)
    assert days == pytest.approx((2.486 / 0.05) ** 2 / 24, rel=0.15)
    assert days_until(0.0, statistic, 4000, timedelta(hours=1), 0.05) == math.inf
