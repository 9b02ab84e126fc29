"""Markets and clocks for the practice exchange's tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from crucible.clock import ManualClock
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.signal import plant
from crucible.practice.simulate import SimulatedMarket

NOW = datetime(2026, 2, 1, 12, 3, 20, tzinfo=UTC)


@pytest.fixture(scope="session")
def market() -> SimulatedMarket:
    return SimulatedMarket(
        ("BTCUSDT", "ETHUSDT"), datetime(2026, 1, 20, 9, 30, tzinfo=UTC), 1, plant(0.2, timedelta(minutes=5))
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def embedded(market: SimulatedMarket, clock: ManualClock) -> Iterator[EmbeddedExchange]:
    with EmbeddedExchange(market, clock) as exchange:
        yield exchange
