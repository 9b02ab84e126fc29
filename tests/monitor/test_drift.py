"""Drift against what windows of training are usually like; the levels' small null and power are at the end."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from benchmarks.drift_null import CHECKS, DAY, TRAIN, columns, null_market, separate, watch
from crucible.errors import EvaluationError
from crucible.features.audit.drift import stability
from crucible.monitor.cusum import FEWEST, block_means, cumulate
from crucible.monitor.drift import FEWEST_WINDOWS, Reference
from crucible.monitor.levels import LEVELS
from crucible.validation.suites import Market

ROWS = 100


def test_the_statistics_are_the_known_ones():
    generator = np.random.default_rng(1)
    train, now = generator.normal(size=5000).round(2), generator.normal(0.3, 1.2, ROWS).round(2)  # with ties
    found = {item.statistic: item for item in Reference({"x": train}, ROWS).judge({"x": now}, "features")}
    assert found["ks"].value == pytest.approx(ks_2samp(train, now).statistic, abs=1e-12)
    assert found["psi"].value == pytest.approx(stability(train, now), abs=1e-12)


def test_a_shift_is_drift_and_none_is_not():
    generator = np.random.default_rng(2)
    reference = Reference({"moves": generator.normal(size=6000), "stays": generator.normal(size=6000)}, ROWS)
    now = {"moves": generator.normal(1.5, 1, ROWS), "stays": generator.normal(size=ROWS)}
    drifted = {item.column for item in reference.judge(now, "features") if item.drifted}
    assert drifted == {"moves"}


def test_what_wanders_by_nature_is_judged_by_how_it_wanders():
    """A day of a slow series lies far from the mean; by the textbook it would be drift every single day."""
    from scipy.signal import lfilter

    noise = np.random.default_rng(3).normal(size=9000)
    slow = lfilter([1], [1, -0.99], noise)
    train, rest = slow[:6000], slow[6000:]
    reference = Reference({"slow": train}, ROWS)
    alarms = textbook = 0
    for start in range(0, len(rest) - ROWS + 1, ROWS):
        now = rest[start : start + ROWS]
        alarms += any(item.drifted for item in reference.judge({"slow": now}, "features"))
        textbook += ks_2samp(train, now).pvalue < LEVELS["features"].value
    assert (alarms, textbook > 20) == (0, True)


def test_missing_values_constant_columns_and_short_windows():
    generator = np.random.default_rng(4)
    gappy = generator.normal(size=4000)
    gappy[::7] = np.nan
    columns = {"gappy": gappy, "constant": np.ones(4000), "empty": np.full(4000, np.nan)}
    reference = Reference(columns, ROWS)
    assert reference.names == ("gappy",)
    assert reference.judge({"gappy": np.full(ROWS, np.nan)}, "features") == []
    with pytest.raises(EvaluationError, match=f"fewer than {FEWEST_WINDOWS} windows"):
        Reference({"x": gappy[:500]}, ROWS)


def test_the_sum_rises_when_losses_become_worse_and_not_when_they_become_better():
    generator = np.random.default_rng(5)
    usual = generator.normal(-0.1, 1, 3000)
    same, worse, better = (generator.normal(mean, 1, 600) for mean in (-0.1, 0.4, -0.6))
    assert not cumulate(usual, same).drifted
    assert not cumulate(usual, better).drifted
    found = cumulate(usual, worse)
    assert found.drifted
    assert found.alarm is not None
    assert found.path[found.alarm] > found.threshold >= found.path[found.alarm - 1]
    # the same sum, step by step
    height, path = 0.0, []
    for step in np.diff(np.concatenate([[0.0], found.path])):
        height = max(height + step, 0.0)
        path.append(height)
    np.testing.assert_allclose(path, found.path, atol=1e-9)


def test_overlapping_horizons_are_one_piece_of_evidence():
    generator = np.random.default_rng(6)
    usual, live = generator.normal(size=FEWEST * 8), generator.normal(size=403)
    found = cumulate(usual, live, overlap=8)
    np.testing.assert_allclose(found.path[:400:8], cumulate(block_means(usual, 8), block_means(live, 8)).path)
    assert len(found.path) == 403
    with pytest.raises(EvaluationError, match=f"it takes {FEWEST}"):
        cumulate(usual[: FEWEST * 8 - 1], live, overlap=8)
    with pytest.raises(EvaluationError, match="nothing at all"):
        cumulate(np.zeros(1000), live)


def test_no_false_alarm_on_markets_without_a_break():
    """180 days; the levels were measured on 10,000, where they give about one alarm each."""
    for index in range(3):
        days = watch(null_market(index, seed=9))
        for kind, p_values in days.p_values.items():
            assert separate(p_values < LEVELS[kind].value) == 0, kind
        assert days.path.max() < LEVELS["loss"].value


@pytest.mark.parametrize(("broken", "kind"), [("signal turns", "loss"), ("volatility triples", "features")])
def test_a_planted_break_is_noticed_within_two_days(broken, kind):
    days = watch(columns(Market("walk", 1, 0.0, 5, (2 * TRAIN) * DAY + 200), broken))
    if kind == "loss":
        assert days.path[: 2 * DAY].max() > LEVELS["loss"].value
    else:
        assert (days.p_values[kind][: CHECKS + 1] < LEVELS[kind].value).any()


def test_every_level_says_what_it_costs():
    assert all(level.days >= 9000 and level.alarms * 10_000 <= 3 * level.days for level in LEVELS.values())
