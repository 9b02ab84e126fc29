import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from crucible.monitor.retrain import Budget, Evidence, Past, Waiting, decide, pause_after

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def drift(mark="d1", since=NOW - DAY):
    return Evidence("drift", mark, since, "distributions have moved")


def test_nothing_speaks_for_it():
    assert decide(NOW, [], []).sentence == "nothing speaks for it"


def test_fresh_and_lasting_evidence_starts_a_run_and_the_same_does_not_again():
    first = decide(NOW, [drift()], [])
    assert (first.go, first.evidence) == (True, drift())
    again = decide(NOW + 30 * DAY, [drift()], [Past(NOW, "drift", "d1", True)])
    assert (again.go, again.sentence) == (False, "nothing new speaks for it")


def test_evidence_must_last_but_a_fact_need_not():
    assert not decide(NOW, [drift(since=NOW - HOUR)], []).go
    assert decide(NOW, [Evidence("bars", "b", NOW, "bars were repaired")], []).go


def test_evidence_waits_for_a_challenger_that_must_live_first_but_not_for_ever():
    shadow = Waiting("version 2 has 3 of 50 live epochs; it goes on as a shadow", NOW + 2 * DAY)
    waits = decide(NOW, [drift()], [], waiting=shadow)
    assert (waits.go, waits.sentence) == (False, f"distributions have moved; but {shadow.sentence}")
    assert decide(NOW + 2 * DAY, [drift()], [], waiting=shadow).go
    assert decide(NOW, [drift()], []).go


def test_the_weightiest_reason_is_named():
    topic = Evidence("topic", "t", NOW, "the topic has changed")
    assert decide(NOW, [drift(), topic], []).evidence == topic


@pytest.mark.parametrize("reason", ["drift", "schedule", "person"])
def test_any_run_starts_the_pause(reason):
    past = [Past(NOW - 5 * HOUR, reason, "x", True)]
    assert "the pause is 6:00:00" in decide(NOW, [drift()], past).sentence
    assert decide(NOW + 2 * HOUR, [drift()], past).go


def test_runs_in_vain_lengthen_the_pause_up_to_a_limit_and_a_promotion_ends_that():
    vain = [Past(NOW - n * DAY, "drift", f"m{n}", False) for n in range(1, 9)]
    assert [pause_after(vain[:n], Budget()) for n in (1, 2, 3, 8)] == [6 * HOUR, 12 * HOUR, 24 * HOUR, 48 * HOUR]
    assert pause_after([Past(NOW, "schedule", "s", True), *vain], Budget()) == 6 * HOUR


def test_schedules_and_persons_do_not_spend_the_budget():
    past = [Past(NOW - timedelta(hours=h), "schedule", str(h), True) for h in range(7, 24)]
    assert decide(NOW, [drift()], past).go
    spent = [Past(NOW - timedelta(hours=h), "drift", str(h), True) for h in (8, 16)]
    assert "budget of 2 runs a day is spent" in decide(NOW, [drift()], spent).sentence


@pytest.mark.parametrize("promotes", [0.0, 0.5, 1.0])
def test_a_storm_of_evidence_stays_within_the_budget(promotes):
    """Sixty days in which something new speaks for retraining every ten minutes."""
    generator, budget, history = random.Random(7), Budget(), []
    for step in range(60 * 144):
        now = NOW + step * timedelta(minutes=10)
        reason = generator.choice(("topic", "bars", "decay", "drift"))
        decision = decide(now, [Evidence(reason, str(step), now - DAY, reason)], history)
        if decision.go:
            history.append(Past(now, reason, str(step), generator.random() < promotes))
    starts = [past.at for past in history]
    for at in starts:
        assert sum(timedelta(0) <= at - other < DAY for other in starts) <= budget.per_day
        assert sum(timedelta(0) <= at - other < 7 * DAY for other in starts) <= budget.per_week
    assert min(b - a for a, b in pairwise(starts)) >= budget.pause
    assert len(starts) <= (32 if promotes == 0 else 60)
    assert len(starts) > 20  # and it does not starve
