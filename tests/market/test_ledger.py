"""The gap ledger: gap arithmetic, and causes that are kept apart."""

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crucible.errors import StoreError
from crucible.market.ledger import SETTLED, GapLedger, Note
from crucible.market.series import find_gaps, joined_gaps
from crucible.market.store import Gap

FIVE = timedelta(minutes=5)
STEP = 300_000_000
START = datetime(2026, 1, 1, tzinfo=UTC)
CAUSES = ("no trades", "exchange down", "failed fetch", "disagreement")


def at(index):
    return START + index * FIVE


def note(low, high, cause="exchange down", detail=""):
    return Note(at(low), at(high), cause, "binance", START, detail)


@pytest.fixture
def ledger(tmp_path, series):
    return GapLedger(tmp_path / "series", series)


@given(st.sets(st.integers(0, 300), min_size=1), st.lists(st.integers(1, 300), max_size=4))
def test_gaps_are_exactly_what_is_missing(present, cuts):
    indices = np.array(sorted(present))
    times = indices * STEP
    gaps = find_gaps(times, FIVE)
    missing = set(range(indices[0], indices[-1] + 1)) - present
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    told = [(gap.start - epoch) // FIVE + i for gap in gaps for i in range(gap.bars)]
    assert sorted(told) == sorted(missing)
    assert all(left.end < right.start for left, right in itertools.pairwise(gaps))
    # and the same when the series is looked at in parts
    edges = [0, *sorted({cut for cut in cuts if cut < len(times)}), len(times)]
    parts = [times[low:high] for low, high in itertools.pairwise(edges) if low < high]
    pieces = [
        (epoch + part[0] // STEP * FIVE, epoch + part[-1] // STEP * FIVE, find_gaps(part, FIVE)) for part in parts
    ]
    assert joined_gaps(pieces, FIVE) == gaps


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12), st.sampled_from(CAUSES)), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=4),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_the_newest_note_on_each_bar_counts(tmp_path_factory, series, written, forgotten):
    ledger = GapLedger(tmp_path_factory.mktemp("ledger"), series)
    model = {}
    for low, length, cause in written:
        ledger.add([note(low, low + length, cause)])
        model |= dict.fromkeys(range(low, low + length), cause)
    for low, length in forgotten:
        ledger.forget([(at(low), at(low + length))])
        for index in range(low, low + length):
            model.pop(index, None)
    notes = ledger.notes()
    assert list(notes) == sorted(notes)
    assert all(left.end <= right.start for left, right in itertools.pairwise(notes))
    told = {
        (item.start - START) // FIVE + i: item.cause for item in notes for i in range((item.end - item.start) // FIVE)
    }
    assert told == model
    pieces = ledger.explain([Gap(at(0), at(80), 80)])
    assert sum(piece.bars for piece in pieces) == 80
    for piece in pieces:
        first = (piece.start - START) // FIVE
        assert {model.get(first + i, "not fetched") for i in range(piece.bars)} == {piece.cause}
    settled = {(low - START) // FIVE + i for low, high in ledger.settled() for i in range((high - low) // FIVE)}
    assert settled == {index for index, cause in model.items() if cause in SETTLED}


def test_neighbours_that_say_the_same_are_one_entry(ledger):
    ledger.add([note(0, 5), note(9, 12)])
    ledger.add([note(5, 9)])
    assert [(item.start, item.end) for item in ledger.notes()] == [(at(0), at(12))]
    ledger.add([note(3, 4, "disagreement", "coinbase differs by 3%")])
    assert [item.cause for item in ledger.notes()] == ["exchange down", "disagreement", "exchange down"]


def test_an_empty_ledger_is_no_file_and_a_damaged_one_is_named(ledger):
    assert ledger.notes() == ()
    ledger.add([])
    assert not ledger.folder.exists()
    ledger.add([note(0, 1)])
    path = ledger.folder / "gaps.json"
    for text in ("{", '[{"start": 1}]', path.read_text().replace("exchange down", "the dog ate it")):
        path.write_text(text)
        with pytest.raises(StoreError, match=r"gaps\.json is damaged.*found out anew"):
            ledger.notes()
