from __future__ import annotations

from dataclasses import replace

import pytest
from worker_desk import SPEC

from crucible.localnet.core import Core
from crucible.localnet.keys import Key


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
