"""``crucible localnet``: a local Allora network on loopback."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import click

from crucible.cli.values import duration


@click.group()
def localnet() -> None:
    """Serve a local Allora network on loopback, with play money and made-up competitors."""


@localnet.command()
@click.option("--recipe", "names", multiple=True, help="Its topic is served; may be repeated.  [default: every recipe]")
@click.option("--state", type=click.Path(path_type=Path), help="Folder of the chain's state.  [default: data/localnet]")
@click.option("--block-time", type=duration, default="5s", show_default=True, help="In the clock's time.")
@click.option("--exchange-url", help="Where house actors read prices.  [default: CRUCIBLE_EXCHANGE_URL]")
@click.option(
    "--competitors", default=4, show_default=True, help="House workers per topic; 0 for none, and no reputer."
)
@click.option("--seed", default=1, show_default=True, help="Of the house actors.")
@click.option("--grpc-port", default=0, help="0 for a free one.  [default: 0]")
@click.option("--http-port", default=0, help="Websocket, faucet and topic list; 0 for a free one.  [default: 0]")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written once everything listens.")
def up(
    names: tuple[str, ...],
    state: Path | None,
    block_time: timedelta,
    exchange_url: str | None,
    competitors: int,
    seed: int,
    grpc_port: int,
    http_port: int,
    ready_file: Path | None,
) -> None:
    """Run the chain until Ctrl-C; a second start continues from the saved state.

    Example: crucible localnet up --recipe btc_usd_5min --block-time 5s
    """
    from crucible.localnet.run import LocalnetPlan, run, topic_of
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = Settings.load()
    chosen = names or tuple(sorted(path.stem for path in settings.recipes.glob("*.toml")))
    topics = [topic_of(find_recipe(settings.recipes, name), settings.network, block_time) for name in chosen]
    plan = LocalnetPlan(
        chain_id=settings.chain_id,
        topics=topics,
        block_time=block_time,
        clock=settings.clock,
        exchange_url=settings.exchange_url if exchange_url is None else exchange_url,
        folder=state or settings.data / "localnet",
        competitors=competitors,
        seed=seed,
        grpc_port=grpc_port,
        http_port=http_port,
    )

    def announce(endpoints: dict[str, str]) -> None:
        click.echo(f"localnet, chain {settings.chain_id}, topics {', '.join(str(topic.id) for topic in topics)}")
        for name, url in endpoints.items():
            click.echo(f"  {name.removesuffix('_url'):<10} {url}")
        click.echo(
            f"  funds      curl -d chain={settings.chain_id} -d address=allo1… {endpoints['faucet_url']}/api/request"
        )
        click.echo("Ctrl-C stops it; the state is kept.")

    run(plan, ready_file, announce)
