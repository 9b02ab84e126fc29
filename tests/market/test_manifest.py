"""The manifest beside a partition: an account of it that is never believed against it."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from crucible.clock import ManualClock
from crucible.market.bars import check_bars
from crucible.market.store import BarStore

FIVE = timedelta(minutes=5)
START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)


@pytest.fixture
def dated(tmp_path):
    return BarStore(tmp_path / "dated", clock=ManualClock(NOW))


def stated(store, series, month="2026-01"):
    return json.loads((series.folder(store.root) / f"month={month}" / "manifest.json").read_text())


def test_a_manifest_says_what_when_and_whence(dated, series, make_bars):
    dated.write(series, make_bars(8930, missing=(5, 6, 7, 8925)), source="binance_archive")
    account = stated(dated, series)
    path = dated.files(series)[0]
    assert account["rows"] == 8928 - 4  # January; two bars are February's
    assert (account["first"], account["last"]) == ("2026-01-01T00:00:00+00:00", "2026-01-31T23:55:00+00:00")
    assert [gap["bars"] for gap in account["gaps"]] == [3, 1]
    assert account["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (account["source"], account["fetched_at"]) == ("binance_archive", NOW.isoformat())
    assert dated.manifests(series)["2026-01"].fetched_at == NOW
    assert dated.coverage(series).missing == 4


def test_coverage_reads_no_bar(dated, series, make_bars, monkeypatch):
    dated.write(series, make_bars(20_000, missing=(9, 8928)))
    monkeypatch.setattr("crucible.market.manifest.decode", None)
    monkeypatch.setattr("crucible.market.store.decode", None)
    coverage = dated.coverage(series)
    assert (coverage.rows, [gap.bars for gap in coverage.gaps]) == (19_998, [1, 1])  # one lies between two months


@pytest.mark.parametrize("damage", ["gone", "cut", "older", "nonsense", "other types"])
def test_a_manifest_that_does_not_fit_is_derived_from_the_bars(dated, series, make_bars, damage):
    dated.write(series, make_bars(100, missing=(5,)))
    path = dated.files(series)[0].with_name("manifest.json")
    older = path.read_bytes()
    dated.write(series, make_bars(200, missing=(5,)))
    expected = dated.manifests(series)["2026-01"]
    if damage == "gone":
        path.unlink()
    else:
        text = {"cut": older[:50], "older": older, "nonsense": b"[]", "other types": b'{"rows": "x"}'}[damage]
        path.write_bytes(text)
    derived = dated.manifests(series)["2026-01"]
    assert (derived.rows, derived.gaps, derived.sha256, derived.digest) == (
        199, expected.gaps, expected.sha256, expected.digest,
    )  # fmt: skip
    assert derived.fetched_at is None
    assert dated.coverage(series).rows == 199


def test_bars_of_another_source_are_told_apart_and_give_way(dated, series, make_bars):
    bars = check_bars(make_bars(100), FIVE, "bars")
    dated.write(series, bars.slice(0, 40))
    dated.write(series, bars.slice(60))
    other = check_bars(make_bars(100, seed=3), FIVE, "bars")
    report = dated.write(series, other.slice(35, 10), source="coinbase", filled_from="coinbase")
    assert (report.rows_new, report.rows_changed) == (5, 0)  # five were ours already, and stay
    assert dated.read(series, START, START + 40 * FIVE).equals(bars.slice(0, 40))
    filled = dated.manifests(series)["2026-01"].filled
    assert [(item.start, item.end, item.bars, item.source) for item in filled] == [
        (START + 40 * FIVE, START + 45 * FIVE, 5, "coinbase")
    ]
    assert [gap.bars for gap in dated.coverage(series).gaps] == [15]
    assert len(dated.times(series)) == 85
    assert len(dated.times(series, own=True)) == 80
    assert dated.write(series, other.slice(40, 5), filled_from="coinbase").partitions == 0
    report = dated.write(series, bars.slice(40, 3))
    assert (report.rows_new, report.rows_changed) == (0, 3)
    assert [item.bars for item in dated.manifests(series)["2026-01"].filled] == [2]
    assert dated.read(series, START, START + 43 * FIVE).equals(bars.slice(0, 43))


def test_the_newest_bar_of_a_series(dated, series, make_bars):
    assert dated.latest(series).num_rows == 0
    bars = check_bars(make_bars(9000), FIVE, "bars")
    dated.write(series, bars)
    assert dated.latest(series).equals(bars.slice(8999))
