"""Every other source against a loopback server of its wire format, faults included."""

import itertools
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from aiohttp import web
from venues import FAULTS, MINUTE, Atlas, BinanceArchive, Coinbase, Kraken, empty, garbage

from crucible.clock import ManualClock
from crucible.errors import SettingsError, SourceError
from crucible.market.allora_source import AlloraSource
from crucible.market.archive_source import ArchiveSource
from crucible.market.bars import check_bars, empty_bars
from crucible.market.ccxt_source import CcxtSource
from crucible.market.ingest import ingest, missing_ranges
from crucible.market.resample import resample
from crucible.market.source import Retry, open_source
from crucible.market.store import Series
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.replay import ReplayMarket
from crucible.venue import market_of, split_source, venue_of

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=2, hours=3, seconds=20)
HOUR_AGO = NOW.replace(second=0) - timedelta(hours=1)
QUICK = Retry(attempts=3, base=0.01, cap=0.02, patience=1.0, timeout=0.4)
HOLES = (*range(400, 420), *range(1500, 2200), 2990)


@pytest.fixture(scope="module")
def minutes(make_bars):
    """Three days of minutes with holes: twenty minutes, nearly twelve hours, and one minute."""
    return check_bars(make_bars(3 * 1440, interval=MINUTE, missing=HOLES), MINUTE, "bars")


def pages(source, symbol, start, end, interval=MINUTE):
    return list(source.bars(symbol, interval, start, end))


def joined(found):
    return pa.concat_tables([empty_bars(), *(page.bars for page in found)]).combine_chunks()


def between(bars, start, end):
    return bars.filter(pa.array([start <= at < end for at in bars["open_time"].to_pylist()]))


@pytest.fixture
def coinbase(minutes):
    with Coinbase(minutes, NOW) as venue:
        yield venue


@pytest.fixture
def kraken(minutes):
    with Kraken(minutes, NOW) as venue:
        yield venue


def test_coinbase_serves_through_long_silences_and_never_the_open_bar(coinbase, minutes):
    source = CcxtSource("coinbase", coinbase.url, retry=QUICK)
    assert source.now() == NOW.replace(microsecond=0)
    found = pages(source, "BTCUSD", START, NOW + timedelta(hours=1))
    closed = between(minutes, START, NOW.replace(second=0))
    assert joined(found).equals(closed)
    # the pages tell which minutes had no trade: all holes, and nothing else, between first and last bar
    assert found[0].start == START
    assert len(found) > 1
    assert all(left.end == right.start for left, right in itertools.pairwise(found))
    hourly = joined(pages(source, "BTCUSD", START, NOW, timedelta(hours=1)))
    assert hourly.equals(resample(minutes, MINUTE, 60 * MINUTE, complete=1e-9, closed_at=NOW).bars)
    with pytest.raises(SourceError, match="knows no spot market 'DOGEUSD'"):
        pages(source, "DOGEUSD", START, NOW)
    with pytest.raises(SourceError, match="coinbase has no bars of 3m; it has 1m, 5m"):
        pages(source, "BTCUSD", START, NOW, 3 * MINUTE)


def test_a_spot_source_finds_no_swap_and_the_other_way_round(coinbase):
    with pytest.raises(SourceError, match="knows no perpetual market 'BTCUSD'"):
        pages(CcxtSource("coinbase_perpetual", coinbase.url, retry=QUICK), "BTCUSD", START, NOW)
    assert (market_of("binance"), market_of("binance_perpetual_archive")) == ("spot", "perpetual")
    assert venue_of("binance_perpetual_archive") == "binance_perpetual"
    assert split_source("coinbase:BTCUSD", "BTCUSDT") == ("coinbase", "BTCUSD")
    with pytest.raises(ValueError, match="is no source"):
        split_source("coin base", "X")


def test_spot_and_perpetual_bars_of_binance_never_meet(make_bars, store):
    spot, swap = (check_bars(make_bars(600, seed=seed), 5 * MINUTE, "bars") for seed in (1, 2))
    markets = [ReplayMarket({"BTCUSDT": bars}, 5 * MINUTE) for bars in (spot, swap)]
    with EmbeddedExchange(markets[0], ManualClock(markets[0].last), perpetual=markets[1]) as exchange:
        for name, bars in (("binance", spot), ("binance_perpetual", swap)):
            series = Series(name, "BTCUSDT", 5 * MINUTE)
            ingest([open_source(name, exchange.url)], store, series, START, markets[0].last)
            assert store.read(series)["close"].to_pylist() == pytest.approx(bars["close"].to_pylist(), abs=1e-8)
    assert [series.source for series in store.series()] == ["binance", "binance_perpetual"]


def test_kraken_s_depth_is_not_mistaken_for_a_gap(kraken, minutes, store):
    source = CcxtSource("kraken", kraken.url, retry=QUICK)
    series = Series("kraken", "BTCUSD", MINUTE)
    ingest([source], store, series, START, NOW)
    stored = store.read(series)
    last = NOW.replace(second=0)
    assert stored.equals(between(minutes, last - 719 * MINUTE, last))
    # what lies further back is neither a gap nor noted as missing
    assert {note.cause for note in store.ledger(series).notes()} <= {"no trades"}
    first = stored["open_time"][0].as_py()
    assert missing_ranges(store, series, START, first)[0] == (START, first)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["coinbase", "kraken"])
def test_each_fault_is_got_over_or_told_in_one_sentence(request, minutes, name, fault):
    venue = request.getfixturevalue(name)
    source = CcxtSource(name, venue.url, retry=QUICK)
    start, end = NOW.replace(second=0) - 30 * MINUTE, NOW
    expected = joined(pages(source, "BTCUSD", start, end))
    assert expected.num_rows == 30
    venue.faults.extend([FAULTS[fault]] * 2)
    assert joined(pages(source, "BTCUSD", start, end)).equals(expected)
    assert not venue.faults
    venue.faults.extend([FAULTS[fault]] * 6)
    with pytest.raises(SourceError, match="no answer in 3 attempts") as failure:
        pages(source, "BTCUSD", start, end)
    assert "\n" not in str(failure.value)


def test_a_page_that_is_empty_by_accident_is_asked_for_again(coinbase):
    source = CcxtSource("coinbase", coinbase.url, retry=QUICK)
    start, end = NOW.replace(second=0) - 30 * MINUTE, NOW
    source.now()

    async def honest(request, answer):
        return answer

    pages(source, "BTCUSD", start, end)
    coinbase.faults.extend([honest, empty])  # the time, then the page
    assert joined(pages(source, "BTCUSD", start, end)).num_rows == 30


def test_a_wrong_local_clock_changes_nothing(coinbase):
    for wrong in (NOW - timedelta(hours=5), NOW + timedelta(hours=5)):
        source = CcxtSource("coinbase", coinbase.url, retry=QUICK, clock=ManualClock(wrong))
        found = joined(pages(source, "BTCUSD", NOW - 30 * MINUTE, NOW + timedelta(days=1)))
        assert found["open_time"][-1].as_py() == NOW.replace(second=0) - MINUTE


def test_an_exchange_without_a_clock_must_show_a_bar_after_the_newest(coinbase):
    source = CcxtSource("coinbase", coinbase.url, retry=QUICK, clock=ManualClock(NOW + timedelta(hours=2)))
    source._tells_time = False
    found = joined(pages(source, "BTCUSD", NOW - 30 * MINUTE, NOW + timedelta(hours=2)))
    assert found["open_time"][-1].as_py() == NOW.replace(second=0) - MINUTE  # the open one is served, and not believed


@pytest.fixture
def archive(make_bars):
    bars = check_bars(make_bars(80 * 24, interval=timedelta(hours=1), missing=(30, 31)), timedelta(hours=1), "bars")
    with BinanceArchive(bars, datetime(2026, 3, 12, 9, tzinfo=UTC)) as venue:
        yield venue


def archived(venue, name="binance_archive"):
    return ArchiveSource(name, venue.url, retry=QUICK, clock=ManualClock(venue.now))


@pytest.mark.parametrize("name", ["binance_archive", "binance_perpetual_archive"])
def test_an_archive_gives_months_then_days_then_nothing(archive, name):
    hour = timedelta(hours=1)
    end = datetime(2026, 3, 12, tzinfo=UTC)
    found = pages(archived(archive, name), "BTCUSDT", START + 10 * hour, archive.now, hour)
    assert joined(found).equals(between(archive.table, START + 10 * hour, end))
    spans = [(page.start, page.end) for page in found]
    assert spans[0] == (START + 10 * hour, datetime(2026, 2, 1, tzinfo=UTC))
    assert spans[1][1] == datetime(2026, 3, 1, tzinfo=UTC)
    assert spans[-1][1] == end
    zips = {path for path in archive.requests if path.endswith(".zip")}  # asked again where the machine was slow
    assert sum("/monthly/" in path for path in zips) == 2
    assert sum("/daily/" in path for path in zips) == 11
    assert all(("/futures/um/" in path) == ("perpetual" in name) for path in zips)


def test_microseconds_and_milliseconds_meet_at_the_turn_of_2025(make_bars):
    hour = timedelta(hours=1)
    bars = make_bars(200, interval=hour)
    moved = pa.array([at - timedelta(days=368) for at in bars["open_time"].to_pylist()], pa.timestamp("us", "UTC"))
    table = check_bars(bars.set_column(0, "open_time", moved), hour, "bars")
    with BinanceArchive(table, datetime(2025, 2, 2, tzinfo=UTC)) as venue:
        found = pages(archived(venue), "BTCUSDT", table["open_time"][0].as_py(), datetime(2025, 1, 6, tzinfo=UTC), hour)
        assert joined(found).equals(between(table, START - timedelta(days=900), datetime(2025, 1, 6, tzinfo=UTC)))


def test_a_file_that_does_not_fit_its_checksum_is_never_used(archive):
    archive.spoiled = frozenset({"BTCUSDT-1h-2026-02.zip"})
    found = archived(archive).bars("BTCUSDT", timedelta(hours=1), START, archive.now)
    assert next(found).bars.num_rows == 31 * 24 - 2
    with pytest.raises(SourceError, match=r"BTCUSDT-1h-2026-02\.zip does not fit its checksum, 3 times"):
        next(found)


def test_the_archive_and_the_exchange_are_one_series(archive, store):
    hour, series = timedelta(hours=1), Series("binance", "BTCUSDT", timedelta(hours=1))
    replay = ReplayMarket({"BTCUSDT": archive.table}, hour)
    with EmbeddedExchange(replay, ManualClock(archive.now)) as exchange:
        live = open_source("binance", exchange.url)
        report = ingest([archived(archive), live], store, series, START, archive.now.replace(minute=0))
        assert report.rows_total == (70 * 24 + 9) - 2
        assert exchange.exchange.served["klines"] == 1  # the nine hours of today
    assert [note.cause for note in store.ledger(series).notes()] == ["exchange down"]


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_the_archive_is_got_over_or_told(archive, fault):
    source, hour = archived(archive), timedelta(hours=1)
    archive.faults.extend([FAULTS[fault]] * 2)
    if fault == "garbage":  # a page of HTML in place of a checksum fits no file
        with pytest.raises(SourceError, match="does not fit its checksum"):
            pages(source, "BTCUSDT", START, START + timedelta(days=31), hour)
        return
    assert joined(pages(source, "BTCUSDT", START, START + timedelta(days=31), hour)).num_rows == 31 * 24 - 2
    archive.faults.extend([FAULTS[fault]] * 6)
    with pytest.raises(SourceError, match="gave no answer in 3 attempts"):
        pages(source, "BTCUSDT", START, START + timedelta(days=31), hour)


@pytest.fixture
def atlas(minutes):
    with Atlas(minutes, NOW) as venue:
        yield venue


@pytest.mark.parametrize("flat", [False, True])
def test_allora_serves_its_minutes_in_chunks(atlas, minutes, flat):
    atlas.flat = flat
    source = AlloraSource(atlas.key, atlas.url, retry=QUICK, clock=ManualClock(NOW))
    found = pages(source, "BTCUSD", START - timedelta(days=30), NOW)
    assert joined(found).equals(between(minutes, START, NOW.replace(second=0)))
    assert sum("bulk_download" in path for path in atlas.requests) == 9  # four empty weeks are asked for twice
    assert sum("acquire" in path for path in atlas.requests) == 1
    again = AlloraSource(atlas.key, atlas.url, retry=QUICK, clock=ManualClock(NOW))  # the tag is held: 409 is fine
    assert joined(pages(again, "BTCUSD", HOUR_AGO, NOW)).num_rows == 60
    with pytest.raises(SourceError, match="has no dataset tiingo_dogeusd_1min"):
        pages(source, "DOGEUSD", START, NOW)
    with pytest.raises(SourceError, match="allora has no bars of 5m"):
        pages(source, "BTCUSD", START, NOW, 5 * MINUTE)


def test_allora_s_key_is_needed_and_shown_nowhere(atlas):
    with pytest.raises(SourceError, match="needs a key; set CRUCIBLE_ALLORA_KEY"):
        open_source("allora")
    with pytest.raises(SettingsError, match="is not http://host:port"):
        open_source("allora", "nowhere", "k")
    source = AlloraSource("k-wrong-one", atlas.url, retry=QUICK, clock=ManualClock(NOW))
    with pytest.raises(SourceError, match="refused: HTTP 401") as failure:
        pages(source, "BTCUSD", START, NOW)
    assert "k-wrong-one" not in str(failure.value)
    from crucible.settings import Settings

    assert "k-secret" not in repr(Settings.load({"CRUCIBLE_ALLORA_KEY": "k-secret"}))


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_allora_s_service_is_got_over_or_told(atlas, fault):
    source = AlloraSource(atlas.key, atlas.url, retry=QUICK, clock=ManualClock(NOW))
    pages(source, "BTCUSD", HOUR_AGO, NOW)
    if fault == "garbage":
        atlas.faults.append(garbage)
        with pytest.raises(SourceError, match="instead of JSON"):
            pages(source, "BTCUSD", HOUR_AGO, NOW)
        return
    atlas.faults.extend([FAULTS[fault]] * 2)
    assert joined(pages(source, "BTCUSD", HOUR_AGO, NOW)).num_rows == 60
    atlas.faults.extend([FAULTS[fault]] * 6)
    with pytest.raises(SourceError, match="gave no answer in 3 attempts"):
        pages(source, "BTCUSD", HOUR_AGO, NOW)


def test_an_answer_repeated_or_empty_by_accident_is_never_a_silence(minutes, store):
    series = Series("allora", "BTCUSD", MINUTE)
    start = START - timedelta(days=7)
    with Atlas(minutes, NOW) as venue:
        source = AlloraSource(venue.key, venue.url, retry=QUICK, clock=ManualClock(NOW))
        list(source.bars("BTCUSD", MINUTE, HOUR_AGO, NOW))
        first = []

        async def remember(request, answer):
            first.append(answer.text)
            return answer

        async def repeat(request, answer):
            return web.Response(text=first[0], content_type="application/json")

        async def nothing(request, answer):
            return web.Response(text="[]", content_type="application/json")

        venue.faults.append(nothing)
        assert joined(pages(source, "BTCUSD", HOUR_AGO, NOW)).num_rows == 60
        venue.faults.append(remember)
        pages(source, "BTCUSD", START, START + timedelta(hours=1))
        venue.faults.append(repeat)
        with pytest.raises(SourceError, match="repeats itself or ignores start and end"):
            ingest([source], store, series, HOUR_AGO, NOW)
        assert [note.cause for note in store.ledger(series).notes()] == ["failed fetch"]
        report = ingest([source], store, series, start, NOW)
        assert report.rows_total == between(minutes, START, NOW.replace(second=0)).num_rows


def test_a_source_asks_nothing_when_nothing_is_wanted(coinbase, archive, atlas):
    for source in (CcxtSource("coinbase", coinbase.url), archived(archive), AlloraSource("k", atlas.url)):
        assert pages(source, "BTCUSD", START, START) == []
    assert coinbase.requests == archive.requests == atlas.requests == []


def test_looking_for_exchanges_imports_none_of_them():
    assert "ccxt.zonda" not in sys.modules
    from crucible.market.source import ccxt_exchanges

    assert {"binance", "coinbase", "kraken"} <= set(ccxt_exchanges())
