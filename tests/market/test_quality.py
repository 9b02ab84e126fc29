"""The quality suite: each planted fault is caught by name, real months pass, and what fails is kept apart."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from crucible.duration import parse_duration
from crucible.errors import DataError, StoreError
from crucible.market.bars import check_bars
from crucible.market.expectations import validate
from crucible.market.files import read_bar_file
from crucible.market.quality import SUITE, all_reports, bars_frame, inspect, read_report, reports_between
from crucible.market.quality_page import page, sparkline
from crucible.market.quarantine import accept, accepted, put_month_aside, quarantined
from crucible.market.series import Series

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
FIVE = timedelta(minutes=5)
START = datetime(2026, 1, 1, tzinfo=UTC)


def failed(frame):
    return {outcome.name for outcome in validate(frame, SUITE) if not outcome.passed}


def spoil(bars, column, row, factor):
    values = bars[column].to_numpy().copy()
    values[row] *= factor
    return bars.set_column(bars.column_names.index(column), bars.schema.field(column), pa.array(values))


def spiked(bars, row, factor=1.2):
    """A close that nobody paid, with the high or the low that goes with it."""
    side = "high" if factor > 1 else "low"
    return spoil(spoil(bars, "close", row, factor), side, row, factor)


@pytest.fixture
def bars(make_bars):
    return check_bars(make_bars(3000), FIVE, "bars")


def test_good_bars_pass(bars):
    assert failed(bars_frame(bars, FIVE)) == set()


@pytest.mark.parametrize(
    ("column", "row", "value", "expected"),
    [
        ("close", 5, -1.0, {"close_positive", "low_is_lowest"}),
        ("open", 5, np.nan, {"open_known"}),
        ("high", 5, 1.0, {"high_is_highest"}),
        ("low", 5, 1e6, {"low_is_lowest"}),
        ("volume", 5, -3.0, {"volume_not_negative"}),
        ("volume", 5, np.nan, {"volume_known"}),
        ("volume", 5, 1e9, {"volume_plausible"}),
        ("high", 9, 150.0, {"no_wick"}),
        ("low", 9, 50.0, {"no_wick"}),
        ("close", 9, 150.0, {"high_is_highest", "no_reversal", "no_jump"}),
    ],
)
def test_each_planted_fault_is_caught_by_name(bars, column, row, value, expected):
    frame = bars.to_pandas()
    frame.loc[row, column] = value
    assert failed(bars_frame(pa.Table.from_pandas(frame, preserve_index=False), FIVE)) == expected


def test_faults_of_the_grid_and_of_trading_are_caught(bars):
    twice = pa.concat_tables([bars.slice(0, 10), bars.slice(9)])
    assert failed(bars_frame(twice, FIVE)) == {"one_row_per_time", "ascending"}
    shifted = bars.set_column(
        0, "open_time", pa.array([at + timedelta(seconds=1) for at in bars["open_time"].to_pylist()])
    )
    assert failed(bars_frame(shifted, FIVE)) == {"on_grid"}
    silent = bars.set_column(5, "volume", pa.array(np.where(np.arange(3000) % 3, 0.0, 1.0)))
    assert failed(bars_frame(silent, FIVE)) == {"mostly_traded"}
    # ten times the price from one bar on, and staying there, is another unit or another symbol
    moved = bars
    for name in ("open", "high", "low", "close"):
        values = moved[name].to_numpy().copy()
        values[2000:] *= 10
        moved = moved.set_column(moved.column_names.index(name), name, pa.array(values))
    assert failed(bars_frame(moved, FIVE)) == {"no_jump"}


@pytest.mark.conformance
@pytest.mark.parametrize(
    "name", ["BTCUSDT_5m", "ETHUSDT_5m", "SOLUSDT_5m", "BTCUSDT_1h", "ETHUSDT_1h", "SOLUSDT_1h", "NEARUSDT_1h"]
)
def test_every_real_month_passes_crashes_and_all(shared, store, name):
    symbol, interval = name.split("_")
    series = Series("binance", symbol, parse_duration(interval))
    bars = read_bar_file(shared / "data" / f"{name}_binance.parquet", symbol, series.interval, allow_gaps=True)
    frame = bars_frame(bars, series.interval)
    months = frame["open_time"].dt.strftime("%Y-%m")
    # the scores are by month; the suite itself runs on the months with the largest of them
    worst = []
    for month in months.unique():
        part = bars_frame(bars.filter(pa.array((months == month).to_numpy())), series.interval)
        scores = part[["reversal_score", "wick_score", "jump_score", "volume_score"]].to_numpy()
        assert np.nanmax(scores) <= 1, month
        worst.append((float(np.nanmax(scores)), month))
    month = max(worst)[1]
    assert failed(bars_frame(bars.filter(pa.array((months == month).to_numpy())), series.interval)) == set()


def test_a_failing_month_is_kept_listed_and_not_served(store, series, bars, tmp_path):
    store.write(series, spiked(bars, 700))
    february = bars.set_column(
        0, bars.schema.field(0), pa.array([at + timedelta(days=31) for at in bars["open_time"].to_pylist()])
    )
    store.write(series, february)
    folder = tmp_path / "quality"
    good, bad = sorted(inspect(store, series, ["2026-01", "2026-02"], folder), key=lambda report: not report.passed)
    assert (good.month, good.passed, good.failed) == ("2026-02", True, [])
    assert (bad.month, bad.failed) == ("2026-01", ["no_reversal"])
    assert bad.suspects == [((START + 700 * FIVE).isoformat(), "no_reversal")]
    assert list(store.manifests(series)) == ["2026-02"]
    entry = quarantined(store)[0]
    assert (entry.series, entry.month, entry.bars) == (series, "2026-01", 3000)
    assert entry.why == f"no_reversal failed at {(START + 700 * FIVE).isoformat()}"
    notes = store.ledger(series).notes()
    assert [(note.start, note.end, note.cause) for note in notes] == [(START, START + 3000 * FIVE, "quarantined")]
    assert read_report(folder, series, "2026-01") == bad
    assert all_reports(folder) == [bad, good]
    assert json.loads((folder / "binance-BTCUSDT-5m" / "2026-01.json").read_text())["passed"] is False
    text = page(all_reports(folder), quarantined(store), "now")
    assert "no_reversal failed" in text
    assert text.count("<svg") == 2
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")  # self-contained


def test_a_person_can_accept_a_month_and_only_what_they_have_seen(store, series, bars, tmp_path):
    strange = spiked(bars, 700)
    store.write(series, strange)
    before = store.digest(series)
    inspect(store, series, ["2026-01"], tmp_path)
    assert store.read(series).num_rows == 0
    entry = quarantined(store, series)[0]
    with pytest.raises(DataError, match="Say why"):
        accept(store, entry, " ")
    accept(store, entry, "seen on two exchanges")
    assert store.digest(series) == before
    assert quarantined(store) == []
    assert store.ledger(series).notes() == ()
    assert accepted(store, series) == {(START + 700 * FIVE, "no_reversal")}
    assert inspect(store, series, ["2026-01"], tmp_path)[0].passed
    # another strange bar is another matter
    store.write(series, spiked(bars, 900, 0.8).slice(900, 1))
    again = inspect(store, series, ["2026-01"], tmp_path)[0]
    assert again.suspects == [((START + 900 * FIVE).isoformat(), "no_reversal")]


def test_only_what_has_changed_is_judged(store, series, bars, tmp_path, monkeypatch):
    store.write(series, bars)
    span = (START, START + 3000 * FIVE)
    reports, aside = reports_between(store, series, *span, tmp_path)
    assert ([report.passed for report in reports], aside) == ([True], [])
    judged = []
    monkeypatch.setattr("crucible.market.quality.validate", lambda frame, suite: judged.append(len(frame)) or [])
    assert reports_between(store, series, *span, tmp_path) == (reports, [])
    assert judged == []
    store.write(series, spiked(bars, 5).slice(5, 1))
    reports_between(store, series, *span, tmp_path)
    assert judged == [3000]


def test_what_is_in_quarantine_is_never_lost(store, series, bars, tmp_path):
    store.write(series, bars)
    with pytest.raises(DataError, match="no partition 2025-07 of binance BTCUSDT 5m"):
        put_month_aside(store, series, "2025-07", "x")
    entry = put_month_aside(store, series, "2026-01", "a whim")
    (entry.folder / "reason.json").write_text("{")
    with pytest.raises(StoreError, match="the bars beside it are kept"):
        quarantined(store)
    assert (entry.folder / "bars.parquet").exists()


def test_a_sparkline_of_little_is_nothing_and_of_a_flat_line_is_a_line():
    assert sparkline([1.0]) == ""
    assert "polyline" in sparkline([2.0, 2.0, 2.0])
