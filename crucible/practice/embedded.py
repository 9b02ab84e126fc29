"""The practice exchange inside this process, in a thread of its own: for tests and benchmarks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from crucible.clock import Clock
from crucible.practice.market import Market
from crucible.practice.server import Exchange, start
from crucible.practice.weight import WeightMeter

_T = TypeVar("_T")


class EmbeddedExchange:
    """A context manager that serves ``market`` at :attr:`url` on a free loopback port.

    Parameters
    ----------
    market : Market
        What is traded.
    clock : Clock
        Decides what has happened.
    meter : WeightMeter, optional
        Request weights; unlimited by default.
    perpetual : Market, optional
        What the USD-M futures paths answer from; 404 without.

    Attributes
    ----------
    url : str
        ``http://127.0.0.1:<port>``, once entered.
    exchange : Exchange
        The server; ``exchange.served`` counts requests by endpoint, ``exchange.faults`` disturbs the stream.
    """

    url: str

    def __init__(
        self, market: Market, clock: Clock, meter: WeightMeter | None = None, *, perpetual: Market | None = None
    ) -> None:
        self.exchange = Exchange(market, clock, meter, perpetual=perpetual)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="practice-exchange", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._runner, self.url = self._run(start(self.exchange, "127.0.0.1", 0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._runner.cleanup())
        self._run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)
