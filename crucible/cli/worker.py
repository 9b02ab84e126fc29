"""``crucible worker``: one worker process."""

from __future__ import annotations

import click


@click.group()
def worker() -> None:
    """Run one worker. The fleet starts these; by hand it is useful for looking at one."""


@worker.command()
@click.argument("recipe", required=False)
@click.option("--wallet", help="Serve every deployment of this wallet.")
def run(recipe: str | None, wallet: str | None) -> None:
    """Serve what is deployed for RECIPE, or everything that is deployed with a wallet, until Ctrl-C.

    Example: crucible worker run --wallet btc-usd-5min
    """
    import asyncio

    from crucible.settings import Settings
    from crucible.worker.log import log_to_stderr
    from crucible.worker.wallet_worker import WalletWorker

    if bool(recipe) == bool(wallet):
        raise click.UsageError("name either a recipe or, with --wallet, a wallet")
    settings = Settings.load()
    log_to_stderr(settings.clock)

    async def serve() -> None:
        await WalletWorker(settings, wallet or "", recipe=recipe or "").run()

    asyncio.run(serve())
