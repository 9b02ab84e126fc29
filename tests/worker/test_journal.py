import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_steps import read_steps

from crucible.clock import ManualClock, SystemClock
from crucible.errors import StoreError
from crucible.worker.deployment import STALE_SECONDS, Actual
from crucible.worker.journal import FOLLOWS, TERMINAL, Journal, open_journal, read_journal
from crucible.worker.journal_file import link_recipe

NOW = datetime(2026, 1, 5, tzinfo=UTC)
KEY = {"chain_id": "allora-testnet-1", "topic_id": 77, "address": "allo1me"}


def fill(journal):
    for _ in range(2000):
        journal.move(1, "predicted", predicted_for="x" * 4000)


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "j.db", ManualClock(NOW), **KEY) as opened:
        yield opened


def to_signed(journal, nonce=12):
    journal.seen(nonce, nonce + 8)
    journal.move(nonce, "predicted", value=101.5, predicted_for="t", bundle="b", model_version=1)
    return journal.move(nonce, "signed", tx_hash="AA", tx_content=b"bytes", sequence=3)


def test_a_nonce_goes_its_way_and_every_step_is_kept(tmp_path, journal):
    to_signed(journal)
    journal.move(12, "broadcast")
    journal.move(12, "included", height=14, code=0)
    row = journal.move(12, "scored", score=0.25)
    assert (row.value, row.tx_content, row.height, row.score) == (101.5, b"bytes", 14, 0.25)
    assert journal.unfinished() == []
    assert read_journal(tmp_path / "j.db") == [row]
    steps = sqlite3.connect(tmp_path / "j.db")
    states = [state for (state,) in steps.execute("SELECT state FROM step ORDER BY rowid")]
    steps.close()
    assert states == ["seen", "predicted", "signed", "broadcast", "included", "scored"]


def test_a_signed_value_never_changes_and_no_step_is_skipped_or_taken_back(journal):
    to_signed(journal)
    with pytest.raises(StoreError, match="its value cannot change"):
        journal.move(12, "signed", value=99.0)
    for state in ("seen", "predicted", "scored"):
        with pytest.raises(StoreError, match=f"cannot go from signed to {state}"):
            journal.move(12, state)
    with pytest.raises(StoreError, match="cannot go from nothing"):
        journal.move(99, "predicted")
    assert journal.row(12).value == 101.5


def test_seeing_a_nonce_again_changes_nothing(journal):
    row = to_signed(journal)
    assert journal.seen(12, 999) == row


@given(steps=st.lists(st.sampled_from(sorted(FOLLOWS)), max_size=12))
def test_only_declared_steps_are_ever_recorded(steps, tmp_path_factory):
    clock = ManualClock(NOW)
    with Journal(tmp_path_factory.mktemp("j") / "j.db", clock, **KEY) as journal:
        state = journal.seen(1, 9).state
        for step in steps:
            clock.advance(timedelta(seconds=1))
            if step in FOLLOWS[state]:
                state = journal.move(1, step).state
            else:
                with pytest.raises(StoreError):
                    journal.move(1, step)
        assert journal.row(1).state == state
        assert bool(journal.unfinished()) == (state not in TERMINAL)


def test_nothing_follows_an_end_and_only_a_signature_is_ever_made_again():
    way = ("seen", "features", "predicted", "signed", "broadcast", "included", "scored")
    ends = {"scored", "unscored", "missed", "rejected"}
    assert {state for state, following in FOLLOWS.items() if not following} == ends
    for failure in ("missed", "rejected"):
        assert {state for state, following in FOLLOWS.items() if failure in following} == set(way[:5])
    steps = {(one, other) for one in way for other in FOLLOWS[one] if other in way}
    assert {(one, other) for one, other in steps if way.index(other) < way.index(one)} == {("broadcast", "signed")}
    assert {one for one, other in steps if other == "broadcast"} == {"signed"}  # nothing is sent that was not recorded


def test_what_is_recorded_outlives_a_power_cut(tmp_path):
    with closing(open_journal(tmp_path / "j.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: every commit is on the disk


def test_a_step_that_fails_half_way_leaves_nothing(journal):
    journal.seen(1, 9)
    journal._connection.execute("ALTER TABLE step RENAME TO elsewhere")
    with pytest.raises(StoreError, match="no such table: step"):
        journal.move(1, "predicted", value=2.0)
    journal._connection.execute("ALTER TABLE elsewhere RENAME TO step")
    assert (journal.row(1).state, journal.row(1).value) == ("seen", None)
    assert journal.move(1, "predicted", value=3.0).value == 3.0


def test_a_full_or_damaged_disk_is_one_sentence_and_nothing_is_recorded(tmp_path):
    (tmp_path / "j.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="cannot be opened"), Journal(tmp_path / "j.db", ManualClock(NOW), **KEY):
        pass
    with pytest.raises(StoreError, match="cannot be read"):
        read_journal(tmp_path / "j.db")
    with Journal(tmp_path / "full.db", ManualClock(NOW), **KEY) as journal:
        journal.seen(1, 9)
        pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
        journal._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match=r"refuses.*nothing is sent"):
            fill(journal)
    rows = read_journal(tmp_path / "full.db")
    assert [row.nonce for row in rows] == [1]
    assert read_journal(tmp_path / "absent.db") == []


def test_a_process_that_runs_and_says_nothing_is_not_alive():
    me = psutil.Process()
    now = SystemClock().now().timestamp()
    report = Actual("r", me.pid, me.create_time(), "ready", "", 0, 0, 0, "", 0, now, "")
    assert report.alive
    assert not replace(report, beat=now - STALE_SECONDS - 1).alive
    assert not replace(report, started=report.started - 100).alive  # another process was given its id
    assert not replace(report, pid=2**22 + 1).alive


OLD_SCHEMA = """
CREATE TABLE submission (
    chain_id TEXT NOT NULL, topic_id INTEGER NOT NULL, role TEXT NOT NULL, address TEXT NOT NULL,
    nonce INTEGER NOT NULL, state TEXT NOT NULL, window_end INTEGER NOT NULL, value REAL, predicted_for TEXT,
    bundle TEXT, model_version INTEGER, tx_hash TEXT, tx_content BLOB, sequence INTEGER, height INTEGER,
    code INTEGER, score REAL, reason TEXT,
    seen_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    PRIMARY KEY (chain_id, topic_id, role, address, nonce)
) STRICT;
CREATE TABLE step (
    nonce INTEGER NOT NULL, topic_id INTEGER NOT NULL, address TEXT NOT NULL, state TEXT NOT NULL, at TEXT NOT NULL,
    note TEXT NOT NULL
) STRICT;
"""


def old_journal(path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(OLD_SCHEMA)
    for nonce, state, tx_hash in ((12, "scored", "AA"), (24, "signed", "BB"), (36, "seen", None)):
        connection.execute(
            "INSERT INTO submission VALUES ('allora-testnet-1', 77, 'inferer', 'allo1me', ?, ?, ?, 1.5, 't', 'b', 1, "
            "?, ?, 7, NULL, NULL, NULL, NULL, 'x', 'y')",
            (nonce, state, nonce + 8, tx_hash, b"bytes" if tx_hash else None),
        )
        connection.execute("INSERT INTO step VALUES (?, 77, 'allo1me', ?, 'x', '')", (nonce, state))
    connection.commit()
    return connection


@pytest.mark.parametrize("killed", [False, True])
def test_a_recipes_own_journal_becomes_part_of_its_wallets(tmp_path, killed, monkeypatch):
    recipe, wallet = tmp_path / "btc.db", tmp_path / "wallet.w.db"
    held = old_journal(recipe)  # still open: its rows are in the write-ahead log
    if killed:
        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                link_recipe(wallet, "btc")
        assert not recipe.is_symlink()
    held.close()
    for _ in range(2):
        link_recipe(wallet, "btc")
    assert recipe.is_symlink()
    assert (tmp_path / "btc.db.migrated").exists()
    rows = read_journal(recipe)
    assert [(row.nonce, row.state, row.recipe) for row in rows] == [
        (12, "scored", "btc"), (24, "signed", "btc"), (36, "seen", "btc"),
    ]  # fmt: skip
    assert [step.state for step in read_steps(recipe)] == ["scored", "signed", "seen"]
    with Journal(wallet, ManualClock(NOW), **KEY, recipe="btc") as journal:
        assert journal.hashes(24) == ["BB"]
        assert [row.nonce for row in journal.under_way()] == [24]
        assert journal.move(24, "broadcast").tx_content == b"bytes"
    with Journal(wallet, ManualClock(NOW), **{**KEY, "topic_id": 5}, recipe="other") as journal:
        journal.seen(12, 20)
    assert len(read_journal(recipe)) == 3
    assert len(read_journal(wallet)) == 4


def test_a_recipe_that_changes_its_wallet_is_seen_through_the_new_link(tmp_path):
    for name in ("one", "two"):
        with Journal(tmp_path / f"wallet.{name}.db", ManualClock(NOW), **KEY, recipe="btc") as journal:
            journal.seen(1 if name == "one" else 2, 9)
        link_recipe(tmp_path / f"wallet.{name}.db", "btc")
    assert [row.nonce for row in read_journal(tmp_path / "btc.db")] == [2]


def test_topics_share_a_file_and_see_only_their_own(tmp_path):
    clock = ManualClock(NOW)
    with (
        Journal(tmp_path / "w.db", clock, **KEY) as one,
        Journal(tmp_path / "w.db", clock, **{**KEY, "topic_id": 78}) as two,
        Journal(tmp_path / "w.db", clock, **KEY, role="reputer") as three,
    ):
        to_signed(one)
        to_signed(two)
        three.seen(12, 40)
        assert [row.topic_id for row in one.under_way()] == [77, 78]
        assert (three.row(12).state, one.newest(), three.newest()) == ("seen", 12, 12)
        one.move(12, "signed", tx_hash="CC", tx_content=b"more", sequence=4)
        assert (one.hashes(12), two.hashes(12)) == (["CC", "AA"], ["AA"])
        one.move(12, "broadcast")
        one.move(12, "included")
        one.move(12, "left_out", reason_code="left_out", reason="x")
        assert one.unfinished() == []
        assert [row.nonce for row in one.left_out(0)] == [12]
        assert one.move(12, "scored", score=0.1).reason_code == "left_out"
