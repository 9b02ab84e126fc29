"""The shared real bars: everything imports, and the ledger finds exactly the gaps that their provenance states."""

import re
from datetime import timedelta

import pytest

from crucible.duration import parse_duration
from crucible.errors import GapError
from crucible.market.files import import_file, read_bar_file
from crucible.market.resample import resample
from crucible.market.series import Series

pytestmark = pytest.mark.conformance
MINUTE = timedelta(minutes=1)
ROW = re.compile(
    r"^\| (\S+)_binance\.parquet \| Binance spot \| ([\d,]+) \| .* \| (\d+) \(.*?%\) \| (\d+) \((\d+)\) \|"
)


def provenance(shared):
    """Return {file: (rows, missing bars, gaps, longest)} as the provenance file states it."""
    found = {}
    for line in (shared / "data" / "PROVENANCE.md").read_text().splitlines():
        if match := ROW.match(line):
            name, rows, missing, gaps, longest = match.groups()
            found[f"{name}_binance.parquet"] = (int(rows.replace(",", "")), int(missing), int(gaps), int(longest))
    return found


def test_every_file_has_exactly_the_gaps_that_are_stated(shared, store):
    stated = provenance(shared)
    assert len(stated) == 7
    for name, (rows, missing, gaps, longest) in stated.items():
        symbol, interval, source = name.removesuffix(".parquet").split("_")
        series = Series(source, symbol, parse_duration(interval))
        import_file(store, series, shared / "data" / name, allow_gaps=True)
        coverage = store.coverage(series)
        assert (coverage.rows, coverage.missing, len(coverage.gaps)) == (rows, missing, gaps), name
        assert max((gap.bars for gap in coverage.gaps), default=0) == longest
        explained = store.ledger(series).explain(coverage.gaps)
        assert [(gap.start, gap.end) for gap in explained] == [(gap.start, gap.end) for gap in coverage.gaps]
        assert {gap.cause for gap in explained} <= {"not in file"}
        assert all(gap.detail == name for gap in explained)


def test_the_minutes_without_a_trade_stay_holes(shared, store):
    path = shared / "data" / "BTCUSD_1m_bitfinex_2018_2019.parquet"
    series = Series("bitfinex", "BTCUSD", MINUTE)
    with pytest.raises(GapError, match=r"and .* more gaps, 17974 bars in all"):
        read_bar_file(path, "BTCUSD", MINUTE)
    report = import_file(store, series, path, allow_gaps=True)
    assert report.rows_new == 1_033_226
    coverage = store.coverage(series)
    assert (coverage.missing, coverage.rows + coverage.missing) == (17_974, 1_051_200)
    longest = max(coverage.gaps, key=lambda gap: gap.bars)
    assert (longest.bars, f"{longest.end:%Y-%m-%d %H:%M}") == (197, "2019-01-07 13:18")
    # one hour of it has no complete bar, whatever the threshold; most hours have all but a few minutes
    bars = store.read(series)
    strict, lenient = (resample(bars, MINUTE, 60 * MINUTE, complete=share) for share in (1.0, 0.9))
    assert strict.bars.num_rows + strict.incomplete == lenient.bars.num_rows + lenient.incomplete
    assert strict.bars.num_rows < lenient.bars.num_rows < 17_520
    assert resample(bars, MINUTE, MINUTE).bars.equals(bars)
