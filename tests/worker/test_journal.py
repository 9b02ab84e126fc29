import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.clock import ManualClock, SystemClock
from crucible.errors import StoreError
from crucible.worker.deployment import STALE_SECONDS, Actual
from crucible.worker.journal import FOLLOWS, TERMINAL, Journal, read_journal

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
