import json
import os
import socket
import time
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from aiohttp import web

from crucible.clock import ManualClock
from crucible.errors import SettingsError, SourceError, StaleError
from crucible.market.bars import BAR_SCHEMA, empty_bars
from crucible.market.binance_source import BinanceSource
from crucible.market.feed import require_fresh
from crucible.market.source import Retry, open_source
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.replay import ReplayMarket
from crucible.practice.weight import WeightMeter

FIVE = timedelta(minutes=5)
NOW = datetime(2026, 2, 1, 12, 3, 20, tzinfo=UTC)
QUICK = Retry(attempts=3, base=0.01, cap=0.05, patience=2.0, timeout=0.3)


def collect(source, start, end, symbol="BTCUSDT", interval=FIVE):
    return pa.concat_tables([empty_bars(), *(page.bars for page in source.bars(symbol, interval, start, end))])


@pytest.fixture
def source(embedded):
    return open_source("binance", embedded.url)


def test_bars_come_page_by_page_and_the_open_one_never(source, embedded, market):
    start = NOW - timedelta(days=8)
    pages = list(source.bars("BTCUSDT", FIVE, start, NOW + timedelta(hours=1)))
    assert [page.bars.num_rows for page in pages] == [1000, 1000, 303]
    assert [page.end for page in pages[:-1]] == [page.start for page in pages[1:]]
    bars = pa.concat_tables([page.bars for page in pages])
    assert bars.schema.equals(BAR_SCHEMA)
    assert bars["open_time"][0].as_py() == datetime(2026, 1, 24, 12, 5, tzinfo=UTC)
    assert bars["open_time"][-1].as_py() == datetime(2026, 2, 1, 11, 55, tzinfo=UTC)
    candles = market.candles("BTCUSDT", 300_000, int(start.timestamp() * 1000), int(NOW.timestamp() * 1000) - 300_000)
    assert bars["close"].to_pylist() == pytest.approx(candles.close.tolist(), abs=1e-8)
    assert dict(embedded.exchange.served) == {"time": 1, "klines": 3}


def test_the_end_is_exclusive_and_nothing_is_asked_for_nothing(source, embedded):
    start = datetime(2026, 1, 25, tzinfo=UTC)
    assert collect(source, start, start + 3 * FIVE).num_rows == 3
    assert collect(source, start, start + 3 * FIVE - timedelta(seconds=1)).num_rows == 3
    asked = embedded.exchange.served.total()
    assert collect(source, start, start).num_rows == 0
    assert embedded.exchange.served.total() == asked


def test_a_bar_appears_when_it_has_closed(market):
    clock = ManualClock(datetime(2026, 2, 1, 12, 4, 59, 999000, tzinfo=UTC))
    with EmbeddedExchange(market, clock) as exchange:
        source = open_source("binance", exchange.url)
        noon = datetime(2026, 2, 1, 12, tzinfo=UTC)
        assert collect(source, noon, noon + FIVE).num_rows == 0
        clock.advance(timedelta(milliseconds=1))
        assert collect(source, noon, noon + FIVE).num_rows == 1


def test_gaps_and_the_time_before_the_listing_are_passed_over(make_bars):
    from crucible.market.bars import check_bars

    bars = check_bars(make_bars(4000, missing=tuple(range(1500, 1600))), FIVE, "bars")
    replay = ReplayMarket({"BTCUSDT": bars}, FIVE)
    with EmbeddedExchange(replay, ManualClock(replay.last + timedelta(days=1))) as exchange:
        source = open_source("binance", exchange.url)
        found = collect(source, replay.first - timedelta(days=30), replay.last + timedelta(hours=5))
        assert found["open_time"].equals(bars["open_time"])
        # 3900 bars are four pages; that nothing follows is asked twice
        assert exchange.exchange.served["klines"] == 6


def test_old_bars_are_refused(source):
    bars = collect(source, NOW - timedelta(hours=4), NOW)
    require_fresh(bars, FIVE, NOW, timedelta(minutes=10))
    with pytest.raises(StaleError, match=r"closed at 2026-02-01T12:00:00.*at most 10m is allowed"):
        require_fresh(bars, FIVE, NOW + timedelta(minutes=7), timedelta(minutes=10))
    with pytest.raises(StaleError, match="not one closed bar"):
        require_fresh(empty_bars(), FIVE, NOW, timedelta(minutes=10))


def test_what_cannot_be_asked_for_is_one_sentence(source):
    start = NOW - timedelta(hours=1)
    with pytest.raises(SourceError, match="knows no symbol 'DOGEUSDT'"):
        collect(source, start, NOW, symbol="DOGEUSDT")
    with pytest.raises(SourceError, match="binance has no bars of 7m; it has 1m, 3m"):
        collect(source, start, NOW, interval=timedelta(minutes=7))
    with pytest.raises(SourceError, match=r"There is no source .krakn.; did you mean kraken\?"):
        open_source("krakn")
    with pytest.raises(SourceError, match="There is no source 'coinbase_perpetua'; did you mean"):
        open_source("coinbase_perpetua")
    with pytest.raises(SettingsError, match=r"'127\.0\.0\.1:80' is not http://host:port"):
        open_source("binance", "127.0.0.1:80")


def test_a_refused_connection_is_reported_at_once():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else takes it, and it refuses
        source = open_source("binance", f"http://127.0.0.1:{held.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(
            SourceError, match=r"binance at http://127\.0\.0\.1:\d+ cannot be reached: the connection was"
        ):
            source.now()
        assert time.monotonic() - started < 1


def test_a_weight_limit_is_waited_out(market):
    with EmbeddedExchange(market, ManualClock(NOW), WeightMeter(limit=5, window=1.0)) as exchange:
        source = open_source("binance", exchange.url)
        started = time.monotonic()
        assert collect(source, NOW - timedelta(days=12), NOW).num_rows == 12 * 288 - 1
        assert time.monotonic() - started > 0.9  # Retry-After said one second
        impatient = BinanceSource("binance", exchange.url, retry=Retry(attempts=3, patience=0.5))
        with pytest.raises(SourceError, match=r"429.*asks to wait 1 s"):
            collect(impatient, NOW - timedelta(days=30), NOW)


def json_response(value, status=200, **headers):
    return web.Response(text=json.dumps(value), status=status, content_type="application/json", headers=headers)


def rows(start, count):
    first = int(start.timestamp() * 1000)
    return [[first + i * 300_000, "1", "2", "0.5", "1.5", "10", 0, "0", 0, "0", "0", "0"] for i in range(count)]


@pytest.fixture
def faulty(scripted):
    """A server whose kline answers are taken from a list; the time is always NOW."""

    def serve(*answers):
        left = list(answers)

        async def answer(request):
            if request.path.endswith("/time"):
                return json_response({"serverTime": int(NOW.timestamp() * 1000)})
            found = left.pop(0) if len(left) > 1 else left[0]
            return await found(request) if callable(found) else found

        scripted.answer = answer
        return BinanceSource("binance", scripted.url, retry=QUICK)

    return serve


START = NOW.replace(minute=0, second=0) - timedelta(hours=1)


async def slow(request):
    import asyncio

    await asyncio.sleep(0.6)
    return json_response([])


async def hang_up(request):
    request.transport.close()
    return web.Response()


def fixed(*arguments, **keywords):
    async def answer(request):
        return json_response(*arguments, **keywords)

    return answer


@pytest.mark.parametrize(
    "fault",
    [
        fixed({"code": -1000, "msg": "An unknown error occurred."}, 500),
        fixed({"code": -1003, "msg": "Way too many requests."}, 418, **{"Retry-After": "0.02"}),
        fixed("down", 503),
        slow,
        hang_up,
    ],
    ids=["500", "418", "503", "timeout", "hang-up"],
)
def test_passing_faults_are_tried_again_and_lasting_ones_reported(faulty, scripted, fault):
    source = faulty(fault, fault, fixed(rows(START, 12)))
    assert collect(source, START, START + 12 * FIVE).num_rows == 12
    assert len(scripted.requests) == 4  # the time, and three attempts
    source = faulty(fault)
    with pytest.raises(SourceError, match="no answer in 3 attempts") as failure:
        collect(source, START, START + 12 * FIVE)
    assert "\n" not in str(failure.value)


def test_a_truncated_page_is_completed(faulty, scripted):
    source = faulty(fixed(rows(START, 5)), fixed([]), fixed(rows(START + 5 * FIVE, 7)))
    assert collect(source, START, START + 12 * FIVE).num_rows == 12


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (rows(START - FIVE, 12), "repeats itself or ignores startTime"),
        (rows(START, 13), "repeats itself or ignores startTime and endTime"),
        (rows(START, 3) + rows(START, 3), "not sorted"),
        (rows(START, 3)[:2] + rows(START + FIVE, 1), "twice"),
        ({"code": 0}, "instead of a list of bars"),
        (["bar"], "not of Binance's form"),
        ([[1, 2, 3]], "not of Binance's form"),
        ([[int(START.timestamp() * 1000), "one", "2", "0.5", "1.5", "10"]], "not of Binance's form"),
        ([[int(START.timestamp() * 1000), "1", "0.9", "0.5", "1.5", "10"]], "is impossible"),
        ([[int(START.timestamp() * 1000) + 1, "1", "2", "0.5", "1.5", "10"]], "not on the grid"),
    ],
)
def test_nonsense_is_one_sentence(faulty, answer, words):
    with pytest.raises(SourceError, match=words) as failure:
        collect(faulty(fixed(answer)), START, START + 12 * FIVE)
    assert "\n" not in str(failure.value)


def test_a_repeated_page_is_noticed(faulty):
    page = rows(START - timedelta(days=10), 1000)
    with pytest.raises(SourceError, match="repeats itself"):
        collect(faulty(fixed(page)), START - timedelta(days=10), START)


def test_a_server_that_does_not_know_the_time(scripted):
    async def answer(request):
        return json_response({"time": "noon"})

    scripted.answer = answer
    with pytest.raises(SourceError, match="when asked for the time"):
        BinanceSource("binance", scripted.url).now()


def test_the_real_and_the_practice_exchange_differ_by_their_hosts_only(embedded):
    real, practice = BinanceSource("binance"), BinanceSource("binance", embedded.url + "/")
    assert practice._client.client.urls["api"]["public"] == f"{embedded.url}/api/v3"
    assert practice._client.client.rateLimit == 0
    assert real._client.client.urls["api"]["public"] == "https://api.binance.com/api/v3"
    assert real._client.client.rateLimit > 0
    assert BinanceSource("binance", embedded.url, rate_limit_ms=5)._client.client.rateLimit == 5


def test_unmodified_ccxt_loads_the_markets_and_the_candles(embedded):
    from ccxt.binance import binance

    client = binance(
        {"enableRateLimit": False, "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False}}
    )
    client.urls["api"]["public"] = f"{embedded.url}/api/v3"
    candles = client.fetch_ohlcv("BTC/USDT", "5m", limit=20)
    assert len(candles) == 20
    assert client.markets["ETH/USDT" if "ETH/USDT" in client.markets else "BTC/USDT"]["spot"]
    assert candles[-1][0] == int(NOW.replace(minute=0, second=0).timestamp() * 1000)


def test_the_network_settings_of_the_environment_are_not_used(embedded, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert os.environ["HTTP_PROXY"]
    assert open_source("binance", embedded.url).now() == NOW
