"""The practice exchange as a process: listen, say so in the ready file, serve until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

from crucible.practice.server import Exchange, start
from crucible.process import write_json


def run(exchange: Exchange, host: str, port: int, ready_file: Path | None, announce: Callable[[str], None]) -> None:
    """Serve ``exchange`` until SIGINT or SIGTERM.

    Parameters
    ----------
    exchange : Exchange
        What to serve.
    host, port : str, int
        A loopback address; port 0 for any free one.
    ready_file : pathlib.Path, optional
        Written atomically once it listens, removed at the end: ``{"url", "symbols", "first", "last"}``, instants in
        ISO 8601, ``last`` null for a market without an end.
    announce : callable
        Called with the URL once it listens.

    Raises
    ------
    SettingsError, ProcessError
        As :func:`crucible.practice.server.start`.
    StoreError
        If the ready file cannot be written.
    """
    asyncio.run(_run(exchange, host, port, ready_file, announce))


async def _run(
    exchange: Exchange, host: str, port: int, ready_file: Path | None, announce: Callable[[str], None]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner, url = await start(exchange, host, port)
    try:
        if ready_file is not None:
            market = exchange.market
            write_json(
                ready_file,
                {
                    "url": url,
                    "symbols": list(market.symbols),
                    "first": market.first.isoformat(),
                    "last": market.last.isoformat() if market.last else None,
                },
            )
        announce(url)
        await stop.wait()
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
        await runner.cleanup()
