"""The rolling window, against a dictionary that does the same slowly."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible.market.bars import check_bars
from crucible.market.window import BarWindow

FIVE = timedelta(minutes=5)
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(index):
    return START + index * FIVE


@settings(max_examples=60)
@given(
    capacity=st.integers(1, 40),
    steps=st.lists(
        st.tuples(st.integers(0, 119), st.integers(1, 20), st.booleans(), st.integers(0, 2)), min_size=1, max_size=12
    ),
    grown=st.integers(0, 60),
    end=st.integers(0, 140),
)
def test_it_holds_the_newest_bars_and_knows_its_holes(make_bars, capacity, steps, grown, end):
    versions = [check_bars(make_bars(140, seed=seed), FIVE, "bars") for seed in range(3)]
    window, model, reach = BarWindow(FIVE, capacity), {}, None

    def prune():
        for index in [index for index in model if index < reach - window.capacity]:
            del model[index]

    for number, (low, count, own, version) in enumerate(steps):
        if number == len(steps) // 2:
            window.grow(grown)
        reach = max(reach or 0, low + count)
        expected = 0
        for index in range(low, low + count):
            if index < reach - window.capacity:
                continue
            old = model.get(index)
            if own:
                expected += old is not None and old[1] and old[0] != version
                model[index] = version, True
            elif old is None:
                model[index] = version, False
        prune()
        assert window.put(versions[version].slice(low, count), own=own) == expected
        assert window.newest_close == at(reach)
    found = window.bars(at(0), at(140))
    expected = [versions[model[index][0]].slice(index, 1) for index in sorted(model)]
    assert found.equals(pa.concat_tables(expected).combine_chunks())
    holes = {
        index for low, high in window.holes(at(end)) for index in range((low - START) // FIVE, (high - START) // FIVE)
    }
    first = max(end, reach) - window.capacity
    assert holes == {index for index in range(first, end) if not model.get(index, (0, False))[1]}


def test_what_the_source_has_not_got_is_no_hole_until_it_comes(make_bars):
    bars = check_bars(make_bars(30, missing=(5, 6)), FIVE, "bars")
    window = BarWindow(FIVE, 30)
    assert window.newest_close is None
    assert window.holes(at(30)) == [(at(0), at(30))]
    assert window.bars(at(0), at(9)).num_rows == 0
    window.note_absent(at(0))
    window.put(bars)
    assert window.holes(at(30)) == [(at(5), at(7))]
    window.note_absent(at(6))
    assert window.holes(at(30)) == [(at(5), at(6))]
    window.note_absent(at(0))
    assert window.holes(at(30)) == []
    assert window.holes(at(32)) == [(at(30), at(32))]
    whole = check_bars(make_bars(30), FIVE, "bars")
    assert window.put(whole.slice(5, 2)) == 0
    assert window.bars(at(5), at(7)).num_rows == 2
