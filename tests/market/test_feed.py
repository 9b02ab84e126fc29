"""Live bars from a real stream on loopback: every fault of a stream, and a feed that refuses to guess."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from crucible.clock import ManualClock
from crucible.errors import SourceError, StaleError
from crucible.market.bars import check_bars, empty_bars, floor_time
from crucible.market.feed import LiveFeed, require_fresh
from crucible.market.repair import OtherSource
from crucible.market.source import Retry, open_source
from crucible.market.stream import KlineStream
from crucible.market.update import Sources
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.replay import ReplayMarket

MINUTE = timedelta(minutes=1)
QUICK = Retry(attempts=2, base=0.01, cap=0.02, patience=0.5, timeout=0.5)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def bars(make_bars):
    return check_bars(make_bars(24 * 60, interval=MINUTE), MINUTE, "bars")


class World:
    """An exchange, its clock, and a feed that listens to it."""

    def __init__(self, bars, *, others=(), silence=5.0, capacity=200):
        self.bars = bars
        self.clock = ManualClock(NOON)
        self.exchange = EmbeddedExchange(ReplayMarket({"BTCUSDT": bars}, MINUTE), self.clock)
        self._feed_options = {"others": others, "silence": silence, "capacity": capacity}

    def __enter__(self):
        self.exchange.__enter__()
        options = self._feed_options
        self.feed = LiveFeed(
            Sources((open_source("binance", self.exchange.url, retry=QUICK),), tuple(options["others"])),
            "BTCUSDT", MINUTE, options["capacity"], self.clock, stream_url=self.exchange.url,
            silence=options["silence"],
        )  # fmt: skip
        return self

    def __exit__(self, *failure):
        self.feed.close()
        self.exchange.__exit__(None, None, None)

    @property
    def faults(self):
        return self.exchange.exchange.faults

    @property
    def served(self):
        return self.exchange.exchange.served

    def start(self):
        self.feed.start()
        self.until(lambda: self.served["stream"] == 1 and self.feed.window.newest_close == self.clock.now())

    def until(self, condition, seconds=8.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.01)

    def step(self, minutes=1):
        """Move the clock minute by minute, waiting for the window each time."""
        for _ in range(minutes):
            self.clock.advance(MINUTE)
            self.arrived()

    def arrived(self):
        self.until(lambda: self.feed.window.newest_close == floor_time(self.clock.now(), MINUTE))

    def expected(self, count):
        index = (self.clock.now() - datetime(2026, 1, 1, tzinfo=UTC)) // MINUTE
        return self.bars.slice(index - count, count)


def close_to(found, expected):
    """The exchange states eight decimals."""
    assert found["open_time"].to_pylist() == expected["open_time"].to_pylist()
    assert found["close"].to_pylist() == pytest.approx(expected["close"].to_pylist(), abs=1e-8)


def test_the_window_is_served_from_memory(bars):
    with World(bars) as world:
        world.start()
        world.step(5)
        world.served.clear()
        close_to(world.feed.closed(world.clock.now(), 200), world.expected(200))
        close_to(world.feed.closed(world.clock.now() + timedelta(seconds=59), 10), world.expected(10))
        assert dict(world.served) == {}  # not one request
        started = time.perf_counter()
        world.feed.closed(world.clock.now(), 200)
        assert time.perf_counter() - started < 0.05
        # the candle that is open is known, and not served as one that has closed
        world.clock.advance(timedelta(seconds=90))
        world.arrived()
        world.until(lambda: world.feed.forming and world.feed.forming.opened == floor_time(world.clock.now(), MINUTE))
        assert not world.feed.forming.closed
        assert world.feed.closed(world.clock.now(), 3)["open_time"][-1].as_py() < world.feed.forming.opened


def test_a_bar_counts_from_the_instant_at_which_it_is_said_to_have_closed(bars):
    with World(bars) as world:
        world.start()
        world.clock.advance(MINUTE - timedelta(milliseconds=1))
        assert world.feed.closed(world.clock.now(), 5)["open_time"][-1].as_py() == NOON - MINUTE
        world.clock.advance(timedelta(milliseconds=1))
        world.arrived()
        assert world.feed.closed(world.clock.now(), 5)["open_time"][-1].as_py() == NOON


@pytest.mark.parametrize("fault", ["skip_closed", "lie_open", "duplicate_closed", "reorder", "garbage", "close_after"])
def test_each_fault_of_the_stream_is_made_good(bars, fault):
    with World(bars) as world:
        world.start()
        world.step(2)
        setattr(world.faults, fault, {"reorder": True, "garbage": 1, "close_after": 0}.get(fault, 2))
        world.clock.advance(3 * MINUTE)
        world.until(lambda: world.feed.closed(world.clock.now(), 50).num_rows == 50)
        world.step(3)
        close_to(world.feed.closed(world.clock.now(), 50), world.expected(50))
        if fault in ("garbage", "close_after"):
            assert world.feed.reconnects >= 1
            assert world.served["stream"] >= 2


def test_a_silent_stream_is_left_and_meanwhile_rest_answers(bars):
    with World(bars, silence=0.6) as world:
        world.faults.silent = True
        world.feed.start()
        world.until(lambda: world.feed.window.newest_close == NOON)
        world.clock.advance(7 * MINUTE)
        close_to(world.feed.closed(world.clock.now(), 20), world.expected(20))
        world.until(lambda: world.feed.reconnects >= 1)
        world.faults.silent = False
        world.until(lambda: world.served["stream"] >= 2)
        world.step(2)


def test_a_refused_stream_leaves_a_feed_over_rest(bars):
    with World(bars) as world:
        world.faults.refuse = True
        world.feed.start()
        for _ in range(3):
            world.clock.advance(MINUTE)
            close_to(world.feed.closed(world.clock.now(), 30), world.expected(30))
        world.faults.refuse = False
        world.until(lambda: world.served["stream"] >= 1)


def test_a_fault_that_nobody_foresaw_does_not_end_the_feed(bars, monkeypatch, caplog):
    with World(bars) as world:
        world.start()
        take, failed = world.feed._take, []

        def fail_once(candle):
            if not failed:
                failed.append(candle)
                raise KeyError("x")
            take(candle)

        monkeypatch.setattr(world.feed, "_take", fail_once)
        world.step(3)
        assert failed
        assert world.feed.reconnects == 1
    assert "KeyError" in caplog.text


def test_a_gap_of_the_exchange_itself_stays_one_and_is_asked_for_once(make_bars):
    holey = check_bars(make_bars(24 * 60, interval=MINUTE, missing=(700, 701, 723)), MINUTE, "bars")
    with World(holey) as world:
        world.start()
        world.clock.advance(10 * MINUTE)
        world.arrived()
        found = world.feed.closed(world.clock.now(), 60)
        assert found.num_rows == 57
        world.served.clear()
        world.feed.closed(world.clock.now(), 60)
        assert world.served["klines"] == 0


def test_a_stale_feed_refuses_to_serve(bars):
    with World(bars) as world:
        world.start()
        world.exchange.exchange.faults.refuse = True
        world.exchange.__exit__(None, None, None)  # the exchange is gone
        world.clock.advance(4 * MINUTE)
        found = world.feed.closed(world.clock.now(), 30)
        assert found["open_time"][-1].as_py() == NOON - MINUTE
        require_fresh(found, MINUTE, world.clock.now(), 5 * MINUTE)
        with pytest.raises(StaleError, match=r"closed at 2026-01-01T12:00:00.*240 s ago; at most 3m is allowed"):
            require_fresh(found, MINUTE, world.clock.now(), 3 * MINUTE)
        world.exchange = EmbeddedExchange(ReplayMarket({"BTCUSDT": bars}, MINUTE), world.clock)
        world.exchange.__enter__()


def test_a_feed_without_one_bar_says_why(bars):
    source = open_source("binance", "http://127.0.0.1:9", retry=QUICK)
    feed = LiveFeed(Sources((source,), ()), "BTCUSDT", MINUTE, 10, ManualClock(NOON), stream_url="http://127.0.0.1:9")
    with pytest.raises(SourceError, match="cannot be reached"):
        feed.closed(NOON, 10)


class Other:
    """Another exchange: the same market, a little apart."""

    name = venue = "coinbase"
    absence = "no trades"

    def __init__(self, bars, factor):
        self.table, self.asked = bars, 0
        for name in ("open", "high", "low", "close"):
            self.table = self.table.set_column(
                bars.column_names.index(name), bars.schema.field(name), pa.array(bars[name].to_numpy() * factor)
            )

    def now(self):
        return NOON

    def bars(self, symbol, interval, start, end):
        from crucible.market.source import Page

        self.asked += 1
        assert symbol == "BTCUSD"
        opened = self.table["open_time"].to_pylist()
        inside = [start <= at < end for at in opened]
        yield Page(start, end, self.table.filter(pa.array(inside)))


@pytest.mark.parametrize(("factor", "believed"), [(1.001, True), (1.02, False)])
def test_the_next_source_stands_in_if_it_agrees(bars, factor, believed):
    other = Other(bars, factor)
    with World(bars, others=[OtherSource(other, "BTCUSD")]) as world:
        world.start()
        world.exchange.__exit__(None, None, None)
        world.clock.advance(3 * MINUTE)
        found = world.feed.closed(world.clock.now(), 30)
        assert other.asked >= 1
        assert (found["open_time"][-1].as_py() == NOON + 2 * MINUTE) is believed
        # our own bars take the place of the others' when the exchange is back
        world.exchange = EmbeddedExchange(ReplayMarket({"BTCUSDT": bars}, MINUTE), world.clock)
        world.exchange.__enter__()
        world.feed._sources = Sources((open_source("binance", world.exchange.url, retry=QUICK),), ())
        world.feed._down.clear()
        close_to(world.feed.closed(world.clock.now(), 30), world.expected(30))


def test_two_threads_may_ask_at_once(bars):
    with World(bars, capacity=1) as world:
        world.start()
        results = []
        threads = [
            threading.Thread(
                target=lambda count=count: results.append(world.feed.closed(NOON, count).num_rows == count)
            )
            for count in range(10, 90, 10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert results == [True] * 8


def test_an_unknown_source_of_a_stream_is_one_sentence():
    with (
        pytest.raises(SourceError, match="stream of binance cannot be reached"),
        KlineStream("binance", "BTCUSDT", MINUTE, "http://127.0.0.1:9"),
    ):
        pass


def test_nothing_is_served_for_no_time(bars):
    with World(bars) as world:
        world.start()
        assert world.feed.closed(NOON, 0).equals(empty_bars())
