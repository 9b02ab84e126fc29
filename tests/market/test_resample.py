"""Longer bars against a slow reference in plain Python, and against independently collected ones."""

import math
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible.errors import SchemaError
from crucible.market.bars import BAR_SCHEMA, check_bars
from crucible.market.files import read_bar_file
from crucible.market.resample import resample

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def reference(rows, base, interval, offset, complete, closed_at):
    """The definition, one bar at a time."""
    found, left_out = [], 0
    buckets = {}
    for row in sorted(rows, key=lambda row: row["open_time"]):
        opened = row["open_time"] - (row["open_time"] - EPOCH - offset) % interval
        buckets.setdefault(opened, []).append(row)
    for opened, parts in sorted(buckets.items()):
        if opened + interval > closed_at:
            continue
        if len(parts) < math.ceil(complete * (interval // base) - 1e-9):
            left_out += 1
            continue
        found.append(
            {
                "open_time": opened,
                "open": parts[0]["open"],
                "high": max(part["high"] for part in parts),
                "low": min(part["low"] for part in parts),
                "close": parts[-1]["close"],
                "volume": sum(part["volume"] for part in parts),
            }
        )
    return found, left_out


@settings(max_examples=60)
@given(
    rows=st.integers(1, 400),
    missing=st.sets(st.integers(0, 399), max_size=150),
    multiple=st.sampled_from([1, 3, 5, 15, 60]),
    shift=st.integers(0, 59),
    complete=st.sampled_from([0.01, 0.5, 0.8, 0.95, 1.0]),
    seed=st.integers(0, 5),
    late=st.none() | st.integers(0, 500),
)
def test_every_bar_is_the_reference_s(make_bars, rows, missing, multiple, shift, complete, seed, late):
    keep = tuple(index for index in missing if index < rows)
    table = make_bars(rows, seed=seed, interval=MINUTE, missing=keep)
    if not table.num_rows:
        return
    bars = check_bars(table, MINUTE, "bars")
    interval, offset = multiple * MINUTE, (shift % multiple) * MINUTE
    closed_at = None if late is None else START + late * MINUTE
    last = bars["open_time"][-1].as_py() + MINUTE
    expected, left_out = reference(bars.to_pylist(), MINUTE, interval, offset, complete, closed_at or last)
    made = resample(bars, MINUTE, interval, offset=offset, complete=complete, closed_at=closed_at)
    if multiple == 1:
        assert made.bars.equals(bars)
        return
    assert made.bars.schema.equals(BAR_SCHEMA)
    found = made.bars.to_pylist()
    assert [{**row, "volume": 0.0} for row in found] == [{**row, "volume": 0.0} for row in expected]
    assert [row["volume"] for row in found] == pytest.approx([row["volume"] for row in expected], rel=1e-12)
    assert made.incomplete == left_out
    # the order of the rows and a second run change no bit
    again = resample(bars.take(pa.array(range(bars.num_rows - 1, -1, -1))), MINUTE, interval, offset=offset,
                     complete=complete, closed_at=closed_at)  # fmt: skip
    assert again.bars.drop_columns(["volume"]).equals(made.bars.drop_columns(["volume"]))
    assert resample(bars, MINUTE, interval, offset=offset, complete=complete, closed_at=closed_at).bars.equals(
        made.bars
    )


def test_a_topic_that_ends_at_three_past_has_bars_that_end_at_three_past(make_bars):
    bars = check_bars(make_bars(600, interval=MINUTE), MINUTE, "bars")
    made = resample(bars, MINUTE, HOUR, offset=3 * MINUTE).bars
    assert [at.minute for at in made["open_time"].to_pylist()] == [3] * 9
    assert made["close"][0].as_py() == bars["close"][62].as_py()  # the minute from 01:02 to 01:03
    assert made["open"][0].as_py() == bars["open"][3].as_py()


def test_an_hour_of_one_minute_is_not_an_hour(make_bars):
    bars = check_bars(make_bars(180, interval=MINUTE, missing=tuple(range(61, 120))), MINUTE, "bars")
    made = resample(bars, MINUTE, HOUR)
    assert [at.hour for at in made.bars["open_time"].to_pylist()] == [0, 2]
    assert made.incomplete == 1
    assert resample(bars, MINUTE, HOUR, complete=1 / 60).incomplete == 0


def test_the_hour_that_is_not_over_is_not_a_bar(make_bars):
    bars = check_bars(make_bars(119, interval=MINUTE), MINUTE, "bars")
    assert resample(bars, MINUTE, HOUR, complete=0.5).bars.num_rows == 1
    known_to_be_over = resample(bars, MINUTE, HOUR, complete=0.5, closed_at=START + 2 * HOUR)
    assert known_to_be_over.bars.num_rows == 2


def test_lengths_that_do_not_fit_are_refused(make_bars):
    bars = check_bars(make_bars(10), 5 * MINUTE, "bars")
    for interval, offset in ((7 * MINUTE, 0 * MINUTE), (HOUR, 3 * MINUTE), (HOUR, HOUR), (HOUR, -5 * MINUTE)):
        with pytest.raises(SchemaError, match="cannot be made of bars of 5m"):
            resample(bars, 5 * MINUTE, interval, offset=offset)
    with pytest.raises(SchemaError, match="complete to a share above 0 and at most 1, not 0"):
        resample(bars, 5 * MINUTE, HOUR, complete=0)


@pytest.mark.conformance
@pytest.mark.parametrize(("symbol", "hours"), [("BTCUSDT", 9982), ("ETHUSDT", 9979), ("SOLUSDT", 9982)])
def test_real_five_minute_bars_make_the_independent_hourly_ones(shared, symbol, hours):
    fine = read_bar_file(shared / "data" / f"{symbol}_5m_binance.parquet", symbol, 5 * MINUTE)
    coarse = read_bar_file(shared / "data" / f"{symbol}_1h_binance.parquet", symbol, HOUR, allow_gaps=True)
    made = resample(fine, 5 * MINUTE, HOUR)
    assert made.incomplete == 0
    both = made.bars.join(coarse, "open_time", right_suffix="_hourly", join_type="inner").sort_by("open_time")
    assert both.num_rows == hours
    for name in ("open", "high", "low", "close"):
        assert both[name].to_numpy().tolist() == both[f"{name}_hourly"].to_numpy().tolist()
    # a sum of decimals in binary: equal to the last digit that the exchange states
    assert both["volume"].to_numpy().round(6).tolist() == both["volume_hourly"].to_numpy().round(6).tolist()
