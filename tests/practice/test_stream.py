"""The practice exchange's kline stream, its faults, and the futures paths."""

import json
import math
import socket as raw_socket
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from crucible.clock import ManualClock, ScaledClock
from crucible.market.bars import check_bars
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.replay import ReplayMarket
from crucible.practice.stream_faults import StreamFaults

NOW = datetime(2026, 2, 1, 12, 3, 20, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MINUTE_MS = 60_000
BTC, ETH = "btcusdt@kline_1m", "ethusdt@kline_1m"


@dataclass
class WatchedClock(ManualClock):
    """Lets a test wait until the server has looked at it."""

    looks: int = 0
    looked: threading.Condition = field(default_factory=threading.Condition)

    def now(self):
        with self.looked:
            self.looks += 1
            self.looked.notify_all()
        return super().now()

    def wait(self):
        """Return once a look that began after this call has ended; right for one connection."""
        with self.looked:
            enough = self.looks + 2
            assert self.looked.wait_for(lambda: self.looks >= enough, 5)


@pytest.fixture
def clock():
    return WatchedClock(NOW)


@pytest.fixture
def embedded(embedded):
    embedded.exchange.stream.interval = 0.002
    embedded.exchange.stream.update = math.inf  # updates come by real time; tests of closed candles go without
    return embedded


@pytest.fixture
def faults(embedded):
    return embedded.exchange.faults


def opened(exchange, path):
    return connect(exchange.url.replace("http", "ws") + path, proxy=None, open_timeout=5, close_timeout=1)


@pytest.fixture
def socket(embedded):
    with opened(embedded, f"/ws/{BTC}") as connection:
        yield connection


def read(socket):
    return json.loads(socket.recv(timeout=5))


def ask(socket, method, *params, number=1):
    socket.send(json.dumps({"method": method, "params": params, "id": number}))
    return read(socket)


def minute(event):
    """Return which minute after NOW's an event is about."""
    return (event["k"]["t"] - int(NOW.timestamp()) // 60 * MINUTE_MS) // MINUTE_MS


def http(url, path):
    with urllib.request.urlopen(f"{url}{path}", timeout=10) as answer:
        return json.loads(answer.read())


def row(kline):
    """Return the HTTP row that says what a stream's kline says."""
    return [kline[letter] for letter in "tohlcvTqnVQB"]


def rows(url, symbol, interval, count):
    """Return the last closed rows by HTTP."""
    return http(url, f"/api/v3/klines?symbol={symbol}&interval={interval}&limit={count + 1}")[:-1]


def test_closed_candles_are_those_of_http_in_both_forms(embedded, clock):
    with (
        opened(embedded, f"/stream?streams={BTC}/ethusdt@kline_5m") as combined,
        opened(embedded, f"/ws/{BTC}") as raw,
    ):
        clock.advance(7 * MINUTE)
        wrapped = [read(combined) for _ in range(9)]
        events = [read(raw) for _ in range(7)]
    assert [item["data"] for item in wrapped if item["stream"] == BTC] == events
    assert [row(event["k"]) for event in events] == rows(embedded.url, "BTCUSDT", "1m", 7)
    fives = [item["data"]["k"] for item in wrapped if item["stream"] == "ethusdt@kline_5m"]
    assert [row(kline) for kline in fives] == rows(embedded.url, "ETHUSDT", "5m", 2)
    assert (fives[0]["s"], fives[0]["i"]) == ("ETHUSDT", "5m")
    closes = [item["data"]["k"]["T"] for item in wrapped]
    assert closes == sorted(closes)
    assert embedded.exchange.served["stream"] == 2
    event, kline = events[0], events[0]["k"]
    assert (event["e"], event["s"], event["E"]) == ("kline", "BTCUSDT", int(clock.at.timestamp() * 1000))
    assert list(kline) == [*"tohlcvTqnVQB", *"sifLx"]
    assert kline["x"] is True
    assert kline["T"] == kline["t"] + MINUTE_MS - 1
    assert kline["L"] - kline["f"] + 1 == kline["n"] > 0
    assert kline["L"] < events[1]["k"]["f"]


def test_each_candle_comes_once_and_in_order_however_the_clock_moves(socket, clock, embedded):
    steps = [20, 15, 5, 60, 180, 3600, 1, 59, 30]  # the third ends at a close to the second
    for seconds in steps:
        clock.advance(timedelta(seconds=seconds))
        clock.wait()
    whole = int((clock.at - NOW.replace(second=0)) / MINUTE)
    assert [minute(read(socket)) for _ in range(whole)] == list(range(whole))
    clock.at -= timedelta(minutes=30)  # what was told is not told again
    clock.wait()
    clock.at += timedelta(minutes=31)
    assert minute(read(socket)) == whole


def test_a_leap_of_weeks_sends_the_newest_thousand(socket, clock, embedded):
    clock.advance(timedelta(days=3))
    events = [read(socket) for _ in range(1000)]
    assert [minute(event) for event in events] == list(range(3 * 1440 - 1000, 3 * 1440))
    clock.advance(MINUTE)
    assert minute(read(socket)) == 3 * 1440


def test_the_open_candle_is_updated_and_is_that_of_http(embedded, clock):
    embedded.exchange.stream.update = 0.01
    with opened(embedded, "/ws/btcusdt@kline_5m") as socket:
        before = [read(socket) for _ in range(3)]
        assert before[0] == before[2]  # the clock stands
        clock.advance(MINUTE)
        after = read(socket)
        while after["E"] == before[0]["E"]:
            after = read(socket)
    assert before[0]["k"]["x"] is after["k"]["x"] is False
    assert before[0]["k"]["t"] == after["k"]["t"]
    assert before[0]["k"]["v"] < after["k"]["v"]
    assert [row(after["k"])] == http(embedded.url, "/api/v3/klines?symbol=BTCUSDT&interval=5m&limit=1")


def test_streams_change_on_an_open_connection(embedded, clock):
    with opened(embedded, "/ws") as socket:
        clock.advance(MINUTE)  # the past is not told
        assert ask(socket, "SUBSCRIBE", BTC, ETH, number=1) == {"result": None, "id": 1}
        clock.advance(MINUTE)
        told = [(event["s"], minute(event)) for event in (read(socket), read(socket))]
        assert told == [("BTCUSDT", 1), ("ETHUSDT", 1)]
        assert ask(socket, "SUBSCRIBE", ETH, number="again") == {"result": None, "id": "again"}
        assert ask(socket, "UNSUBSCRIBE", BTC, "never@subscribed", number=None) == {"result": None, "id": None}
        assert ask(socket, "LIST_SUBSCRIPTIONS", number=3) == {"result": [ETH], "id": 3}
        clock.advance(2 * MINUTE)
        told = [(event["s"], minute(event)) for event in (read(socket), read(socket))]
        assert told == [("ETHUSDT", 2), ("ETHUSDT", 3)]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("{", 3, "Invalid JSON"),
        ("[1]", 2, "missing field `method`"),
        ('{"id":1}', 2, "missing field `method`"),
        ('{"method":"BUY","id":1}', 2, "unknown variant `BUY`"),
        ('{"method":["BUY"],"id":1}', 2, "unknown variant"),
        ('{"method":"SUBSCRIBE","params":[]}', 2, "request ID"),
        ('{"method":"SUBSCRIBE","params":[],"id":true}', 2, "request ID"),
        ('{"method":"SUBSCRIBE","params":"btcusdt@kline_1m","id":1}', 2, "expected a sequence"),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2, "expected a sequence"),
    ],
)
def test_nonsense_gets_an_error_and_the_connection_stays(socket, text, code, words):
    socket.send(text)
    error = read(socket)["error"]
    assert error["code"] == code
    assert words in error["msg"]
    assert ask(socket, "LIST_SUBSCRIPTIONS") == {"result": [BTC], "id": 1}


def test_streams_that_do_not_exist_are_silent(embedded, clock):
    unknown = ["nope@kline_1m", "BTCUSDT@kline_1m", "btcusdt@kline_7m", "btcusdt@trade", "btcusdt", "@"]
    with opened(embedded, f"/stream?streams={'/'.join([*unknown, BTC])}") as socket:
        assert ask(socket, "LIST_SUBSCRIPTIONS")["result"] == [*unknown, BTC]
        clock.advance(timedelta(minutes=2))
        assert [read(socket)["stream"] for _ in range(2)] == [BTC, BTC]


def test_a_gap_is_not_told_and_the_end_of_the_market_is_the_end(make_bars):
    bars = check_bars(make_bars(20, missing=(12, 13)), timedelta(minutes=5), "bars")
    replay = ReplayMarket({"BTCUSDT": bars}, timedelta(minutes=5))
    clock = WatchedClock(replay.first + timedelta(minutes=5 * 10 + 1))
    with EmbeddedExchange(replay, clock) as exchange:
        exchange.exchange.stream.interval = 0.002
        with opened(exchange, "/ws/btcusdt@kline_5m/btcusdt@kline_1m/btcusdt@kline_15m") as socket:
            clock.advance(timedelta(hours=9))
            events = [read(socket) for _ in range(10)]
            assert [event["k"]["i"] for event in events].count("15m") == 2
            fives = [event["k"] for event in events if event["k"]["i"] == "5m"]
            at = [(kline["t"] - int(replay.first.timestamp() * 1000)) // (5 * MINUTE_MS) for kline in fives]
            assert at == [10, 11, *range(14, 20)]
            clock.wait()
            assert ask(socket, "LIST_SUBSCRIPTIONS", number=9)["id"] == 9  # nothing before it: no update either


def test_a_scaled_clock_is_followed(market):
    # ten minutes a second
    with (
        EmbeddedExchange(market, ScaledClock.starting(NOW, 600)) as exchange,
        opened(exchange, f"/ws/{BTC}") as socket,
    ):
        closed = []
        while len(closed) < 4:
            event = read(socket)
            if event["k"]["x"]:
                closed.append(minute(event))
        assert closed == list(range(closed[0], closed[0] + 4))


def test_closed_candles_are_skipped(socket, clock, faults):
    faults.skip_closed = 2
    clock.advance(4 * MINUTE)
    assert [minute(read(socket)) for _ in range(2)] == [2, 3]
    assert faults.skip_closed == 0


def test_closed_candles_are_sent_twice(socket, clock, faults):
    faults.duplicate_closed = 2
    clock.advance(3 * MINUTE)
    assert [minute(read(socket)) for _ in range(5)] == [0, 0, 1, 1, 2]


def test_closed_candles_change_places(socket, clock, faults):
    faults.reorder = True
    clock.advance(5 * MINUTE)
    assert [minute(read(socket)) for _ in range(4)] == [1, 0, 3, 2]
    clock.wait()
    faults.reorder = False
    assert minute(read(socket)) == 4
    clock.advance(MINUTE)
    assert minute(read(socket)) == 5


def test_each_stream_changes_places_by_itself(embedded, clock, faults):
    faults.reorder = True
    with opened(embedded, f"/stream?streams={BTC}/{ETH}") as socket:
        clock.advance(2 * MINUTE)
        told = [(item["stream"], minute(item["data"])) for item in (read(socket) for _ in range(4))]
        assert told == [(BTC, 1), (BTC, 0), (ETH, 1), (ETH, 0)]


def test_a_closed_candle_is_called_open(socket, clock, faults):
    faults.lie_open = 1
    clock.advance(2 * MINUTE)
    events = [read(socket) for _ in range(2)]
    assert [(minute(event), event["k"]["x"]) for event in events] == [(0, False), (1, True)]


def test_silence_answers_pings_only(embedded, socket, clock, faults):
    faults.silent = True
    clock.advance(MINUTE)
    clock.wait()
    socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 1}))
    assert socket.ping().wait(5)  # and so the request before it has been read
    with opened(embedded, f"/ws/{BTC}") as another:
        assert another.ping().wait(5)
    faults.silent = False
    clock.advance(MINUTE)
    assert minute(read(socket)) == 1


def test_the_connection_breaks_without_a_handshake(embedded, socket, clock, faults):
    faults.close_after = 2
    clock.advance(3 * MINUTE)
    assert [minute(read(socket)) for _ in range(2)] == [0, 1]
    with pytest.raises(ConnectionClosed) as broken:
        socket.recv(timeout=5)
    assert broken.value.rcvd is None  # what clients report as 1006
    assert faults.close_after is None
    with opened(embedded, f"/ws/{BTC}") as again:
        clock.advance(MINUTE)
        assert minute(read(again)) == 3


def test_the_connection_breaks_at_once(socket, faults):
    faults.close_after = 0
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=5)


def test_the_handshake_is_refused(embedded, faults):
    faults.refuse = True
    with pytest.raises(InvalidStatus) as refused:
        opened(embedded, f"/ws/{BTC}")
    assert refused.value.response.status_code == 503
    assert embedded.exchange.served["stream"] == 0


def test_garbage_comes_instead_of_messages(embedded, socket, clock):
    embedded.exchange.faults = StreamFaults(garbage=1)  # replacing them all works as well
    clock.advance(2 * MINUTE)
    assert socket.recv(timeout=5) == "not json"
    assert minute(read(socket)) == 1


def test_a_plain_request_is_no_connection(embedded):
    with pytest.raises(urllib.error.HTTPError) as refused:
        http(embedded.url, f"/ws/{BTC}")
    with refused.value as answer:
        assert answer.code == 400


def deaf(url, path):
    """Return a connection that reads nothing after the handshake."""
    host, port = url.removeprefix("http://").split(":")
    plain = raw_socket.socket()
    plain.setsockopt(raw_socket.SOL_SOCKET, raw_socket.SO_RCVBUF, 4096)
    plain.settimeout(5)
    plain.connect((host, int(port)))
    lines = "Host: x", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    plain.sendall("\r\n".join([f"GET {path} HTTP/1.1", *lines, key, "", ""]).encode())
    assert plain.recv(12) == b"HTTP/1.1 101"
    return plain


def test_the_end_closes_connections_at_once(market, clock, caplog):
    before = threading.active_count()
    many = [f"{symbol}usdt@kline_{name}" for symbol in ("btc", "eth") for name in ("1m", "3m", "5m", "15m", "30m")]
    with EmbeddedExchange(market, clock) as exchange:
        exchange.exchange.stream.interval = 0.002
        exchange.exchange.stream.update = math.inf
        polite = opened(exchange, "/ws")
        stalled = deaf(exchange.url, f"/ws/{'/'.join(many)}")
        clock.advance(timedelta(days=21))  # 3 MB, of which the socket takes some
        clock.wait()
        assert ask(polite, "LIST_SUBSCRIPTIONS")["result"] == []  # others are served meanwhile
        started = time.monotonic()
    assert time.monotonic() - started < 1
    with stalled, polite:
        with pytest.raises(ConnectionClosed) as closed:
            polite.recv(timeout=5)
        assert closed.value.rcvd.code == 1001
    assert not exchange.exchange.stream._open
    assert not caplog.records
    assert threading.active_count() == before


def test_the_perpetual_paths_answer_from_their_own_market(market, clock, make_bars):
    bars = check_bars(make_bars(600), timedelta(minutes=5), "bars")
    perpetual = ReplayMarket({"BTCUSDT": bars}, timedelta(minutes=5))
    clock.at = perpetual.first + timedelta(days=1)
    with EmbeddedExchange(market, clock, perpetual=perpetual) as exchange:
        assert http(exchange.url, "/fapi/v1/ping") == {}
        assert http(exchange.url, "/fapi/v1/time") == {"serverTime": int(clock.at.timestamp() * 1000)}
        (symbol,) = http(exchange.url, "/fapi/v1/exchangeInfo")["symbols"]
        assert (symbol["symbol"], symbol["contractType"], symbol["marginAsset"]) == ("BTCUSDT", "PERPETUAL", "USDT")
        query = "klines?symbol=BTCUSDT&interval=5m&limit=5"
        rows = http(exchange.url, f"/fapi/v1/{query}")
        assert [float(item[4]) for item in rows[:4]] == pytest.approx(bars["close"].to_pylist()[284:288], abs=1e-8)
        assert rows != http(exchange.url, f"/api/v3/{query}")
        names = ("fapi/ping", "fapi/time", "fapi/exchangeInfo", "fapi/klines", "klines")
        assert exchange.exchange.served == dict.fromkeys(names, 1)
        for path in ("/fapi/v1/klines?symbol=ETHUSDT&interval=5m", "/fapi/v1/klines?symbol=BTCUSDT&interval=1m"):
            with pytest.raises(urllib.error.HTTPError, match="400") as refused:
                http(exchange.url, path)
            refused.value.close()


@pytest.mark.parametrize("path", ["/fapi/v1/ping", "/api/v3/depth", "/dapi/v1/ping", "/api/v1/ping"])
def test_what_is_not_served_is_not_found(embedded, path):
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        http(embedded.url, path)
    refused.value.close()
