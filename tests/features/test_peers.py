"""Features across symbols: values against the oracle, audits, the cache, and exchange to worker."""

import os
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from oracle import ORACLE_ACROSS, Bars, Missing

from crucible import bar_stages, lab_stages
from crucible.clock import ManualClock
from crucible.errors import DataError, RecipeError, StaleError
from crucible.features.audit.lookahead import find_leaks
from crucible.features.audit.parity import compare_paths
from crucible.features.audit.warmup import measure_warmup
from crucible.features.cache import cached_features
from crucible.features.engine import compute_features, compute_plan, recipe_features
from crucible.features.feature import Feature, FeatureSet, Window
from crucible.features.library import ACROSS, CROSS
from crucible.features.plan import compile_plan
from crucible.market.bars import check_bars, open_times
from crucible.market.feed import LiveFeed
from crucible.market.files import read_bar_file
from crucible.market.peers import join_peers
from crucible.market.recipe_bars import read_bars
from crucible.market.update import open_sources
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.replay import ReplayMarket
from crucible.recipe import parse_recipe
from crucible.settings import Settings
from crucible.worker.predictor import Predictor

FIVE = timedelta(minutes=5)
TIMES = 10_000 if os.environ.get("CRUCIBLE_PROVE") else 200
OTHERS = FeatureSet("others", 1, tuple(ACROSS.values())).with_peers(["ETH", "SOL"])


@pytest.fixture(scope="module")
def joined(make_bars):
    """Own bars with holes, one peer with others, and one that is listed late."""
    own = check_bars(make_bars(1100, seed=3, missing=(400, 401)), FIVE, "own")
    eth = check_bars(make_bars(1100, seed=4, missing=(300, 777)), FIVE, "eth")
    sol = check_bars(make_bars(1100, seed=5).slice(5), FIVE, "sol")
    return join_peers(own, {"ETH": eth, "SOL": sol})


def test_peers_stand_beside_the_own_bars_by_time(make_bars):
    own, other = make_bars(6, seed=1, missing=(2,)), make_bars(9, seed=2, missing=(4,))
    table = join_peers(own, {"ETHUSDT": other})
    assert table.num_rows == 5
    theirs = dict(zip(open_times(other).tolist(), other["close"].to_pylist(), strict=True))
    assert table["ethusdt_close"].to_pylist() == [theirs.get(time) for time in open_times(own).tolist()]
    assert table["ethusdt_close"].null_count == 1
    nobody = join_peers(own, {"ETHUSDT": other.slice(0, 0)})
    assert nobody["ethusdt_volume"].null_count == 5


@pytest.mark.parametrize("horizon_bars", [1, 3])
def test_every_feature_across_is_the_oracle_s(joined, horizon_bars):
    found = compute_plan(joined, compile_plan(OTHERS, horizon_bars), FIVE)
    of_sol = {name for name in found.names if name.endswith("_sol")}
    assert set(found.names) - of_sol == set(ORACLE_ACROSS)
    slots = (open_times(joined) - open_times(joined)[0]) // 300_000_000
    rows = [None] * (int(slots[-1]) + 1)
    for slot, row in zip(slots, joined.to_pylist(), strict=True):
        rows[slot] = row
    windows = {item.name: item.bars(horizon_bars) for item in OTHERS.features}
    compared = 0
    for row in [*range(0, 40, 9), 120, 297, 298, 299, 301, 350, 420, 640, 775, 776, 800, 1090]:
        seen = Bars(rows[: slots[row] + 1])
        for name, formula in ORACLE_ACROSS.items():
            try:
                expected = formula(seen, windows[name])
            except Missing:
                expected = np.nan
            value = found.columns[name][row]
            assert np.isnan(value) == np.isnan(expected), (name, row, value, expected)
            if not np.isnan(expected):
                scale = np.nanstd(found.columns[name])
                assert abs(value - expected) <= 1e-9 * (scale + abs(expected)), (name, row)
                compared += 1
    assert compared > 120


def test_the_audits_hold_across_symbols(joined):
    plan = compile_plan(OTHERS, 2)
    assert find_leaks(joined, plan, FIVE, cuts=3) == []
    parity = compare_paths(joined, plan, FIVE, times=TIMES)
    assert {item.masks for item in parity} == {0}
    assert {item.largest for item in parity} == {0.0}


def test_the_declared_warm_up_is_sufficient_across_symbols(make_bars):
    bars = join_peers(make_bars(1100, seed=3), {"ETH": make_bars(1100, seed=4), "SOL": make_bars(1100, seed=5)})
    found = measure_warmup(bars, OTHERS, 2, FIVE, instants=1)
    assert [item.feature for item in found if not item.sufficient or item.absurd] == []


def test_a_peer_s_future_is_a_leak_too(joined):
    ahead = Feature(
        "ahead_{peer}", "the peer's next return", "a test", "peer_r", across="peer",
    )  # fmt: skip
    peeking = Feature(
        "peeking", "a test", "a test", "", function=lambda c, w: np.roll(c["eth_r"], -1), windows={"n": Window(1, 3)}
    )
    plan = compile_plan(FeatureSet("bad", 1, (ahead, peeking)).with_peers(["ETH", "SOL"]), 1)
    assert {leak.feature for leak in find_leaks(joined, plan, FIVE, cuts=2)} == {"peeking"}


def with_peers(text, peers='["ETHUSDT", "SOLUSDT"]'):
    text = text.replace('symbol = "BTCUSDT"', f'symbol = "BTCUSDT"\npeers = {peers}')
    return text.replace('set = "core"\nversion = 2', 'set = "cross"\nversion = 1')


def test_a_recipe_with_peers_is_checked(recipe_text):
    recipe = parse_recipe(with_peers(recipe_text), "r")
    assert parse_recipe(recipe.canonical(), "canonical") == recipe
    assert [member.symbol for member in recipe.data.members] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    names = recipe_features(recipe).names
    assert len(names) == len(CROSS.features) + sum(item.across == "peer" for item in CROSS.features)
    assert "beta_solusdt" in names
    for text, words in (
        (with_peers(recipe_text, '["BTCUSDT"]'), "the symbol is not its own peer"),
        (with_peers(recipe_text, '["ETHUSDT", "ETHUSDT"]'), "each peer may be named once"),
        (with_peers(recipe_text, '["eth/usd"]'), "data.peers.0"),
        (with_peers(recipe_text).replace('"binance"', '"binance:BTCUSDC"'), "names one symbol, so it cannot serve"),
    ):
        with pytest.raises(RecipeError, match=words):
            parse_recipe(text, "r")
    alone = parse_recipe(with_peers(recipe_text, "[]"), "r")
    with pytest.raises(RecipeError, match=r'looks at other symbols: name them, data.peers = \["ETHUSDT"\]'):
        recipe_features(alone)
    with pytest.raises(RecipeError, match=r"one per peer: it needs \{peer\} in its name"):
        Feature("x", "y", "z", "peer_r", across="peer")


def test_features_without_the_peers_bars_are_refused(make_bars, recipe_text):
    with pytest.raises(DataError, match="The bars of ETHUSDT, a peer, are not beside the own ones"):
        compute_features(make_bars(200), parse_recipe(with_peers(recipe_text), "r"))


def test_a_peer_s_bars_are_part_of_the_cache_s_key(make_bars, recipe_text, tmp_path):
    recipe = parse_recipe(with_peers(recipe_text, '["ETHUSDT"]'), "r")
    own, other = make_bars(400, seed=1), make_bars(400, seed=2)
    first = cached_features(tmp_path, join_peers(own, {"ETHUSDT": other}), recipe)
    again = cached_features(tmp_path, join_peers(own, {"ETHUSDT": other}), recipe)
    revised = cached_features(tmp_path, join_peers(own, {"ETHUSDT": make_bars(400, seed=3)}), recipe)
    assert (first.computed, again.computed, revised.computed) == (1, 0, 1)
    assert not np.array_equal(
        first.frame.columns["lead_ethusdt"], revised.frame.columns["lead_ethusdt"], equal_nan=True
    )


class Echo:
    """A model that answers with one of its features, so that the worker's features can be seen."""

    def __init__(self, recipe, column):
        self.manifest = type("Manifest", (), {"recipe": recipe})()
        self.column = column

    def predict(self, matrix):
        return matrix[:, self.column]


def test_from_the_exchange_to_the_worker_s_answer(make_bars, recipe_text, tmp_path):
    """Three symbols are fetched, kept, computed, and the worker's live path gives what history gives."""
    days = 12
    tables = {symbol: make_bars(days * 288, seed=seed) for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT", "SOLUSDT"))}
    text = (
        with_peers(recipe_text)
        .replace('target = "price"', 'target = "log_return"')
        .replace("testnet = 77", "testnet = 999")
    )
    for key, value in (("history", "10d"), ("min_train", "2d"), ("test", "1d"), ("deployment", "1d")):
        text = "\n".join(f'{key} = "{value}"' if line.startswith(f"{key} = ") else line for line in text.splitlines())
    recipe = parse_recipe(text, "r")
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days - 1, minutes=1)
    clock = ManualClock(now)
    with EmbeddedExchange(ReplayMarket(tables, FIVE), clock) as exchange:
        settings = Settings(
            home=tmp_path,
            recipes=tmp_path,
            exchange_url=exchange.url,
            clock_text=f"{now.isoformat()}@{time.time():.0f}x1",
        )
        reports = bar_stages.fetch_bars(settings, recipe)
        assert [report.rows_new for report in reports] == [2880] * 3
        dataset = lab_stages.build_features(settings, recipe)
        feeds = [
            LiveFeed(open_sources(member.sources, member.symbol, settings), member.symbol, FIVE, 400, clock,
                     stream_url=exchange.url)
            for member in recipe.data.members
        ]  # fmt: skip
        history = compute_features(read_bars(bar_stages.bar_store(settings), recipe.data, None, None), recipe)
        for name in ("lead_ethusdt", "beta_solusdt", "market_residual", "dispersion", "rsi"):
            column = history.names.index(name)
            answer = Predictor(Echo(recipe, column), feeds).predict(now)
            assert answer.log_return == history.values[-1, column]
            assert np.isfinite(answer.log_return)
        assert dataset.names == history.names
        # a peer that stands still is as bad as one's own symbol that does
        late = [feeds[0], LiveFeed(open_sources(recipe.data.sources, "ETHUSDT", settings), "ETHUSDT", FIVE, 400,
                                   ManualClock(now), stream_url=exchange.url), feeds[2]]  # fmt: skip
        late[1].closed = lambda at, count: feeds[1].closed(at - timedelta(hours=1), count)
        with pytest.raises(StaleError, match="s ago; at most"):
            Predictor(Echo(recipe, 0), late).predict(now)


@pytest.mark.conformance
def test_the_audits_hold_on_real_bars(shared):
    hour = timedelta(hours=1)
    tables = {
        symbol: read_bar_file(
            shared / "data" / f"{symbol}USDT_1h_binance.parquet", f"{symbol}USDT", hour, allow_gaps=True
        )
        for symbol in ("BTC", "ETH", "SOL", "NEAR")
    }
    newest = min(open_times(table)[-1] for table in tables.values())
    own = tables.pop("BTC")
    own = own.filter(pa.array(open_times(own) <= newest)).slice(len(own) - 5000 if len(own) > 5000 else 0)
    bars = join_peers(own, tables)
    features = FeatureSet("others", 1, tuple(ACROSS.values())).with_peers(list(tables))
    plan = compile_plan(features, 8)
    assert find_leaks(bars, plan, hour, cuts=2) == []
    parity = compare_paths(bars, plan, hour, times=TIMES)
    assert {item.largest for item in parity} == {0.0}
    assert {item.masks for item in parity} == {0}
    found = compute_plan(bars, plan, hour)
    assert 0.5 < np.nanmedian(found.columns["correlation_eth"]) < 1
    assert 0.3 < np.nanmedian(found.columns["beta_eth"]) < 1
