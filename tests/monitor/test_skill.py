"""The sum of likelihood ratios: quiet while forecasts mean what they meant, quick where they do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.skill_null import SKILLS, path
from crucible.errors import EvaluationError
from crucible.monitor.levels import LEVELS
from crucible.monitor.skill import Told, lost_skill


def told(n, skill, seed, size=1.0, left=1.0):
    generator = np.random.default_rng(seed)
    signal = generator.normal(size=n)
    truth = size * (left * skill * signal + np.sqrt(1 - skill**2) * generator.normal(size=n))
    return Told(size * skill * signal, truth, np.full(n, size))


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([0.4, 0.5, 0.6]), st.floats(1e-5, 1e3))
def test_a_signal_that_turned_is_noticed_and_one_that_holds_is_not_whatever_the_units(seed, skill, size):
    known = told(2000, skill, [seed, 0], size)
    quiet = lost_skill(known, told(72, skill, [seed, 1], size), per_day=24)
    turned = lost_skill(known, told(400, skill, [seed, 1], size, left=-1.0), per_day=24)
    assert quiet.height < LEVELS["skill"].value + np.log(24)
    assert turned.drifted
    assert turned.path[turned.alarm] > turned.threshold


def test_forecasts_that_are_steadily_too_bold_are_no_loss():
    bold = told(3000, 0.5, 1)
    wide = Told(2 * bold.predicted, bold.truth, bold.scale)
    parts = [Told(*(column[rows] for column in (wide.predicted, wide.truth, wide.scale)))
             for rows in (slice(0, 2000), slice(2000, 3000))]  # fmt: skip
    assert not lost_skill(*parts, per_day=24).drifted


def test_overlapping_horizons_count_once():
    known, live = told(4000, 0.5, 3), told(803, 0.5, 4, left=-1.0)
    alone, together = lost_skill(known, live), lost_skill(known, live, overlap=8)
    assert len(together.path) == 803
    assert 0 < together.height < alone.height
    assert together.threshold < alone.threshold


def test_rows_without_a_truth_or_a_scale_are_left_out():
    known, live = told(1000, 0.5, 5), told(50, 0.5, 6)
    live.truth[3], live.scale[7] = np.nan, 0.0
    assert len(lost_skill(known, live).path) == 48
    assert lost_skill(known, Told(*(np.empty(0),) * 3)).height == 0


@pytest.mark.parametrize(("skill", "rows", "words"), [(0.5, 150, "it takes 200"), (0.02, 3000, "too little")])
def test_what_cannot_be_told_is_refused(skill, rows, words):
    with pytest.raises(EvaluationError, match=words):
        lost_skill(told(rows, skill, 7), told(100, skill, 8))
    with pytest.raises(EvaluationError, match="too little"):
        lost_skill(Told(np.zeros(500), np.ones(500), np.ones(500)), told(100, 0.5, 8))


@pytest.mark.parametrize("per_day", SKILLS)
def test_the_level_holds_where_nothing_is_lost_and_a_turned_signal_is_noticed_in_two_days(per_day):
    """A little of what ``benchmarks/skill_null.py`` measures over 20,000 days."""
    level = LEVELS["skill"].value + np.log(per_day)
    assert max(path(index, 3, per_day, 0.6, 1.0).max() for index in range(4)) < level
    found = [path(index, 4, per_day, 0.6, -1.0)[: 2 * per_day].max() > level for index in range(6)]
    assert sum(found) >= 5
