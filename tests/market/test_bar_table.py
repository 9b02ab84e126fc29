from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from crucible.errors import SchemaError
from crucible.market.bars import BAR_SCHEMA, ceil_micros, check_bars, empty_bars, floor_time, from_micros, open_times

FIVE = timedelta(minutes=5)
START = datetime(2026, 1, 1, tzinfo=UTC)


def changed(table, name, row, value):
    values = table[name].to_pylist()
    values[row] = value
    return table.set_column(table.column_names.index(name), name, pa.array(values, type=table[name].type))


def test_a_good_table_comes_back_in_the_schema_without_other_columns(make_bars):
    table = make_bars(50).append_column("trades", pa.array(range(50)))
    shuffled = table.select(["volume", "trades", "close", "open_time", "low", "high", "open"])
    bars = check_bars(shuffled, FIVE, "bars")
    assert bars.schema.equals(BAR_SCHEMA)
    assert bars["close"].equals(table["close"])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_other_units_and_zones_mean_the_same_instants(make_bars, unit, zone):
    table = make_bars(10)
    other = table.set_column(0, "open_time", table["open_time"].cast(pa.timestamp(unit, zone)))
    assert check_bars(other, FIVE, "bars").equals(check_bars(table, FIVE, "bars"))


def test_gaps_are_legal_and_whole_numbers_are_numbers(make_bars):
    table = make_bars(20, missing=(3, 4, 9))
    whole = table.set_column(5, "volume", pa.array([1] * 17, pa.int32()))
    assert check_bars(whole, FIVE, "bars").num_rows == 17


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop_columns(["high"]), "bars has no column 'high'; it has: open_time, open, low"),
        (lambda t: t.slice(0, 0), "bars holds no bars"),
        (lambda t: t.take([0, 2, 1, 3]), "not sorted: row 2 opens at 2026-01-01T00:05:00"),
        (lambda t: t.take([0, 1, 1, 2]), "holds the bar of 2026-01-01T00:05:00.*twice .row 2"),
        (lambda t: changed(t, "open_time", 2, START + timedelta(minutes=11)), "row 2 .* not on the grid of 5m"),
        (lambda t: changed(t, "close", 3, float("nan")), "close is nan in row 3"),
        (lambda t: changed(t, "open", 3, float("inf")), "open is inf in row 3"),
        (lambda t: changed(t, "low", 1, 0.0), "low is 0.0 in row 1; it must be a finite number above 0"),
        (lambda t: changed(t, "close", 1, -5.0), "close is -5.0 in row 1"),
        (lambda t: changed(t, "volume", 1, -1.0), "volume is -1.0 in row 1; it must be a finite number 0 or more"),
        (lambda t: changed(t, "high", 4, 1e-9), "row 4 is impossible"),
        (lambda t: changed(t, "close", 2, None), "'close' is empty in row 2"),
        (lambda t: changed(t, "open_time", 2, None), "'open_time' is empty in row 2"),
        (lambda t: t.set_column(4, "close", t["close"].cast(pa.string())), "'close' is string; it must be numeric"),
        (lambda t: t.set_column(0, "open_time", t["open_time"].cast(pa.timestamp("us"))), "with a time zone"),
        (lambda t: t.set_column(0, "open_time", pa.array(["2026"] * len(t))), "open_time is string"),
    ],
)
def test_each_fault_is_named_with_its_row(make_bars, change, words):
    with pytest.raises(SchemaError, match=words):
        check_bars(change(make_bars(10)), FIVE, "bars")


def test_a_fraction_of_a_microsecond_is_not_rounded_away(make_bars):
    times = pa.array(open_times(make_bars(10)) * 1000 + 1, pa.int64()).cast(pa.timestamp("ns", "UTC"))
    with pytest.raises(SchemaError, match="open_time"):
        check_bars(make_bars(10).set_column(0, "open_time", times), FIVE, "bars")


def test_a_wrong_interval_is_noticed(make_bars):
    with pytest.raises(SchemaError, match="not on the grid of 1h bars; is the interval right"):
        check_bars(make_bars(10), timedelta(hours=1), "bars")


def test_times_on_the_grid():
    at = datetime(2026, 1, 1, 0, 7, 1, tzinfo=UTC)
    assert floor_time(at, FIVE) == START + FIVE
    assert from_micros(ceil_micros(at, FIVE)) == START + 2 * FIVE
    assert from_micros(ceil_micros(START, FIVE)) == START
    assert empty_bars().num_rows == 0
    assert open_times(empty_bars()).dtype == np.int64
