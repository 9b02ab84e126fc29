import time
from datetime import UTC, datetime, timedelta

import pytest

from crucible.clock import ManualClock
from crucible.errors import SourceError
from crucible.market.bars import check_bars
from crucible.market.files import read_bar_file
from crucible.market.ingest import history_span, ingest, missing_ranges
from crucible.market.ledger import Note
from crucible.market.source import open_source
from crucible.market.store import BarStore
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.replay import ReplayMarket

FIVE = timedelta(minutes=5)
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def replay(make_bars):
    bars = make_bars(5000, missing=(10, *range(2500, 2600)))
    return ReplayMarket({"BTCUSDT": check_bars(bars, FIVE, "bars")}, FIVE)


@pytest.fixture
def clock(replay):
    return ManualClock(replay.first + timedelta(days=10, minutes=2))


@pytest.fixture
def exchange(replay, clock):
    with EmbeddedExchange(replay, clock) as exchange:
        yield exchange


def asked(exchange):
    """Return the numbers of requests since the last call."""
    served = dict(exchange.exchange.served)
    exchange.exchange.served.clear()
    return served


def test_only_what_is_missing_is_asked_for(exchange, clock, store, series, replay):
    source = open_source("binance", exchange.url)
    report = ingest([source], store, series, START, clock.now())
    assert report.rows_new == report.rows_total == 10 * 288 - 101
    assert [gap.bars for gap in report.gaps] == [1, 100]
    assert asked(exchange) == {"time": 1, "klines": 3}
    # up to date: not one request, although bars are missing that the exchange does not have
    assert ingest([source], store, series, START, START + timedelta(days=10)).requested_ranges == ()
    assert asked(exchange) == {}
    clock.advance(timedelta(minutes=10))
    report = ingest([source], store, series, START, history_span(source.now(), FIVE, FIVE)[1])
    assert (report.rows_new, report.rows_revised) == (2, 0)
    assert [(high - low) // FIVE for low, high in report.requested_ranges] == [2]
    assert asked(exchange) == {"time": 1, "klines": 1}
    # an end at which no bar has closed costs a look at the exchange's clock, and at the newest bar once more
    assert ingest([source], store, series, START, source.now() + FIVE).rows_new == 0
    assert asked(exchange) == {"time": 2, "klines": 1}
    assert store.read(series)["close"].to_pylist() == pytest.approx(
        replay.bars["BTCUSDT"]["close"].to_pylist()[: 10 * 288 - 101 + 2], abs=1e-8
    )


def test_a_lost_month_is_fetched_again_and_nothing_else(market, store, series):
    now = datetime(2026, 2, 1, 12, tzinfo=UTC)
    with EmbeddedExchange(market, ManualClock(now)) as exchange:
        source = open_source("binance", exchange.url)
        start = datetime(2025, 12, 20, tzinfo=UTC)
        ingest([source], store, series, start, now)
        digest = store.digest(series)
        store.files(series)[1].unlink()
        report = ingest([source], store, series, start, now)
        assert report.requested_ranges == ((datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),)
        assert report.rows_new == 31 * 288
        assert store.digest(series) == digest


def test_what_came_before_a_failure_is_kept_and_the_next_call_goes_on(exchange, clock, store, series):
    source = open_source("binance", exchange.url)
    pages = 0

    class BreakingOff:
        name = venue = "binance"
        absence = "exchange down"

        def now(self):
            return source.now()

        def bars(self, *arguments):
            nonlocal pages
            for page in source.bars(*arguments):
                pages += 1
                if pages == 3:
                    raise SourceError("The exchange hung up.")
                yield page

    with pytest.raises(SourceError, match="hung up"):
        ingest([BreakingOff()], store, series, START, clock.now())
    assert store.coverage(series).rows == 2000
    report = ingest([source], store, series, START, clock.now())
    assert report.rows_total == 10 * 288 - 101


def test_progress_ends_where_it_said_it_would(exchange, clock, store, series):
    seen = []
    source = open_source("binance", exchange.url)
    ingest([source], store, series, START, clock.now(), lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == 10 * 288 + 1
    assert seen == sorted(seen)


def test_missing_ranges_are_the_complement(store, series, make_bars):
    store.write(series, make_bars(20, missing=(5, 6)))
    store.ledger(series).add([Note(START + 30 * FIVE, START + 32 * FIVE, "exchange down", "binance", START)])
    found = missing_ranges(store, series, START - 2 * FIVE, START + 40 * FIVE)
    assert [((low - START) // FIVE, (high - START) // FIVE) for low, high in found] == [
        (-2, 0),
        (5, 7),
        (20, 30),
        (32, 40),
    ]
    assert missing_ranges(store, series, START + FIVE, START) == []


def test_a_history_ends_with_the_newest_closed_bar():
    now = START + timedelta(minutes=7)
    assert history_span(now, timedelta(days=1), FIVE) == (START + FIVE - timedelta(days=1), START + FIVE)


def test_ninety_days_take_seconds(market, store, series):
    now = datetime(2026, 2, 1, 12, 3, 20, tzinfo=UTC)
    with EmbeddedExchange(market, ManualClock(now)) as exchange:
        source = open_source("binance", exchange.url)
        started = time.process_time()
        report = ingest([source], store, series, *history_span(now, timedelta(days=90), FIVE))
        # client and server in one process: about 0.7 s of processor time when compiled and warm
        assert time.process_time() - started < 6
        assert report.rows_new == 25_920
        assert report.gaps == ()


@pytest.mark.conformance
def test_real_bars_through_the_exchange_are_the_file_to_the_last_digit(shared, store, series):
    bars = read_bar_file(shared / "data" / "BTCUSDT_5m_binance.parquet", "BTCUSDT", FIVE)
    replay = ReplayMarket({"BTCUSDT": bars}, FIVE)
    with EmbeddedExchange(replay, ManualClock(replay.last + FIVE)) as exchange:
        source = open_source("binance", exchange.url)
        start = replay.last - timedelta(days=60)
        report = ingest([source], store, series, start, replay.last)
        assert (report.rows_new, report.gaps) == (60 * 288, ())
    imported = BarStore(store.root.parent / "imported")
    imported.write(series, bars)
    assert store.digest(series) == imported.digest(series, start=start)
    month = store.files(series)[1]
    assert month.read_bytes() == (imported.root / month.relative_to(store.root)).read_bytes()
