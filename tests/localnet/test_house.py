"""House actors against a real exchange: skill shows in their scores, forecasters and reputers play their parts."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from crucible.clock import ScaledClock
from crucible.localnet.core import Core
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.house import Cast, House
from crucible.localnet.house_skills import competitors
from crucible.localnet.keys import Key
from crucible.localnet.run import topic_of
from crucible.localnet.topic import Nonce, Topic
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.signal import plant
from crucible.practice.simulate import SimulatedMarket

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def test_competitors_differ_in_skill():
    closes = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, 24)))
    spreads = []
    for skill in competitors(6):
        said = [skill.predict(closes, np.random.default_rng(seed)) for seed in range(300)]
        spreads.append(float(np.std(said)))
    assert spreads[0] == 0.0
    assert spreads == sorted(spreads)
    again = competitors(6)[5].predict(closes, np.random.default_rng(7))
    assert again == competitors(6)[5].predict(closes, np.random.default_rng(7))


@pytest.mark.timeout(120)
def test_a_full_house_fills_every_part_of_an_epoch(recipe):
    clock = ScaledClock.starting(NOW, 600.0)
    market = SimulatedMarket(("BTCUSDT",), NOW - timedelta(days=3), 1, plant(0.0, timedelta(minutes=5)))
    spec = topic_of(recipe, "testnet", timedelta(seconds=25))
    with (
        EmbeddedExchange(market, clock) as exchange,
        EmbeddedLocalnet(
            [spec], block_seconds=25.0, clock=clock, exchange_url=exchange.url, competitors=3, forecasters=2, reputers=2
        ) as net,
    ):
        deadline = time.monotonic() + 60
        while not any(nonce.forecaster_scores and nonce.rewards for nonce in net.core.topics[77].nonces.values()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        topic = net.core.topics[77]
    nonce = next(nonce for nonce in topic.nonces.values() if nonce.forecaster_scores and nonce.rewards)
    assert len(nonce.scores) == 3
    assert 1 <= len(nonce.forecaster_scores) <= 2
    assert set(nonce.reputer_scores) == {Key.from_name(name, 1).address for name in ("reputer", "reputer 1")}
    assert set(nonce.rewards) == {"inferer", "forecaster", "reputer"}
    assert not [result for result in net.core.results.values() if result.code]


def test_a_bar_that_is_still_open_is_no_truth_and_waiting_is_told_once(recipe, caplog):
    begun = NOW.timestamp()
    spec = topic_of(recipe, "testnet", timedelta(seconds=25))
    exchange_url = "http://127.0.0.1:1"  # where nobody listens
    house = House(Core("allora-testnet-1", time=begun + 299.0), exchange_url, Cast(), seed=1)
    topic = Topic(spec)
    topic.nonces[12] = Nonce(12, begun)

    async def truth(topic, nonce):
        await house._closes(topic.spec, nonce.time + 300.0, 1)

    async def wait_twice():
        async with house:
            for _ in range(2):
                await house._guarded(("reputer", 77, 12), truth, topic, topic.nonces[12])
            house.core.time += 1.0  # closed now, so that the exchange is asked
            await house._guarded(("reputer", 77, 24), truth, topic, topic.nonces[12])

    asyncio.run(wait_twice())
    first, second = [record.getMessage() for record in caplog.records]
    assert first == f"house reputer of topic 77 waits: the bar that closes at {begun + 300:.0f} is still open"
    assert "127.0.0.1:1" in second
