"""A running node: servers over a core, and blocks made by the clock."""

from __future__ import annotations

import asyncio
import logging
import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web
from grpclib.protocol import H2Protocol
from grpclib.server import Server

from crucible.clock import Clock
from crucible.errors import ProcessError
from crucible.localnet.core import Core
from crucible.localnet.grpc import Service
from crucible.localnet.http import HttpFace
from crucible.localnet.state import save

_LOG = logging.getLogger(__name__)
_BLOCKS_BETWEEN_SAVES = 12
_GLANCE_SECONDS = 0.02  # how soon a fault that begins or ends is noticed


class _ClosingServer(Server):
    """Also closes connections that clients keep open; grpclib leaves those to the clients."""

    def __init__(self, handlers: list[Service]) -> None:
        super().__init__(handlers)
        self._protocols: weakref.WeakSet[H2Protocol] = weakref.WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._protocols.add(protocol)
        return protocol

    def close_connections(self) -> None:
        """Close what is still open."""
        for protocol in list(self._protocols):
            if getattr(protocol, "connection", None) is not None:
                protocol.connection.close()


@dataclass
class Node:
    """Serves ``core`` on loopback. Use as an async context manager, then await :meth:`run`.

    Parameters
    ----------
    core : Core
        The chain.
    clock : Clock
        Block h is made when this clock has reached its time.
    block_seconds : float
        Time between blocks, in the clock's seconds.
    grpc_port, http_port : int
        0 for free ones.
    folder : Path, optional
        Where the state is saved; nowhere by default.
    """

    core: Core
    clock: Clock
    block_seconds: float
    grpc_port: int = 0
    http_port: int = 0
    folder: Path | None = None
    after_block: list[Callable[[], None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        """Listen.

        Raises
        ------
        ProcessError
            If a port is in use.
        """
        self._http = HttpFace(self.core, self.step)
        self._grpc = _ClosingServer([Service(self.core)])
        # no lingering: what was refused is not read to its end
        self._runner = web.AppRunner(
            self._http.application(), access_log=None, shutdown_timeout=0.5, lingering_time=0.0
        )
        try:
            await self._runner.setup()
            site = web.TCPSite(self._runner, "127.0.0.1", self.http_port)
            await site.start()
            await self._grpc.start("127.0.0.1", self.grpc_port)
        except OSError as error:
            await self._runner.cleanup()
            raise ProcessError(
                f"Localnet cannot listen ({error.strerror}); choose other ports, or 0 for free ones."
            ) from error
        assert self._grpc._server is not None
        self.grpc_port = self._grpc._server.sockets[0].getsockname()[1]
        self.http_port = self._runner.addresses[0][1]
        self._listening = True
        self._tending = asyncio.create_task(self._tend())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and save the state."""
        self._tending.cancel()
        await asyncio.gather(self._tending, return_exceptions=True)
        if self._listening:
            await self._close_grpc()
        await self._runner.cleanup()
        if self.folder:
            save(self.folder, self.core)

    @property
    def endpoints(self) -> dict[str, str]:
        """The URLs under which the node is reached."""
        http = f"127.0.0.1:{self.http_port}"
        return {
            "grpc_url": f"grpc+http://127.0.0.1:{self.grpc_port}",
            "websocket_url": f"ws://{http}/websocket",
            "faucet_url": f"http://{http}",
            "api_url": f"http://{http}/v2",
            "control_url": f"http://{http}/control",
        }

    async def run(self) -> None:
        """Make blocks until cancelled."""
        from datetime import UTC, datetime, timedelta

        self._align()
        while True:
            due = self.core.time + self.block_seconds
            wait = datetime.fromtimestamp(due, UTC) - self.clock.now()
            if wait > timedelta(0):
                await self.clock.sleep(wait)
                continue
            faults = self.core.faults
            if faults.active("halted-burst"):
                await asyncio.sleep(_GLANCE_SECONDS)
                continue  # and afterwards every block is overdue
            if faults.halted or faults.active("halted"):
                await asyncio.sleep(_GLANCE_SECONDS)
                # a halted chain does not catch up: its blocks simply come later
                self._align()
                continue
            await self.make_block(due)

    async def step(self) -> None:
        """Make the next block now, one block interval (at least a second) after the last one."""
        await self.make_block(self.core.time + (self.block_seconds or 1.0))

    async def make_block(self, time: float) -> None:
        """Make one block at ``time`` and tell everybody."""
        self.core.step(time)
        await self._http.flush()
        for tell in self.after_block:
            tell()
        if self.folder and self.core.height % _BLOCKS_BETWEEN_SAVES == 0:
            save(self.folder, self.core)

    async def _tend(self) -> None:
        # a refusing port is a closed one: the connection attempt itself has to fail
        while True:
            refuse = self.core.faults.active("rpc-refused") is not None
            if refuse and self._listening:
                self._listening = False
                await self._close_grpc()
            elif not refuse and not self._listening:
                self._grpc = _ClosingServer([Service(self.core)])
                try:
                    await self._grpc.start("127.0.0.1", self.grpc_port)
                    self._listening = True
                except OSError as error:  # somebody else took the port meanwhile: tried again in a second
                    _LOG.warning("localnet cannot listen on port %d again: %s", self.grpc_port, error)
                    await asyncio.sleep(1.0)
            await asyncio.sleep(_GLANCE_SECONDS)

    async def _close_grpc(self) -> None:
        self._grpc.close()
        self._grpc.close_connections()
        await self._grpc.wait_closed()

    def _align(self) -> None:
        # the grid of block times is anchored at Unix time 0, so that epochs end on whole multiples of every cadence;
        # after a pause time is moved on by whole common multiples, and no thousands of blocks are made to catch up
        now = self.clock.now().timestamp()
        if self.core.height == 0:
            self.core.time = math.floor(now / self.block_seconds) * self.block_seconds
            return
        step = math.lcm(*(topic.spec.cadence_seconds or 1 for topic in self.core.topics.values()), 1)
        step = math.lcm(step, max(1, round(self.block_seconds)))
        behind = now - self.core.time
        if behind > step:
            self.core.time += math.floor(behind / step) * step
            _LOG.info("time moved on by %d s after a pause", math.floor(behind / step) * step)
