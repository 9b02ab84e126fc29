from __future__ import annotations

from dataclasses import replace

import pytest

from crucible.localnet.core import Core
from crucible.localnet.keys import Key
from crucible.localnet.topic import TopicSpec

SPEC = TopicSpec(
    id=77, metadata="test", loss_method="sqe", asset="BTC/USD", target="price", symbol="BTCUSDT", interval_seconds=300,
    horizon_seconds=12, cadence_seconds=12, epoch_length=12, ground_truth_lag=12, worker_window=8,
)  # fmt: skip


@pytest.fixture
def spec():
    return SPEC


@pytest.fixture
def worker():
    return Key.from_name("test worker", 0)


@pytest.fixture
def reputer():
    return Key.from_name("test reputer", 0)


@pytest.fixture
def core(worker, reputer):
    """A chain with one-second blocks and one topic of 12 blocks, stepped by hand."""
    chain = Core("allora-testnet-1")
    chain.add_topic(replace(SPEC))
    for key in (worker, reputer):
        chain.fund(key.address, 10**18)
    return chain
