"""Queries that do not read what was written in a year, against plain loops over everything."""

import random
import sqlite3
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest

from crucible.clock import ManualClock
from crucible.monitor.store import Forecast, MonitorStore
from crucible.worker.journal import Journal, read_journal, read_newest

NOW = datetime(2026, 1, 5, tzinfo=UTC)
NAMES = ("loss", "network", "network_loss", "regime", "score")
CHAIN = "allora-testnet-1"


@pytest.fixture
def store(tmp_path):
    """Sixty epochs of two bundles, some of them by worker and shadow, of which this and that is known."""
    chosen, found = random.Random(4), MonitorStore(tmp_path / "m.db")
    rows = [
        Forecast(CHAIN, 77, 12 * epoch, source, "", bundle, "btc", 1, "f", at, epoch / 7, "", 0, at)
        for epoch in range(60)
        for at in [(NOW + epoch * timedelta(minutes=5)).isoformat()]
        for source, bundle in (("worker", "a"), ("shadow", "a"), ("shadow", "b"))
        if chosen.random() < 0.7
    ]
    chosen.shuffle(rows)
    found.add_forecasts(rows)
    found.add_forecasts([Forecast(CHAIN, 78, 12, "worker", "", "a", "eth", 1, "f", NOW.isoformat(), 1.0, "", 0, "")])
    found.add_facts(NOW, [(row.key, name, chosen.random()) for row in rows for name in NAMES if chosen.random() < 0.6])
    return found


@pytest.mark.parametrize("since", ["", (NOW + timedelta(hours=2)).isoformat()])
def test_each_query_finds_what_a_loop_finds(store, since):
    rows, facts = store.forecasts("btc", since=since), store.facts("btc", since=since)
    assert len(rows) > 50
    known = [(row, {name: v for name, v in facts.get(row.key, {}).items() if name in NAMES}) for row in rows]
    assert list(store.joined("btc", NAMES, since=since)) == known
    assert list(store.joined("btc", NAMES, source="shadow", since=since)) == [
        item for item in known if item[0].source == "shadow"
    ]
    lacking = [
        (row, has.get("network")) for row, has in known
        if "loss" not in has or ("network" in has and "network_loss" not in has)
    ]  # fmt: skip
    assert 0 < len(lacking) < len(rows)
    assert store.unjudged("btc", since=since) == lacking
    losses = {}
    for source in ("shadow", "worker"):  # a submission counts before a shadow forecast
        losses |= {
            row.predicted_for: has["loss"] for row, has in known
            if (row.source, row.bundle) == (source, "a") and "loss" in has
        }  # fmt: skip
    assert store.losses("btc", "a", since=since) == losses


def test_what_a_bundle_has_predicted_is_told_by_source(store):
    rows = store.forecasts("btc")
    for source, bundle in (("worker", "a"), ("shadow", "a"), ("shadow", "b"), ("worker", "b")):
        times = {row.predicted_for for row in rows if (row.source, row.bundle) == (source, bundle)}
        assert store.predicted("btc", bundle, source=source) == times


def test_of_a_home_that_has_seen_nothing_nothing_is_known_and_nothing_is_made(tmp_path):
    empty = MonitorStore(tmp_path / "none" / "m.db")
    assert list(empty.joined("btc", NAMES)) == []
    assert (empty.unjudged("btc", since=""), empty.losses("btc", "a")) == ([], {})
    assert not empty.path.parent.exists()


@pytest.fixture
def wallet_journal(tmp_path):
    """A wallet with three topics and, after a move, two addresses."""
    path = tmp_path / "wallet.db"
    for address in ("allo1a", "allo1b"):
        for topic in (76, 77, 78):
            with Journal(path, ManualClock(NOW), chain_id=CHAIN, topic_id=topic, address=address) as journal:
                for epoch in range(20):
                    nonce = 12 * epoch + (5 if address == "allo1b" else 0)
                    journal.seen(nonce, nonce + 8)
                    journal.move(nonce, "missed", reason="none", recipe=f"t{topic}")
    return path


def test_the_newest_of_a_topic_are_those_of_the_whole_journal(tmp_path, wallet_journal):
    everything = [row for row in read_journal(wallet_journal) if row.topic_id == 77]
    topic = {"chain_id": CHAIN, "topic_id": 77, "role": "inferer"}
    for count in (1, 7, 30, 1000):
        assert read_newest(wallet_journal, count, **topic) == everything[-count:]
    assert read_newest(wallet_journal, 5, **topic | {"role": "reputer"}) == []
    assert read_newest(tmp_path / "none.db", 5, **topic) == []
    assert read_journal(wallet_journal, newest=9) == read_journal(wallet_journal)[-9:]


def test_a_recipe_sees_its_own_through_its_link(tmp_path, wallet_journal):
    link = tmp_path / "t77.db"
    link.symlink_to(wallet_journal)
    rows = read_newest(link, 4, chain_id=CHAIN, topic_id=77, role="inferer")
    assert [asdict(row) for row in rows] == [asdict(row) for row in read_journal(link)[-4:]]
    assert read_newest(link, 4, chain_id=CHAIN, topic_id=78, role="inferer") == []


def test_the_newest_are_found_by_the_primary_key(wallet_journal, monkeypatch):
    asked = []
    real = sqlite3.connect

    class Told(sqlite3.Connection):
        def execute(self, query, values=()):
            asked.append((query, values))
            return super().execute(query, values)

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: real(*args, factory=Told, **options))
    read_newest(wallet_journal, 5, chain_id=CHAIN, topic_id=77, role="inferer")
    monkeypatch.undo()
    assert len(asked) == 5  # two addresses, each with its rows, and no third
    with sqlite3.connect(wallet_journal) as plain:
        plans = [row[-1] for query, values in asked for row in plain.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    plain.close()
    assert all(plan.startswith("SEARCH submission USING") for plan in plans), plans
