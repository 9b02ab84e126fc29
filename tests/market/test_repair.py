"""Gaps: mended by their own source first, then by another one that agrees; never guessed."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from crucible.clock import ManualClock
from crucible.errors import SourceError
from crucible.market.bars import check_bars, open_times, to_micros
from crucible.market.ingest import ingest, missing_ranges
from crucible.market.quarantine import quarantined
from crucible.market.repair import OtherSource, repair
from crucible.market.source import Page
from crucible.market.store import BarStore, Series
from crucible.market.update import Sources, update
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.replay import ReplayMarket

FIVE = timedelta(minutes=5)
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Shelf:
    """A source that serves a table: what is asked, in one page, as far as it reaches."""

    name: str
    table: pa.Table
    venue: str = ""
    absence: str = "no trades"
    down: bool = False
    asked: list = field(default_factory=list)

    def __post_init__(self):
        self.venue = self.venue or self.name

    def now(self):
        if self.down:
            raise SourceError(f"{self.name} is down.")
        return self.table["open_time"][-1].as_py() + FIVE

    def bars(self, symbol, interval, start, end):
        self.asked.append((symbol, start, end))
        if self.down:
            raise SourceError(f"{self.name} is down.")
        times = open_times(self.table)
        found = self.table.filter(pa.array((times >= to_micros(start)) & (times < to_micros(end))))
        known = min(end, self.table["open_time"][-1].as_py() + interval)
        if start < known:
            yield Page(start, known, found)


@pytest.fixture
def bars(make_bars):
    return check_bars(make_bars(2000), FIVE, "bars")


def without(bars, *ranges):
    drop = np.concatenate([np.arange(low, high) for low, high in ranges])
    return bars.take(pa.array(np.setdiff1d(np.arange(bars.num_rows), drop)))


def scaled(bars, factor):
    for name in ("open", "high", "low", "close"):
        bars = bars.set_column(
            bars.column_names.index(name), bars.schema.field(name), pa.array(bars[name].to_numpy() * factor)
        )
    return bars


def span(low, high):
    return START + low * FIVE, START + high * FIVE


def test_the_own_source_comes_first_and_costs_the_hole_only(store, series, bars):
    store.write(series, without(bars, (500, 520), (900, 901)))
    own, other = Shelf("binance", bars), Shelf("coinbase", scaled(bars, 1.001))
    report = repair([own], [OtherSource(other, "BTCUSD")], store, series, [span(500, 520), span(900, 901)])
    assert (report.own, report.filled, report.left) == (21, {}, 0)
    assert [item[1:] for item in own.asked] == [span(500, 520), span(900, 901)]
    assert other.asked == []
    assert store.read(series).equals(bars)
    assert store.ledger(series).notes() == ()


def test_another_source_that_agrees_fills_and_is_remembered(store, series, bars):
    holey = without(bars, (500, 520))
    own, other = Shelf("binance", holey, absence="exchange down"), Shelf("coinbase", scaled(bars, 1.001))
    ingest([own], store, series, *span(0, 2000))
    assert [note.cause for note in store.ledger(series).notes()] == ["exchange down"]
    report = repair([own], [OtherSource(other, "BTCUSD")], store, series, [span(500, 520)])
    assert (report.own, report.filled, report.left, report.refused) == (0, {"coinbase": 20}, 0, [])
    assert other.asked[0][0] == "BTCUSD"
    filled = store.manifests(series)["2026-01"].filled
    assert [(item.start, item.end, item.source) for item in filled] == [(*span(500, 520), "coinbase")]
    # the bars stay theirs: never offered as our own, and our own replace them as soon as there are any
    assert missing_ranges(store, series, *span(0, 2000)) == []  # its own source has said that it has none
    store.ledger(series).forget()
    assert missing_ranges(store, series, *span(0, 2000)) == [span(500, 520)]
    healed = ingest([Shelf("binance", bars)], store, series, *span(0, 2000))
    assert (healed.rows_new, healed.rows_revised) == (0, 20)
    assert store.read(series).equals(bars)
    assert store.manifests(series)["2026-01"].filled == ()


def test_a_source_that_disagrees_is_not_believed(store, series, bars):
    holey = without(bars, (500, 520))
    store.write(series, holey)
    liar, honest = Shelf("kraken", scaled(bars, 1.02)), Shelf("coinbase", scaled(bars, 1.001))
    own = Shelf("binance", holey, absence="exchange down")
    report = repair([own], [OtherSource(liar, "BTCUSD")], store, series, [span(500, 520)])
    assert (report.filled, report.left) == ({}, 20)
    assert "kraken differs from binance BTCUSDT 5m by 1.98% around 2026-01-02 17:40" in report.refused[0]
    gap = store.ledger(series).explain(store.coverage(series).gaps)[0]
    assert (gap.cause, gap.source, gap.bars) == ("disagreement", "kraken", 20)
    kept = quarantined(store)
    assert [(item.series, item.bars) for item in kept] == [(Series("kraken", "BTCUSD", FIVE), 20)]
    assert store.read(series).equals(holey)
    report = repair(
        [own], [OtherSource(liar, "BTCUSD"), OtherSource(honest, "BTCUSD")], store, series, [span(500, 520)]
    )
    assert report.filled == {"coinbase": 20}


def test_nothing_to_compare_with_is_no_agreement(store, series, bars):
    store.write(series, bars.slice(0, 1))
    lonely = Shelf("coinbase", bars.slice(1, 50))
    report = repair([], [OtherSource(lonely, "BTCUSD")], store, series, [span(1, 51)])
    assert (report.filled, report.left) == ({}, 50)
    assert "shares only 0 bars" in report.refused[0]


def test_a_repair_that_fails_changes_nothing(store, series, bars):
    store.write(series, without(bars, (500, 520)))
    own = Shelf("binance", without(bars, (500, 520)), absence="exchange down")
    ingest([own], store, series, *span(0, 2000))
    before = store.digest(series)
    own.down = True
    report = repair([own], [OtherSource(Shelf("coinbase", bars, down=True), "BTCUSD")], store, series, [span(500, 520)])
    assert (report.own, report.filled, report.left) == (0, {}, 20)
    assert store.digest(series) == before
    assert [note.cause for note in store.ledger(series).notes()] == ["exchange down"]


def test_the_next_source_of_a_venue_takes_over(store, series, bars):
    archive = Shelf("binance_archive", bars.slice(0, 1500), venue="binance")
    live = Shelf("binance", bars)
    report = ingest([archive, live], store, series, *span(0, 2000))
    assert report.rows_total == 2000
    assert [item[1:] for item in live.asked] == [span(1500, 2000)]
    assert store.manifests(series)["2026-01"].source == "binance"
    broken = BarStore(store.root.parent / "broken")
    archive.down = True
    assert ingest([archive, live], broken, series, *span(0, 2000)).rows_total == 2000
    live.down = True
    with pytest.raises(SourceError, match="binance_archive is down"):
        ingest([archive, live], BarStore(store.root.parent / "neither"), series, *span(0, 2000))


def test_a_failed_fetch_is_in_the_ledger_until_it_succeeds(store, series, bars):
    own = Shelf("binance", bars)
    ingest([own], store, series, *span(0, 1000))
    own.down = True
    with pytest.raises(SourceError, match="binance is down"):
        ingest([own], store, series, *span(0, 1200))
    note = store.ledger(series).notes()[0]
    assert (note.cause, note.detail) == ("failed fetch", "binance is down.")
    own.down = False
    assert ingest([own], store, series, *span(0, 1200)).rows_new == 200
    assert store.ledger(series).explain(store.coverage(series).gaps) == ()


def test_when_an_exchange_is_down_the_next_one_stands_in(store, series, bars):
    own, other = Shelf("binance", bars), Shelf("coinbase", scaled(bars, 0.999))
    sources = Sources((own,), (OtherSource(other, "BTCUSD"),))
    update(sources, store, series, *span(0, 1000))
    own.down = True
    report = update(sources, store, series, *span(0, 1010))
    assert report.rows_new == 10
    assert [item.source for item in store.manifests(series)["2026-01"].filled] == ["coinbase"]
    own.down = False
    assert update(sources, store, series, *span(0, 1010)).rows_revised == 10
    assert store.read(series).equals(bars.slice(0, 1010))
    own.down = other.down = True
    with pytest.raises(SourceError, match="binance is down"):
        update(sources, store, series, *span(0, 1100))


def test_a_revised_bar_is_found_when_the_next_one_comes(store, series, bars):
    own = Shelf("binance", bars.slice(0, 100))
    ingest([own], store, series, *span(0, 100))
    own.table = pa.concat_tables([bars.slice(0, 99), scaled(bars.slice(99, 1), 1.001), bars.slice(100, 1)])
    report = ingest([own], store, series, *span(0, 101))
    assert (report.rows_new, report.rows_revised) == (1, 1)
    assert store.read(series).equals(own.table.combine_chunks())


def test_an_up_to_date_store_costs_one_request(store, series, bars):
    replay = ReplayMarket({"BTCUSDT": bars}, FIVE)
    with EmbeddedExchange(replay, ManualClock(replay.last)) as exchange:
        from crucible.market.ingest import history_span, present
        from crucible.market.update import open_sources
        from crucible.settings import Settings

        settings = Settings.load({"CRUCIBLE_EXCHANGE_URL": exchange.url, "CRUCIBLE_HOME": str(store.root)})
        sources = open_sources(["binance", "binance_archive", "binanceus"], "BTCUSDT", settings)
        assert [source.name for source in sources.all] == ["binance", "binanceus"]  # no archive in a practice market

        def fetch():
            exchange.exchange.served.clear()
            now = present(sources.all)
            update(sources, store, series, *history_span(now, timedelta(days=3), FIVE))
            return dict(exchange.exchange.served)

        assert fetch() == {"time": 1, "klines": 1}
        assert fetch() == {"time": 1}
        with pytest.raises(SourceError, match="None of coinbase can be asked at"):
            open_sources(["coinbase"], "BTCUSD", settings)
