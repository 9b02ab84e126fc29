import json
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from crucible.clock import ManualClock
from crucible.errors import ProcessError, SettingsError
from crucible.market.bars import BAR_SCHEMA, check_bars
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.replay import ReplayMarket
from crucible.practice.server import Exchange, start
from crucible.practice.weight import WeightMeter

NOW = datetime(2026, 2, 1, 12, 3, 20, tzinfo=UTC)
MINUTE = 60_000


def ms(instant):
    return int(instant.timestamp() * 1000)


def ask(url, path):
    """Return (status, headers, JSON body)."""
    try:
        with urllib.request.urlopen(f"{url}/api/v3/{path}", timeout=10) as answer:
            return answer.status, answer.headers, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.loads(error.read())


def klines(url, query):
    status, _, rows = ask(url, f"klines?symbol=BTCUSDT&{query}")
    assert status == 200
    return rows


def test_ping_time_and_info(embedded, clock):
    assert ask(embedded.url, "ping")[2] == {}
    assert ask(embedded.url, "time")[2] == {"serverTime": ms(NOW)}
    clock.advance(timedelta(minutes=7))
    assert ask(embedded.url, "time")[2] == {"serverTime": ms(NOW) + 7 * MINUTE}
    info = ask(embedded.url, "exchangeInfo")[2]
    assert [(item["symbol"], item["baseAsset"], item["quoteAsset"]) for item in info["symbols"]] == [
        ("BTCUSDT", "BTC", "USDT"),
        ("ETHUSDT", "ETH", "USDT"),
    ]
    assert len(ask(embedded.url, "exchangeInfo?symbol=ETHUSDT")[2]["symbols"]) == 1
    assert ask(embedded.url, "exchangeInfo?symbol=NOPE")[2]["code"] == -1121


def test_rows_have_binances_twelve_columns(embedded, market):
    rows = klines(embedded.url, f"interval=5m&startTime={ms(NOW) - 3600_000}&limit=2")
    assert [len(row) for row in rows] == [12, 12]
    row = rows[0]
    assert [type(cell) for cell in row] == [int, str, str, str, str, str, int, str, int, str, str, str]
    assert row[0] % (5 * MINUTE) == 0
    assert row[6] == row[0] + 5 * MINUTE - 1
    candle = market.candles("BTCUSDT", 5 * MINUTE, row[0], row[0] + 1)
    assert [float(cell) for cell in row[1:6]] == pytest.approx([column[0] for column in candle.columns()[1:]], abs=1e-8)


def test_the_last_row_is_the_open_candle_and_knows_nothing_of_the_future(embedded, clock, market):
    opening = ms(NOW) // (5 * MINUTE) * 5 * MINUTE
    row = klines(embedded.url, "interval=5m&limit=3")[-1]
    assert row[0] == opening
    assert row[6] > ms(NOW)
    so_far = market.candles("BTCUSDT", MINUTE, opening, ms(NOW) // MINUTE * MINUTE)
    assert len(so_far) == 3  # it is 3 minutes and 20 seconds past
    assert float(row[4]) == pytest.approx(so_far.close[-1], abs=1e-8)
    assert float(row[2]) == pytest.approx(so_far.high.max(), abs=1e-8)
    # a minute that has just begun is flat at the last close
    minute = klines(embedded.url, "interval=1m&limit=1")[0]
    assert minute[1] == minute[2] == minute[3] == minute[4] == row[4]
    assert float(minute[5]) == 0
    clock.advance(timedelta(minutes=2))
    closed = klines(embedded.url, "interval=5m&limit=2")[0]
    assert closed[0] == opening
    assert closed[4] != row[4]


def test_ranges_are_inclusive_and_pages_are_limited(embedded):
    start = ms(datetime(2026, 1, 25, tzinfo=UTC))
    rows = klines(embedded.url, f"interval=5m&startTime={start}&endTime={start + 10 * 5 * MINUTE}&limit=1000")
    assert [row[0] for row in rows] == [start + i * 5 * MINUTE for i in range(11)]
    assert len(klines(embedded.url, f"interval=5m&startTime={start}")) == 500
    assert klines(embedded.url, f"interval=5m&startTime={start}")[0][0] == start
    assert len(klines(embedded.url, "interval=5m&limit=1000")) == 1000
    newest = klines(embedded.url, f"interval=5m&endTime={start}&limit=4")
    assert [row[0] for row in newest] == [start - i * 5 * MINUTE for i in (3, 2, 1, 0)]
    assert klines(embedded.url, f"interval=5m&startTime={ms(NOW) + 3600_000}") == []
    listed = klines(embedded.url, "interval=5m&startTime=0&limit=1")[0][0]
    assert listed == ms(datetime(2026, 1, 20, tzinfo=UTC))


@pytest.mark.parametrize("interval", ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"])
def test_every_interval_up_to_a_day_is_served(embedded, interval):
    rows = klines(embedded.url, f"interval={interval}&limit=3")
    assert len(rows) == 3
    assert rows[2][0] - rows[1][0] == rows[1][0] - rows[0][0] == rows[0][6] - rows[0][0] + 1


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("interval=5m", -1102),
        ("symbol=BTCUSDT", -1102),
        ("symbol=&interval=5m", -1102),
        ("symbol=DOGEUSDT&interval=5m", -1121),
        ("symbol=BTCUSDT&interval=7m", -1120),
        ("symbol=BTCUSDT&interval=1M", -1120),
        ("symbol=BTCUSDT&interval=5m&limit=0", -1130),
        ("symbol=BTCUSDT&interval=5m&limit=1001", -1130),
        ("symbol=BTCUSDT&interval=5m&limit=ten", -1100),
        ("symbol=BTCUSDT&interval=5m&startTime=now", -1100),
    ],
)
def test_faulty_requests_get_binances_codes(embedded, query, code):
    status, _, body = ask(embedded.url, f"klines?{query}")
    assert status == 400
    assert body["code"] == code
    assert body["msg"]


def test_weight_is_counted_and_limited(market, clock):
    with EmbeddedExchange(market, clock, WeightMeter(limit=5, window=1.0)) as exchange:
        used = [ask(exchange.url, "klines?symbol=BTCUSDT&interval=5m&limit=1") for _ in range(3)]
        assert [answer[0] for answer in used] == [200, 200, 429]
        assert [answer[1]["X-MBX-USED-WEIGHT-1M"] for answer in used] == ["2", "4", "6"]
        assert used[2][2]["code"] == -1003
        time.sleep(int(used[2][1]["Retry-After"]))
        assert ask(exchange.url, "ping")[0] == 200


def test_a_thousand_rows_take_milliseconds(embedded):
    query = "interval=5m&limit=1000"
    klines(embedded.url, query)
    started = time.process_time()
    for _ in range(10):
        klines(embedded.url, query)
    # server, client and JSON together; about 9 ms when nothing else runs
    assert (time.process_time() - started) / 10 < 0.05


def bars_with_gap(make_bars, rows, missing):
    return check_bars(make_bars(rows, missing=missing), timedelta(minutes=5), "bars")


def test_a_replay_shows_what_has_closed_and_ends_with_the_file(make_bars):
    bars = bars_with_gap(make_bars, 600, (100, 101))
    replay = ReplayMarket({"BTCUSDT": bars}, timedelta(minutes=5))
    clock = ManualClock(replay.first + timedelta(minutes=5 * 30 + 2))
    with EmbeddedExchange(replay, clock) as exchange:
        rows = klines(exchange.url, "interval=5m&limit=1000")
        assert len(rows) == 31  # 30 closed ones and the open one
        assert [float(row[4]) for row in rows[:30]] == pytest.approx(bars["close"].to_pylist()[:30], abs=1e-8)
        assert rows[30][1] == rows[30][4] == rows[29][4]
        assert ask(exchange.url, "klines?symbol=BTCUSDT&interval=1m")[2]["code"] == -1120
        clock.at = replay.last + timedelta(days=2)
        assert len(klines(exchange.url, "interval=5m&startTime=0&limit=1000")) == 598
        assert len(klines(exchange.url, "interval=5m&limit=1000")) == 598
        newest = klines(exchange.url, "interval=5m&limit=10")
        assert newest[-1][0] == ms(replay.last) - 5 * MINUTE
        hours = klines(exchange.url, "interval=1h&limit=1000")
        assert len(hours) == 49  # 600 bars are 50 hours, and the one with the hole is not guessed
        across = klines(exchange.url, f"interval=5m&startTime={ms(replay.first) + 95 * 5 * MINUTE}&limit=10")
        assert len(across) == 10
        assert max(np.diff([row[0] for row in across])) == 3 * 5 * MINUTE


def test_a_port_in_use_and_a_public_address_are_refused(embedded, market, clock):
    import asyncio

    port = int(embedded.url.rsplit(":", 1)[1])
    with pytest.raises(ProcessError, match=f"127.0.0.1:{port}: the port is in use; choose another --port"):
        asyncio.run(start(Exchange(market, clock), "127.0.0.1", port))
    with pytest.raises(SettingsError, match="loopback only"):
        asyncio.run(start(Exchange(market, clock), "0.0.0.0", 0))


@pytest.mark.conformance
def test_real_bars_are_replayed_as_they_are(shared):
    from crucible.market.files import read_bar_file

    hour = timedelta(hours=1)
    bars = read_bar_file(shared / "data" / "BTCUSDT_1h_binance.parquet", "BTCUSDT", hour, allow_gaps=True)
    replay = ReplayMarket({"BTCUSDT": bars}, hour)
    with EmbeddedExchange(replay, ManualClock(datetime(2018, 2, 12, tzinfo=UTC))) as exchange:
        rows = klines(exchange.url, f"interval=1h&startTime={ms(datetime(2018, 2, 7, tzinfo=UTC))}&limit=1000")
        served = pa.array([row[0] * 1000 for row in rows[:-1]]).cast(BAR_SCHEMA.field("open_time").type)
        first = datetime(2018, 2, 7, tzinfo=UTC)
        times = [at for at in bars["open_time"].to_pylist() if first <= at < datetime(2018, 2, 12, tzinfo=UTC)]
        assert served.to_pylist() == times
        assert max(np.diff(times)) == 34 * hour
