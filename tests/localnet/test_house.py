"""House actors against a real exchange: skill shows in their scores, forecasters and reputers play their parts."""

import asyncio
import time
from dataclasses import replace
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
from crucible.localnet.topic import Nonce
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


def test_a_reputer_waits_for_the_truth_and_says_once_that_the_exchange_is_away(recipe, caplog):
    begun = NOW.timestamp()
    core = Core("allora-testnet-1", height=23)
    house = House(core, "http://127.0.0.1:1", Cast(competitors=0), seed=1)  # where nobody listens
    core.add_topic(replace(topic_of(recipe, "testnet", timedelta(seconds=25)), horizon_seconds=300))
    core.topics[77].nonces[12] = Nonce(12, begun, closed=True, network={"combined": 1.0})

    async def blocks(*times):
        async with house:
            for core.time in times:
                house.after_block()
                while house.busy:
                    await asyncio.sleep(0.01)

    asyncio.run(blocks(begun + 275.0, begun + 299.0))
    assert [record for record in caplog.records if "waits" in record.getMessage()] == []
    asyncio.run(blocks(begun + 300.0, begun + 325.0))
    (told,) = [record.getMessage() for record in caplog.records if "waits" in record.getMessage()]
    assert told.startswith("house reputer of topic 77 waits: ")
    assert "127.0.0.1:1" in told
