"""Localnet inside this process, in a thread of its own: for tests and benchmarks."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from crucible.clock import Clock, SystemClock
from crucible.localnet.core import Core
from crucible.localnet.house import Cast, House
from crucible.localnet.keys import GENESIS_VALIDATOR
from crucible.localnet.node import Node
from crucible.localnet.topic import TopicSpec

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")


class EmbeddedLocalnet:
    """A context manager that runs a node on free loopback ports.

    Parameters
    ----------
    topics : sequence of TopicSpec
        The topics; their cadence must be whole multiples of ``block_seconds``.
    block_seconds : float
        Time between blocks in the clock's seconds; 0 makes no blocks but those that :meth:`step` asks for.
    clock : Clock
        Real time by default.
    exchange_url : str
        With one, house actors play.
    competitors, forecasters, reputers : int
        How many of each; without ``exchange_url`` none.
    folder : Path, optional
        Where the state is saved.

    Attributes
    ----------
    core : Core
        The chain; faults are switched with ``core.faults.arm`` and ``core.faults.clear`` at any time.
    grpc_url, websocket_url, faucet_url, api_url, control_url : str
        Where it is reached, once entered.
    """

    grpc_url: str
    websocket_url: str
    faucet_url: str
    api_url: str
    control_url: str

    def __init__(
        self,
        topics: Sequence[TopicSpec] = (),
        *,
        block_seconds: float = 0.25,
        clock: Clock | None = None,
        exchange_url: str = "",
        competitors: int = 4,
        forecasters: int = 0,
        reputers: int = 1,
        folder: Path | None = None,
        chain_id: str = "allora-testnet-1",
    ) -> None:
        self.core = Core(chain_id)
        for spec in topics:
            self.core.add_topic(spec)
        self.node = Node(self.core, clock or SystemClock(), block_seconds, folder=folder)
        self.core.add_validator(GENESIS_VALIDATOR)
        cast = Cast(competitors, forecasters, reputers)
        self._house = House(self.core, exchange_url, cast, seed=1) if exchange_url else None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="localnet", daemon=True)
        self._blocks: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        for name, url in self.node.endpoints.items():
            setattr(self, name, url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()

    def fund(self, address: str, amount: int = 10**18) -> None:
        """Credit ``address``."""
        self._run(self._call(lambda: self.core.fund(address, amount)))

    def step(self, time: float | None = None) -> None:
        """Make one block now, at ``time`` or one block interval (at least a second) after the last one."""
        self._run(self.node.step() if time is None else self.node.make_block(time))

    @property
    def idle(self) -> bool:
        """Whether no house actor is at work on the last block."""
        return self._house is None or not self._house.busy

    async def _start(self) -> None:
        await self.node.__aenter__()
        if self._house:
            await self._house.__aenter__()
            self.node.after_block.append(self._house.after_block)
        if self.node.block_seconds:
            self._blocks = asyncio.create_task(self.node.run())
            self._blocks.add_done_callback(_tell_of_failure)

    async def _stop(self) -> None:
        if self._blocks:
            self._blocks.cancel()
            await asyncio.gather(self._blocks, return_exceptions=True)
        if self._house:
            await self._house.__aexit__()
        await self.node.__aexit__(None, None, None)
        await asyncio.sleep(0)  # transports close in the loop's next turn

    async def _call(self, act: Any) -> None:
        act()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)


def _tell_of_failure(blocks: asyncio.Task[None]) -> None:
    # a chain that stands still without a word looks like any other fault
    if not blocks.cancelled() and (error := blocks.exception()):
        _LOG.critical("localnet makes no more blocks", exc_info=error)
