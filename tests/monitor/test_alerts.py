"""The rules one by one, and the engine that tells each thing once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from crucible.duration import parse_duration
from crucible.errors import StoreError
from crucible.monitor.alert_rules import LEAST_BALANCE, RULES, STALE_BARS, live_period
from crucible.monitor.alerts import MOST_AN_HOUR, AlertState, evaluate, healthy, read_state, write_state
from crucible.monitor.situation import Situation, Watched, runway_days
from crucible.monitor.store import Event

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REAL = datetime(2026, 11, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WELL = Watched(
    "btc", timedelta(minutes=5), deployed_at=NOW - timedelta(days=1), last_seen=NOW - timedelta(minutes=2),
    last_end="included", nonce=120, address="allo1x", balance=10**18, runway=90.0, bar_closed=NOW - timedelta(hours=1),
)  # fmt: skip


def situation(*events, **changes):
    return Situation(NOW, (replace(WELL, **changes),), events)


def event(kind, **detail):
    return Event(f"{kind}:1", NOW.isoformat(), kind, "btc", detail)


def found(name, seen):
    rule = next(rule for rule in RULES if rule.name == name)
    return [sentence for _, sentence in rule.find(seen)]


def test_nothing_holds_while_all_is_well():
    assert evaluate(AlertState("2026"), situation(), REAL)[1] == []
    assert [rule.name for rule in RULES if list(rule.find(situation()))] == []


@pytest.mark.parametrize(
    ("rule", "changes", "words"),
    [
        (
            "missed_epoch",
            {"last_end": "missed", "misses": 2, "why": "stale"},
            "nonce 120 was missed, 2 in a row: stale",
        ),
        ("missed_epoch", {"last_end": "rejected", "misses": 1}, "no reason is known"),
        ("missed_epoch", {"last_seen": NOW - timedelta(minutes=11)}, "no submission window was seen for 11 minutes"),
        ("missed_epoch", {"last_seen": None, "deployed_at": NOW - timedelta(minutes=11)}, "one comes every 0:05:00"),
        ("dead_worker", {"worker_alive": False, "worker_says": "failed: no funds"}, "no funds"),
        ("low_balance", {"balance": LEAST_BALANCE - 1}, "allo1x holds 999999999999 uallo"),
        ("low_balance", {"runway": 6.9}, "lasts 6.9 days"),
        ("stale_bars", {"bar_closed": NOW - STALE_BARS - timedelta(minutes=61)}, "closed at 2026-03-01 04:59"),
        ("drift", {"drift": "rsi, shock"}, "rsi, shock"),
        ("decay", {"decay": "70 of 65 against network"}, "70 of 65"),
        ("contract", {"contract": "the loss method is abse, the recipe says sqe"}, "abse"),
    ],
)
def test_each_condition_by_itself(rule, changes, words):
    [sentence] = found(rule, situation(**changes))
    assert words in sentence
    assert [item.name for item in RULES if list(item.find(situation(**changes)))] == [rule]


@pytest.mark.parametrize(
    ("rule", "seen", "words"),
    [
        ("failed_run", event("run failed", job="answer_topic", error="disk full"), "answer_topic: disk full"),
        ("promotion", event("deployed", version=4), "version 4 is deployed"),
        ("rollback", event("rolled back", from_version=4, to_version=3, why="worse"), "from version 4 to 3: worse"),
    ],
)
def test_each_notice_by_itself_and_once(rule, seen, words):
    state, [message] = evaluate(AlertState("2026"), situation(seen), REAL)
    assert words in message.body
    assert message.severity == "notice"
    assert evaluate(state, situation(seen), REAL + SECOND)[1] == []
    assert healthy(state)
    assert found(rule, situation(seen))


def test_just_below_each_threshold_nothing_holds():
    near = situation(
        last_seen=NOW - timedelta(minutes=10), balance=LEAST_BALANCE, runway=7.0, bar_closed=NOW - STALE_BARS
    )
    assert evaluate(AlertState("2026"), near, REAL)[1] == []
    unknown = situation(last_seen=None, deployed_at=None, balance=None, runway=None, bar_closed=None, last_end="")
    assert evaluate(AlertState("2026"), unknown, REAL)[1] == []


def test_an_alert_is_told_once_then_reminded_of_then_over():
    bad = situation(last_end="missed", misses=1, why="stale")
    state, [first] = evaluate(AlertState("2026"), bad, REAL)
    assert (first.kind, first.title, first.severity) == ("alert", "Missed epoch: btc", "critical")
    assert not healthy(state)
    worse = situation(last_end="missed", misses=2, why="stale")
    state, told = evaluate(state, worse, REAL + 60 * SECOND)
    assert told == []  # the same alert, whatever its words are by now
    state, [again] = evaluate(state, worse, REAL + timedelta(hours=13))
    assert (again.kind, again.title) == ("reminder", "Still: Missed epoch: btc")
    state, [over] = evaluate(state, situation(), REAL + timedelta(hours=14))
    assert (over.kind, over.title) == ("recovery", "Over: Missed epoch: btc")
    assert "840 minutes" in over.body
    assert healthy(state)
    assert evaluate(state, situation(), REAL + timedelta(hours=15))[1] == []


def test_a_dead_worker_is_told_after_half_a_minute_and_a_restart_not_at_all():
    dead = situation(worker_alive=False)
    state, told = evaluate(AlertState("2026"), dead, REAL)
    assert told == []
    state, told = evaluate(state, situation(), REAL + 20 * SECOND)  # the fleet has started it again
    assert told == []
    state, _ = evaluate(state, dead, REAL + 40 * SECOND)
    state, told = evaluate(state, dead, REAL + 65 * SECOND)
    assert told == []
    state, [message] = evaluate(state, dead, REAL + 70 * SECOND)
    assert message.title == "Dead worker: btc"


def test_of_what_cannot_be_watched_nothing_is_told_to_be_over_and_a_moment_is_forgiven():
    bad = situation(last_end="missed", misses=1)
    state, _ = evaluate(AlertState("2026"), bad, REAL)
    blind = Situation(NOW, (replace(WELL, recipe="eth"),), unwatched=(("btc", "the journal is damaged"),))
    state, told = evaluate(state, blind, REAL + 5 * SECOND)
    assert told == []
    state, told = evaluate(state, bad, REAL + 10 * SECOND)  # it was locked for a moment
    assert told == []
    state, told = evaluate(state, blind, REAL + 15 * SECOND)
    assert told == []
    state, [message] = evaluate(state, blind, REAL + 45 * SECOND)
    assert (message.key, message.severity) == ("unwatched:btc", "critical")
    assert "the journal is damaged" in message.body
    state, told = evaluate(state, situation(), REAL + 60 * SECOND)
    assert sorted(item.title for item in told) == ["Over: Missed epoch: btc", "Over: Unwatched: btc"]


def test_a_flood_is_told_as_one():
    many = Situation(NOW, tuple(replace(WELL, recipe=f"r{n}", last_end="missed", misses=1) for n in range(50)))
    state, told = evaluate(AlertState("2026"), many, REAL)
    assert len(told) == MOST_AN_HOUR - 1
    assert state.held == 31
    state, told = evaluate(state, many, REAL + 600 * SECOND)
    assert [message.kind for message in told] == ["summary"]
    assert "31 messages were held back" in told[0].body
    quiet = Situation(NOW, many.recipes)
    state, told = evaluate(state, quiet, REAL + timedelta(minutes=61))
    assert told == []
    assert state.held == 0


def test_in_a_flood_the_critical_comes_first():
    recipes = [replace(WELL, recipe=f"r{n}", drift="x") for n in range(30)] + [replace(WELL, last_end="missed")]
    _, told = evaluate(AlertState("2026"), Situation(NOW, tuple(recipes)), REAL)
    assert told[0].title == "Missed epoch: btc"


def test_the_state_survives_a_restart_and_damage_is_told(tmp_path):
    path = tmp_path / "alerts.json"
    bad = situation(last_end="missed")
    state, _ = evaluate(read_state(path, NOW), bad, REAL)
    write_state(path, state)
    assert read_state(path, NOW) == state
    assert evaluate(read_state(path, NOW), bad, REAL + SECOND)[1] == []
    path.write_text("{")
    with pytest.raises(StoreError, match="delete it"):
        read_state(path, NOW)


def test_runway_counts_what_was_spent_and_not_what_came():
    def at(hours, uallo):
        return (NOW + timedelta(hours=hours)).isoformat(), uallo

    assert runway_days([]) is None
    assert runway_days([at(0, 10), at(1, 10)]) is None
    assert runway_days([at(0, 100), at(12, 90), at(13, 140), at(24, 130)]) == pytest.approx(6.5)


def test_every_rule_is_documented(pytestconfig):
    text = (pytestconfig.rootpath / "docs" / "reference" / "alerts.md").read_text()
    for rule in RULES:
        assert f"`{rule.name}`" in text
        assert rule.means in text
        assert f"| {rule.severity} |" in text


@pytest.mark.parametrize(
    ("cadence", "period"), [("5m", "1h"), ("10m", "2h"), ("30m", "6h"), ("1h", "6h"), ("8h", "8h"), ("1d", "1d")]
)
def test_slower_topics_are_looked_at_less_often_but_four_times_a_day_or_once_an_epoch(cadence, period):
    assert live_period(parse_duration(cadence)) == parse_duration(period)
