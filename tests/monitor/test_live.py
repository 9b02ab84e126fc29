"""Collecting: journal and bars and chain into the store, once, whatever is repeated."""

import asyncio
import json
import math
import sqlite3
from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from conftest_monitor import ADDRESS, FIVE, NOW, closes

from crucible.chain.answers import NetworkLosses
from crucible.chain.client import ChainClient
from crucible.chain.wakeup import Settled
from crucible.cli import crucible
from crucible.errors import NodeUnreachable, StoreError
from crucible.features.engine import feature_digest
from crucible.monitor.collect import Collected, collect
from crucible.monitor.lineage import trace
from crucible.monitor.live import compare, live_rows, summary
from crucible.monitor.shadow import catch_up, predict_shadow
from crucible.monitor.store import Event, monitor_store
from crucible.validation.fits import known_scale
from crucible.worker.deployment import journal_path
from crucible.worker.paid import note_paid


class Chain:
    """Answers as ChainClient does; what it does not have, the collector must do without."""

    def __init__(self, truth):
        self.truth, self.asked = truth, 0

    async def score(self, topic_id, nonce, address):
        self.asked += 1
        return 0.5 if address == ADDRESS else None

    async def balance(self, address):
        return 10**15


class FullChain(Chain):
    async def network(self, topic_id, nonce):
        return SimpleNamespace(combined=self.truth[nonce] * 1.002)

    async def losses(self, topic_id, nonce):
        return NetworkLosses(-2.0, {"allo1a": -3.0, ADDRESS: -2.0, "allo1b": -1.0})

    async def score_ema(self, topic_id, address):
        return 0.4

    async def reward(self, topic_id, nonce, address):
        return 7.0


@pytest.fixture
def world(home, recipe, stored, make_bundle, deploy, submit):
    """60 submissions whose error is small, in a home with bars."""
    bundle, price = make_bundle(), closes(stored)
    deploy(bundle)
    times = [NOW - timedelta(days=1) + at * FIVE for at in range(60)]
    generator = np.random.default_rng(3)
    values = [price[time + FIVE] * (1 + 1e-3 * generator.normal()) for time in times]
    submit(bundle, times, values)
    nonces = {1000 + 12 * at: price[time + FIVE] for at, time in enumerate(times)}
    return SimpleNamespace(
        home=home, recipe=recipe, bundle=bundle, times=times, values=values, price=price, nonces=nonces
    )


def gather(world, client):
    return asyncio.run(collect(world.home, world.recipe, client))


def test_a_submission_is_joined_with_its_truth_and_twice_changes_nothing(world):
    first = gather(world, None)
    assert first.forecasts == 60
    assert gather(world, None) == Collected(0, 0)
    rows = live_rows(world.home, world.recipe)
    for row, time, value in zip(rows, world.times, world.values, strict=True):
        now, then = world.price[time], world.price[time + FIVE]
        assert (row.time, row.value, row.truth) == (time, value, pytest.approx(then, rel=1e-12))
        assert row.log_return == pytest.approx(math.log(then / now))
        assert row.loss == pytest.approx((value - then) ** 2, rel=1e-9)
        assert row.zero_loss == pytest.approx((now - then) ** 2, rel=1e-9)
        assert (row.bundle, row.feature_digest) == (world.bundle.digest, feature_digest(world.recipe))
    assert {row.regime for row in rows} <= {"calm", "normal", "turbulent"}


def test_the_scale_is_the_one_that_the_evaluation_uses(world, stored):
    gather(world, None)
    close = stored["close"].to_numpy()
    y = np.append(np.log(close[1:] / close[:-1]), np.nan)
    at = {time + FIVE: row for row, time in enumerate(stored["open_time"].to_pylist())}
    scale = known_scale(y, 1)
    for row in live_rows(world.home, world.recipe)[::40]:
        assert row.scale == pytest.approx(scale[at[row.time]], rel=1e-3)  # the average begins a little later


def test_what_the_chain_says_is_kept_as_far_as_it_can_be_asked(world):
    gather(world, Chain(world.nonces))
    rows = live_rows(world.home, world.recipe)
    known = [row for row in rows if row.score is not None]
    assert len(known) > 40
    assert {row.network for row in rows} == {None}
    assert gather(world, FullChain(world.nonces)).facts > 0
    newest = live_rows(world.home, world.recipe)[-1]
    assert (newest.rank, newest.field, newest.score_ema, newest.reward) == (2, 3, 0.4, 7.0)
    assert newest.network == pytest.approx(newest.truth * 1.002)
    assert newest.network_loss == pytest.approx((newest.truth * 0.002) ** 2, rel=1e-6)
    assert monitor_store(world.home).balances(ADDRESS)[-1][1] == 10**15
    chain = FullChain(world.nonces)
    assert gather(world, chain).facts == 0
    assert chain.asked == 0  # what is known is not asked for again


def test_a_node_that_does_not_answer_loses_nothing_that_was_known_before(world):
    class Silent(Chain):
        async def score(self, *_):
            raise NodeUnreachable("The node does not answer.")

    with pytest.raises(NodeUnreachable):
        gather(world, Silent({}))
    assert len([row for row in live_rows(world.home, world.recipe) if row.loss is not None]) == 60


def test_a_real_client_is_asked_only_what_it_can_be_asked(world, node):
    async def act():
        async with ChainClient(node.grpc_url) as client:
            return await collect(world.home, world.recipe, client)

    node.fund(ADDRESS, 12345)
    assert asyncio.run(act()).forecasts == 60
    rows = live_rows(world.home, world.recipe)
    assert {row.score for row in rows} == {None}  # this chain knows nothing of these epochs
    assert monitor_store(world.home).balances(ADDRESS)[-1][1] == 12345


def test_diebold_mariano_against_the_network_and_no_change(world):
    gather(world, FullChain(world.nonces))
    rows = live_rows(world.home, world.recipe)
    network, zero = compare(world.recipe, rows), compare(world.recipe, rows, "zero")
    assert network.test is not None
    assert network.test.p_value < 0.01
    assert network.sentence.startswith("surely better than network")
    assert zero.epochs == 60
    few = compare(world.recipe, rows[-3:])
    assert (few.test, "too few" in few.sentence) == (None, True)
    assert compare(world.recipe, []).epochs == 0
    json.dumps(summary(world.recipe, rows), allow_nan=False)
    json.dumps(summary(world.recipe, []), allow_nan=False)


def test_an_epoch_without_truth_waits_for_it(home, recipe, stored, make_bundle, deploy, submit):
    bundle = make_bundle()
    last = stored["open_time"][-1].as_py() + FIVE
    submit(bundle, [last], [100.0])
    asyncio.run(collect(home, recipe, None))
    [row] = live_rows(home, recipe)
    assert (row.loss, row.truth) == (None, None)


def test_the_store_refuses_to_forget(world):
    gather(world, None)
    monitor_store(world.home).add_event(Event("x", NOW.isoformat(), "k", "r", {}))
    with sqlite3.connect(monitor_store(world.home).path) as connection:
        for statement in ("DELETE FROM fact", "UPDATE forecast SET value = 1", "DELETE FROM event"):
            with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                connection.execute(statement)


def test_lineage_leads_from_the_hash_to_the_bars_and_back_to_the_value(home, recipe, stored, make_bundle, submit):
    bundle = make_bundle("ridge")
    times = [NOW - timedelta(hours=3) + at * FIVE for at in range(3)]
    shadow = [predict_shadow(home, recipe, bundle, stored, time, nonce=5 + at) for at, time in enumerate(times)]
    submit(bundle, times, [shadow[0].value, shadow[1].value, shadow[2].value + 1.0])
    found = trace(home, f"{1000:064x}")
    assert (found.bundle, found.candidate, found.recipe) == (bundle.digest, "ridge", recipe.name)
    assert found.again == pytest.approx(found.value, rel=1e-9)
    assert "same value again" in found.sentence
    assert datetime.fromisoformat(found.bars_to) == times[0]
    assert found.bars == (times[0] - datetime.fromisoformat(found.bars_from)) // FIVE
    assert len(found.bars_digest) == 64
    other = trace(home, f"{1024:064x}")
    assert "another value now" in other.sentence
    with pytest.raises(StoreError, match="fits 3 transactions"):
        trace(home, "000000")
    with pytest.raises(StoreError, match="is in no journal"):
        trace(home, "FFFF")


def test_shadows_predict_what_the_worker_would_and_nothing_before_their_time(world, stored):
    challenger = _ridge(world)
    count = catch_up(world.home, world.recipe, challenger, version=2)
    assert count == 60
    assert catch_up(world.home, world.recipe, challenger, version=2) == 0
    gather(world, FullChain(world.nonces))
    rows = live_rows(world.home, world.recipe, source="shadow")
    assert [row.time for row in rows] == world.times
    assert all(row.loss is not None for row in rows)
    assert rows[-1].network_loss is not None
    one = predict_shadow(world.home, world.recipe, challenger, stored, world.times[7], nonce=rows[7].nonce, version=2)
    assert one.value == pytest.approx(rows[7].value, rel=1e-12)
    assert monitor_store(world.home).judged(challenger.digest) == 60


def _ridge(world):
    from crucible.features.library import CORE
    from crucible.models.bundle import Training, write_bundle
    from crucible.models.candidates import build_model

    generator = np.random.default_rng(2)
    model = build_model("ridge", world.recipe, CORE.names)
    model.fit(generator.normal(size=(400, len(CORE.names))), generator.normal(0, 1e-3, 400))
    training = Training("0" * 64, 1, "2026-01-01T00:00:00+00:00", "2026-01-06T00:00:00+00:00")
    return write_bundle(world.home.bundles, world.recipe, "ridge", CORE.names, training, model)


def test_without_a_worker_shadows_follow_the_topics_clock(home, recipe, stored, make_bundle):
    bundle = make_bundle("ridge", last="2026-01-08T12:00:00+00:00")
    assert catch_up(home, recipe, bundle, version=1) == 12 * 12 - 1
    rows = live_rows(home, recipe)
    assert rows[0].time == datetime.fromisoformat("2026-01-08T12:10:00+00:00")  # after the last training label
    assert all(row.nonce < 0 for row in rows)
    assert asyncio.run(collect(home, recipe, FullChain({}))).facts > 0


def test_the_commands(world, monkeypatch):
    gather(world, FullChain(world.nonces))
    for name, value in world.home.environment().items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(crucible, ["monitor", "live", "btc_usd_5min", "--json", "--last", "2"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["with truth"] == 60
    assert len(json.loads(done.stdout)["rows"]) == 2
    done = CliRunner().invoke(crucible, ["monitor", "live", "btc_usd_5min"])
    assert "against network: surely better" in done.output
    done = CliRunner().invoke(crucible, ["monitor", "lineage", f"{1012:064X}", "--json"])
    assert json.loads(done.stdout)["nonce"] == 1012
    done = CliRunner().invoke(crucible, ["monitor", "decisions", "btc_usd_5min", "--json"])
    assert done.exception is None, done.exception
    assert json.loads(done.stdout)["roll back"] == {"go": False, "why": "nothing served before"}


def test_what_an_epoch_has_paid_is_kept_with_its_submission(home, recipe, stored, make_bundle, deploy, submit):
    bundle = make_bundle()
    deploy(bundle)
    submit(bundle, [NOW - FIVE, NOW], [100.0, 100.0], score=0.25)
    path = journal_path(home, recipe.name)
    asyncio.run(collect(home, recipe, None))
    for _ in range(2):  # the same event told twice
        note_paid(path, home.chain_id, ADDRESS, [Settled("77", 1000, 5.0), Settled("77", 1000, 2.0)])
    note_paid(path, home.chain_id, "allo1other", [Settled("77", 1012, 9.0), Settled("no topic", 1012, 1.0)])
    asyncio.run(collect(home, recipe, None))
    assert [(row.score, row.reward) for row in live_rows(home, recipe)] == [(0.25, 7.0), (0.25, None)]
    assert summary(recipe, live_rows(home, recipe))["rewards"] == 7.0
