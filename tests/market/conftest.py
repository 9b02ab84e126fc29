"""A store with a series, and an exchange that misbehaves on demand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from crucible.clock import ManualClock
from crucible.market.store import BarStore, Series
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.signal import plant
from crucible.practice.simulate import SimulatedMarket

FIVE = timedelta(minutes=5)
NOW = datetime(2026, 2, 1, 12, 3, 20, tzinfo=UTC)


@pytest.fixture
def series() -> Series:
    return Series("binance", "BTCUSDT", FIVE)


@pytest.fixture
def store(tmp_path) -> BarStore:
    return BarStore(tmp_path / "bars", patience=0.2)


@pytest.fixture(scope="session")
def market() -> SimulatedMarket:
    return SimulatedMarket(("BTCUSDT",), NOW - timedelta(days=95), 1, plant(0.2, FIVE))


@pytest.fixture
def embedded(market) -> Iterator[EmbeddedExchange]:
    with EmbeddedExchange(market, ManualClock(NOW)) as exchange:
        yield exchange


class ScriptedServer:
    """Answers each request by calling ``answer(request)``, a coroutine function; counts them."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.answer: Callable[..., object] = self.missing

    async def missing(self, request):
        return web.Response(status=404)

    async def _handle(self, request):
        self.requests.append(request.path_qs)
        return await self.answer(request)

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get("/{anything:.*}", self._handle)
        self.runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = ScriptedServer()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(5)
    yield server
    asyncio.run_coroutine_threadsafe(server.runner.cleanup(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()
