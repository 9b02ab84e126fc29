import hashlib
import itertools
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crucible.errors import ProcessError, SchemaError, StoreError
from crucible.market.bars import BAR_SCHEMA, check_bars
from crucible.market.lock import exclusive
from crucible.market.store import BarStore, Gap, Series

FIVE = timedelta(minutes=5)
HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


def snapshot(root):
    """Path and content hash of every file that is not a lock."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in (".lock", "manifest.json")  # a manifest says when
    }


def test_what_is_written_is_read_in_monthly_partitions(store, series, make_bars):
    bars = make_bars(12 * 24 * 60)  # January, February and a day of March
    report = store.write(series, bars)
    assert (report.rows_new, report.rows_changed, report.partitions) == (17280, 0, 3)
    folder = store.root / "source=binance" / "symbol=BTCUSDT" / "interval=5m"
    assert store.files(series) == [folder / f"month=2026-0{month}" / "bars.parquet" for month in (1, 2, 3)]
    assert store.read(series).equals(check_bars(bars, FIVE, "bars"))
    assert store.read(series).schema.equals(BAR_SCHEMA)
    assert store.series() == [series]
    for path in store.files(series):
        stored = pq.read_table(path, partitioning=None)
        assert {at.strftime("month=%Y-%m") for at in stored["open_time"].to_pylist()} == {path.parent.name}


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        (START + FIVE, START + 3 * FIVE),
        (START + timedelta(seconds=1), START + FIVE + timedelta(seconds=1)),
        (datetime(2026, 1, 31, 23, 50, tzinfo=UTC), datetime(2026, 2, 1, 0, 10, tzinfo=UTC)),
        (None, datetime(2026, 2, 1, tzinfo=UTC)),
        (datetime(2026, 2, 1, tzinfo=UTC), None),
        (START - timedelta(days=400), START),
        (START + timedelta(days=400), None),
        (START + 5 * FIVE, START),
    ],
)
def test_ranges_are_half_open(store, series, make_bars, start, end):
    bars = check_bars(make_bars(12 * 24 * 40), FIVE, "bars")
    store.write(series, bars)
    expected = [
        at for at in bars["open_time"].to_pylist() if (start is None or at >= start) and (end is None or at < end)
    ]
    assert store.read(series, start, end)["open_time"].to_pylist() == expected


def test_writing_the_same_bars_again_changes_no_byte_and_no_file(store, series, make_bars):
    bars = make_bars(12 * 24 * 40)
    store.write(series, bars)
    before, touched = snapshot(store.root), [path.stat().st_mtime_ns for path in store.files(series)]
    report = store.write(series, bars)
    assert (report.rows_new, report.rows_changed, report.partitions) == (0, 0, 0)
    assert snapshot(store.root) == before
    assert [path.stat().st_mtime_ns for path in store.files(series)] == touched
    other = BarStore(store.root.parent / "other")
    other.write(series, bars)
    assert snapshot(other.root) == before


@given(
    cuts=st.lists(st.integers(1, 399), max_size=6), order=st.randoms(use_true_random=False), overlap=st.integers(0, 40)
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_split_order_and_overlap_of_writes_gives_the_same_bytes(tmp_path_factory, make_bars, cuts, order, overlap):
    hourly = Series("binance", "BTCUSDT", HOUR)
    bars = make_bars(1000, interval=HOUR, missing=tuple(range(300, 320)))
    whole = BarStore(tmp_path_factory.mktemp("whole"))
    whole.write(hourly, bars)
    edges = [0, *sorted({2 * cut for cut in cuts}), bars.num_rows]
    pieces = [bars.slice(low, high - low + overlap) for low, high in itertools.pairwise(edges)]
    order.shuffle(pieces)
    parts = BarStore(tmp_path_factory.mktemp("parts"))
    for piece in pieces:
        parts.write(hourly, piece)
    assert snapshot(parts.root) == snapshot(whole.root)
    assert parts.digest(hourly) == whole.digest(hourly)


def test_the_newer_bar_wins_and_is_counted(store, series, make_bars):
    bars = make_bars(100)
    store.write(series, bars)
    first = store.digest(series)
    corrected = make_bars(100, seed=9).slice(40, 10)
    report = store.write(series, corrected)
    assert (report.rows_new, report.rows_changed, report.partitions) == (0, 10, 1)
    assert store.read(series, START + 40 * FIVE, START + 50 * FIVE).equals(check_bars(corrected, FIVE, "bars"))
    assert store.digest(series) != first
    assert store.digest(series, end=START + 40 * FIVE) == BarStore(store.root).digest(series, end=START + 40 * FIVE)


def test_the_digest_is_of_the_bars_alone(store, series, make_bars):
    bars = make_bars(200)
    store.write(series, bars)
    ethereum = Series("binance", "ETHUSDT", FIVE)
    store.write(ethereum, bars.slice(0, 150))
    assert store.digest(series, end=START + 150 * FIVE) == store.digest(ethereum)
    assert store.digest(series) != store.digest(ethereum)


def test_coverage_tells_every_gap(store, series, make_bars):
    store.write(series, make_bars(9000, missing=(5, 6, 7, 4000, 8930, 8931)))
    coverage = store.coverage(series)
    assert (coverage.first, coverage.last) == (START, START + 8999 * FIVE)
    assert (coverage.rows, coverage.missing) == (8994, 6)
    assert coverage.gaps == (
        Gap(START + 5 * FIVE, START + 8 * FIVE, 3),
        Gap(START + 4000 * FIVE, START + 4001 * FIVE, 1),
        Gap(START + 8930 * FIVE, START + 8932 * FIVE, 2),
    )
    nothing = store.coverage(Series("binance", "ETHUSDT", FIVE))
    assert (nothing.first, nothing.last, nothing.rows, nothing.gaps) == (None, None, 0, ())
    assert store.read(Series("binance", "ETHUSDT", FIVE)).schema.equals(BAR_SCHEMA)


def test_intervals_of_one_symbol_do_not_meet(store, series, make_bars):
    hourly = Series("binance", "BTCUSDT", HOUR)
    store.write(series, make_bars(100))
    store.write(hourly, make_bars(50, interval=HOUR))
    assert store.coverage(series).rows == 100
    assert store.coverage(hourly).rows == 50
    assert sorted(store.series()) == sorted([series, hourly])


def test_unusable_bars_leave_the_store_as_it_was(store, series, make_bars):
    store.write(series, make_bars(100))
    before = snapshot(store.root)
    with pytest.raises(SchemaError, match="The bars for binance BTCUSDT 5m is not sorted"):
        store.write(series, make_bars(100).take([1, 0]))
    assert snapshot(store.root) == before


def test_names_that_would_leave_the_folder_are_refused():
    for source, symbol in (("../x", "BTCUSDT"), ("binance", "../../BTC"), ("Binance", "BTCUSDT"), ("binance", "")):
        with pytest.raises(SchemaError):
            Series(source, symbol, FIVE)


@pytest.mark.parametrize("kind", ["cut", "flipped", "garbage", "empty", "other"])
def test_a_damaged_partition_is_named_and_not_touched(store, series, make_bars, kind):
    store.write(series, make_bars(3000))
    path = store.files(series)[0]
    content = bytearray(path.read_bytes())
    if kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "flipped":
        content[len(content) // 3] ^= 0x10
        path.write_bytes(content)
    elif kind == "other":
        pq.write_table(pa.table({"x": [1]}), path)
    else:
        path.write_bytes(b"not parquet" if kind == "garbage" else b"")
    broken = path.read_bytes()
    for action in (
        lambda: store.read(series),
        lambda: store.write(series, make_bars(3100)),
        lambda: store.digest(series),
    ):
        with pytest.raises(StoreError, match=r"month=2026-01/bars\.parquet"):
            action()
    assert path.read_bytes() == broken


def test_a_second_writer_waits_and_then_says_so(store, series, make_bars):
    folder = series.folder(store.root) / "month=2026-01"
    with exclusive(folder, "x", 1), pytest.raises(ProcessError, match="BTCUSDT 5m 2026-01 is being written by another"):
        store.write(series, make_bars(10))
    store.write(series, make_bars(10))
    patient = BarStore(store.root, patience=5)
    holding, release = threading.Event(), threading.Event()

    def hold():
        with exclusive(folder, "x", 1):
            holding.set()
            release.wait(5)

    holder = threading.Thread(target=hold)
    holder.start()
    holding.wait(5)
    threading.Timer(0.2, release.set).start()
    assert patient.write(series, make_bars(20)).rows_new == 10
    holder.join()


def test_writers_of_different_months_do_not_wait_for_each_other(store, series, make_bars):
    bars = make_bars(12 * 24 * 40)
    with exclusive(series.folder(store.root) / "month=2026-01", "x", 1):
        started = time.monotonic()
        assert store.write(series, bars.slice(12 * 24 * 31)).months == ("2026-02",)
        assert time.monotonic() - started < store.patience
        with pytest.raises(
            ProcessError, match=r"binance BTCUSDT 5m 2026-01 is being written by another process \(pid \d+\)"
        ):
            store.write(series, bars)  # both months: none is written
    assert store.coverage(series).rows == 12 * 24 * 9


def test_writers_at_the_same_time_lose_nothing(store, series, make_bars):
    bars = make_bars(2000)
    patient = BarStore(store.root, patience=30)
    threads = [
        threading.Thread(target=patient.write, args=(series, bars.slice(low, 200))) for low in range(0, 2000, 200)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read(series).equals(check_bars(bars, FIVE, "bars"))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
from datetime import timedelta
from crucible.errors import StoreError
from crucible.market.store import BarStore, Series
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
bars = pq.read_table(sys.argv[2])
try:
    BarStore(Path(sys.argv[1])).write(Series("binance", "BTCUSDT", timedelta(minutes=5)), bars)
except StoreError as error:
    print(error)
    sys.exit(7)
"""


def test_a_full_disk_leaves_the_store_as_it_was(store, series, make_bars, tmp_path):
    days = 12 * 24
    small, large = make_bars(35 * days).slice(21 * days), make_bars(59 * days, seed=1).slice(21 * days)
    pq.write_table(large, tmp_path / "new.parquet")
    roomy = BarStore(tmp_path / "roomy")
    roomy.write(series, large)
    january, february = (path.stat().st_size for path in roomy.files(series))
    assert january < 200_000 < february  # the first one is staged when the second one fails: neither may change
    store.write(series, small)
    before = snapshot(store.root)
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, store.root, tmp_path / "new.parquet"], capture_output=True, text=True
    )
    assert run.returncode == 7, run.stderr
    assert "cannot be written: File too large." in run.stdout
    assert snapshot(store.root) == before
    assert store.read(series).equals(check_bars(small, FIVE, "bars"))


def test_an_unwritable_root_is_one_sentence(tmp_path, series, make_bars):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written: Not a directory"):
        BarStore(tmp_path / "file" / "bars").write(series, make_bars(10))


def test_litter_of_a_killed_writer_is_removed_and_never_read(store, series, make_bars):
    store.write(series, make_bars(10))
    litter = store.files(series)[0].with_name(".bars.parquet.999999.tmp")
    litter.write_bytes(b"half a file")
    assert store.coverage(series).rows == 10
    store.write(series, make_bars(11))
    assert not litter.exists()


def test_negative_zero_is_zero(store, series, make_bars):
    bars = make_bars(10)
    zero, minus = (bars.set_column(5, "volume", pa.array(np.full(10, value))) for value in (0.0, -0.0))
    store.write(series, zero)
    before, digest = snapshot(store.root), store.digest(series)
    other = BarStore(store.root.parent / "other")
    other.write(series, minus)
    assert other.digest(series) == digest
    assert snapshot(other.root) == before
