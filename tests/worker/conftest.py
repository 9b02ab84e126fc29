from __future__ import annotations

from datetime import timedelta

import pytest
from worker_world import BLOCK, NOW, SPEED, World

from crucible.clock import ScaledClock
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.run import topic_of
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.signal import plant
from crucible.practice.simulate import SimulatedMarket
from crucible.settings import Settings


@pytest.fixture
def world(tmp_path, recipe, pytestconfig, request):
    clock = ScaledClock.starting(NOW, getattr(request, "param", SPEED))
    market = SimulatedMarket(("BTCUSDT",), NOW - timedelta(days=3), 1, plant(0.0, timedelta(minutes=5)))
    spec = topic_of(recipe, "testnet", BLOCK)
    with (
        EmbeddedExchange(market, clock) as exchange,
        EmbeddedLocalnet([spec], block_seconds=25.0, clock=clock, exchange_url=exchange.url, competitors=2) as node,
    ):
        settings = Settings.load(
            {
                "CRUCIBLE_HOME": str(tmp_path), "CRUCIBLE_RECIPES": str(pytestconfig.rootpath / "recipes"),
                "CRUCIBLE_CLOCK": clock.text(), "CRUCIBLE_EXCHANGE_URL": exchange.url,
                "CRUCIBLE_GRPC_URL": node.grpc_url,
                "CRUCIBLE_WEBSOCKET_URL": node.websocket_url, "CRUCIBLE_FAUCET_URL": node.faucet_url,
            }
        )  # fmt: skip
        yield World(settings, recipe, node, pytestconfig.rootpath)
