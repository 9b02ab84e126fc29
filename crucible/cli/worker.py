"""``crucible worker``: one worker process."""

from __future__ import annotations

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
    from crucible.worker.log import log_to_stderr
    from crucible.worker.runtime import Worker

    settings = Settings.load()
    log_to_stderr(settings.clock)

    async def serve() -> None:
        await Worker(settings, recipe).run()

    asyncio.run(serve())
