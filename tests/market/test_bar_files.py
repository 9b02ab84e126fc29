from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from crucible.errors import DataError, GapError, SchemaError
from crucible.market.bars import check_bars, open_times
from crucible.market.files import read_bar_file
from crucible.market.store import BarStore, Series

FIVE = timedelta(minutes=5)
HEADER = "open_time,open,high,low,close,volume"


def write(table, path):
    (pq.write_table if path.suffix == ".parquet" else pacsv.write_csv)(table, path)
    return path


@pytest.fixture(params=["parquet", "csv"])
def path(request, tmp_path):
    return tmp_path / f"bars.{request.param}"


def test_both_kinds_give_the_same_bars(path, make_bars):
    table = (
        make_bars(100).append_column("symbol", pa.array(["BTCUSDT"] * 100)).append_column("trades", pa.array([1] * 100))
    )
    for symbol in ("BTCUSDT", None):
        assert read_bar_file(write(table, path), symbol, FIVE).equals(check_bars(make_bars(100), FIVE, "bars"))


@pytest.mark.parametrize("unit", [1000, 1])
def test_binances_counts_are_milliseconds_or_microseconds(path, make_bars, unit):
    table = make_bars(10)
    counted = table.set_column(0, "open_time", pa.array(open_times(table) // unit))
    assert read_bar_file(write(counted, path), None, FIVE).equals(check_bars(table, FIVE, "bars"))


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00Z", "2026-01-01 02:00:00+02:00", "2026-01-01T00:00:00.000Z"])
def test_text_times_with_a_zone(tmp_path, text):
    (tmp_path / "bars.csv").write_text(f"{HEADER}\n{text},1,2,0.5,1.5,10\n")
    bars = read_bar_file(tmp_path / "bars.csv", None, FIVE)
    assert bars["open_time"].to_pylist() == [datetime(2026, 1, 1, tzinfo=UTC)]


def test_rows_of_one_symbol_are_chosen(path, make_bars):
    table = make_bars(20)
    both = pa.concat_tables(
        [
            table.append_column("symbol", pa.array(["BTCUSDT"] * 20)),
            make_bars(20, seed=1).append_column("symbol", pa.array(["ETHUSDT"] * 20)),
        ]
    )
    write(both, path)
    assert read_bar_file(path, "BTCUSDT", FIVE).equals(check_bars(table, FIVE, "bars"))
    with pytest.raises(SchemaError, match=r"several symbols .BTCUSDT, ETHUSDT.; say which one with --symbol"):
        read_bar_file(path, None, FIVE)
    with pytest.raises(SchemaError, match="no rows of SOLUSDT; it holds BTCUSDT, ETHUSDT"):
        read_bar_file(path, "SOLUSDT", FIVE)


def test_gaps_need_leave_and_stay_gaps(path, make_bars):
    write(make_bars(50, missing=(10, 11, 30)), path)
    with pytest.raises(
        GapError, match=r"misses 2 bars of 5m from 2026-01-01T00:50:00.*1 more gaps, 3 bars.*--allow-gaps"
    ):
        read_bar_file(path, None, FIVE)
    assert read_bar_file(path, None, FIVE, allow_gaps=True).num_rows == 47


BAD_TABLES = {
    "unsorted": (lambda t: t.take([0, 2, 1]), SchemaError, "is not sorted: row 2"),
    "duplicated": (lambda t: t.take([0, 1, 1]), SchemaError, "twice .row 2."),
    "no rows": (lambda t: t.slice(0, 0), SchemaError, "holds no bars"),
    "no column": (lambda t: t.drop_columns(["close"]), SchemaError, "no column 'close'"),
    "no times": (lambda t: t.drop_columns(["open_time"]), SchemaError, "no column 'open_time'"),
    "words": (
        lambda t: t.set_column(4, "close", pa.array(["a"] * len(t))),
        SchemaError,
        "column 'close' is string; it must be numeric",
    ),
    "word times": (lambda t: t.set_column(0, "open_time", pa.array(["yesterday"] * len(t))), SchemaError, "ISO 8601"),
    "null": (
        lambda t: t.set_column(4, "close", pa.array([1.0] + [None] * (len(t) - 1))),
        SchemaError,
        "empty in row 1",
    ),
}


@pytest.mark.parametrize("name", list(BAD_TABLES))
def test_a_faulty_file_is_one_sentence_and_changes_no_store(path, make_bars, name):
    change, kind, words = BAD_TABLES[name]
    write(change(make_bars(5)), path)
    with pytest.raises(kind, match=words) as failure:
        read_bar_file(path, None, FIVE)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_time_without_a_zone_is_refused(tmp_path, make_bars):
    (tmp_path / "bars.csv").write_text(f"{HEADER}\n2026-01-01T00:00:00,1,2,0.5,1.5,10\n")
    with pytest.raises(SchemaError, match="with a zone, for example 2026-01-01T00:00:00Z"):
        read_bar_file(tmp_path / "bars.csv", None, FIVE)
    table = make_bars(5)
    naive = table.set_column(0, "open_time", table["open_time"].cast(pa.timestamp("us")))
    with pytest.raises(SchemaError, match="time zone"):
        read_bar_file(write(naive, tmp_path / "bars.parquet"), None, FIVE)


def test_a_file_that_is_not_there_empty_or_garbage(path):
    with pytest.raises(DataError, match="There is no bar file"):
        read_bar_file(path, None, FIVE)
    path.touch()
    with pytest.raises(SchemaError, match="is an empty file"):
        read_bar_file(path, None, FIVE)
    path.write_bytes(bytes(range(256)) * 20)
    with pytest.raises(DataError, match=r"bars\."):
        read_bar_file(path, None, FIVE)
    with pytest.raises(DataError, match="There is no bar file"):
        read_bar_file(path.parent, None, FIVE)
    (path.parent / "bars.xlsx").write_text("x")
    with pytest.raises(DataError, match=r"neither \.parquet, \.csv nor \.feather"):
        read_bar_file(path.parent / "bars.xlsx", None, FIVE)


def test_an_unreadable_file_is_one_sentence(path, make_bars, monkeypatch):
    write(make_bars(5), path)
    path.chmod(0)
    try:
        path.open().close()
    except PermissionError:
        with pytest.raises(DataError, match="cannot be read"):
            read_bar_file(path, None, FIVE)
    else:
        pytest.skip("this user reads files whatever their mode, so this case DID NOT RUN")
    finally:
        path.chmod(0o600)


def test_a_ragged_csv_is_one_sentence(tmp_path):
    (tmp_path / "bars.csv").write_text(f"{HEADER}\n2026-01-01T00:00:00Z,1,2\n")
    with pytest.raises(DataError, match="cannot be read as csv"):
        read_bar_file(tmp_path / "bars.csv", None, FIVE)


@pytest.mark.conformance
@pytest.mark.parametrize(
    ("name", "symbol", "interval", "rows", "missing"),
    [
        ("BTCUSDT_1h_binance", "BTCUSDT", "1h", 73_265, 122),
        ("NEARUSDT_1h_binance", "NEARUSDT", "1h", 48_954, 20),
        ("BTCUSDT_5m_binance", "BTCUSDT", "5m", 119_784, 0),
        ("SOLUSDT_5m_binance", "SOLUSDT", "5m", 119_795, 0),
    ],
)
def test_real_files_are_read_stored_and_covered_as_their_provenance_says(
    shared, tmp_path, name, symbol, interval, rows, missing
):
    from crucible.duration import parse_duration

    length = parse_duration(interval)
    bars = read_bar_file(shared / "data" / f"{name}.parquet", symbol, length, allow_gaps=missing > 0)
    store, series = BarStore(tmp_path), Series("binance", symbol, length)
    assert store.write(series, bars).rows_new == rows
    coverage = store.coverage(series)
    assert (coverage.rows, coverage.missing) == (rows, missing)
    assert store.read(series).equals(bars)
