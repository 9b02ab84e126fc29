"""``crucible worker``: one worker process."""

from __future__ import annotations

import logging

import click


@click.group()
def worker() -> None:
    """Run one worker. The fleet starts these; by hand it is useful for looking at one."""


@worker.command()
@click.argument("recipe")
def run(recipe: str) -> None:
    """Serve what is deployed for RECIPE until Ctrl-C.

    Example: crucible worker run btc_usd_5min
    """
    import asyncio

    from crucible.settings import Settings
    from crucible.worker.runtime import Worker

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    async def serve() -> None:
        await Worker(Settings.load(), recipe).run()

    asyncio.run(serve())
