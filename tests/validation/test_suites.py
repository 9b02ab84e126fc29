"""Noise is not promoted, planted skill is: twenty markets each here, three hundred with ``make prove``."""

import json
import os

import numpy as np
import pytest

from crucible.validation.suites import Market, judge_market, make_bars, null_markets, power_markets, run_suite, summary

PROVE = bool(os.environ.get("CRUCIBLE_PROVE"))
COUNT = 300 if PROVE else 20


def test_noise_is_not_promoted():
    found = summary(run_suite(list(null_markets(COUNT, seed=11))))
    print(json.dumps(found, indent=1))
    # one false promotion among 20 has a probability of 5 to 15 %: the seed is fixed, and it has none
    assert found["promoted"] <= (3 if PROVE else 0)
    for share in found["rejects_at_5_percent"].values():
        assert share <= (0.07 if PROVE else 0.15)


@pytest.mark.parametrize(("correlation", "least"), [(0.10, 0.9), (0.05, 0.5)])
def test_planted_skill_is_promoted(correlation, least):
    if correlation == 0.05 and not PROVE:
        pytest.skip("a share of a half cannot be told from a third with 20 markets; make prove runs 300")
    found = summary(run_suite(list(power_markets(COUNT, correlation))))
    print(json.dumps(found, indent=1))
    assert found["share"] >= least


@pytest.mark.parametrize("kind", ["walk", "garch", "regimes"])
def test_the_planted_correlation_is_attainable(kind):
    """The forecast that knows the planted momentum has the correlation that was asked for."""
    correlations = []
    for seed in range(12):
        market = Market(kind, 8, 0.1, seed)
        close = np.log(make_bars(market)["close"].to_numpy())
        r = np.diff(close, prepend=np.log(100.0))
        from scipy.signal import lfilter

        phi = 0.5 ** (1 / 0.5)
        momentum = lfilter([1.0], [1.0, -phi], r)
        ahead = close[8:] - close[:-8]
        correlations.append(np.corrcoef(momentum[:-8], ahead)[0, 1])
    assert np.mean(correlations) == pytest.approx(0.1, abs=0.02)


def test_a_market_is_a_function_of_its_seed():
    market = Market("garch", 24, 0.0, 5, 6000)
    assert make_bars(market).equals(make_bars(market))
    one, other = judge_market(market), judge_market(market)
    assert (one.outcomes, one.p_values) == (other.outcomes, other.p_values)
