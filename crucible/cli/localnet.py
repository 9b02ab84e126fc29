"""``crucible localnet``: a local Allora network on loopback."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crucible.cli.values import duration

if TYPE_CHECKING:
    from crucible.practice.embedded import EmbeddedExchange
    from crucible.recipe import Recipe
    from crucible.settings import Settings


@click.group()
def localnet() -> None:
    """Serve a local Allora network on loopback, with play money and made-up competitors."""


@localnet.command()
@click.option("--recipe", "names", multiple=True, help="Its topic is served; may be repeated.  [default: every recipe]")
@click.option("--state", type=click.Path(path_type=Path), help="Folder of the chain's state.  [default: data/localnet]")
@click.option("--block-time", type=duration, default="5s", show_default=True, help="In the clock's time.")
@click.option("--fast", is_flag=True, help="An accelerated clock: the shortest epoch takes one second.")
@click.option("--exchange-url", help="Where house actors read prices.  [default: CRUCIBLE_EXCHANGE_URL]")
@click.option(
    "--competitors",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    help="House workers per topic; 0 for none, and no reputer.",
)
@click.option(
    "--forecasters", type=click.IntRange(min=0), default=0, show_default=True, help="House forecasters per topic."
)
@click.option("--reputers", type=click.IntRange(min=0), default=1, show_default=True, help="House reputers per topic.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the house actors.")
@click.option("--wallet", help="A wallet of the keystore that is funded; made if it is not there.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), default=0, help="0 for a free one.  [default: 0]")
@click.option(
    "--http-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Websocket, faucet, topic list, control; 0 for a free one.  [default: 0]",
)
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written once everything listens.")
def up(
    names: tuple[str, ...],
    state: Path | None,
    block_time: timedelta,
    fast: bool,
    exchange_url: str | None,
    competitors: int,
    forecasters: int,
    reputers: int,
    seed: int,
    wallet: str | None,
    grpc_port: int,
    http_port: int,
    ready_file: Path | None,
) -> None:
    """Run the chain until Ctrl-C; a second start continues from the saved state.

    Example: crucible localnet up --recipe btc_usd_5min --fast --wallet me
    """
    from crucible.localnet.house import Cast
    from crucible.localnet.run import LocalnetPlan, run, topic_of
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = Settings.load()
    chosen = names or tuple(sorted(path.stem for path in settings.recipes.glob("*.toml")))
    recipes = [find_recipe(settings.recipes, name) for name in chosen]
    if not names:
        recipes = answering(settings, recipes)
    folder = state or settings.data / "localnet"
    with ExitStack() as stack:
        if exchange_url is not None:
            settings = replace(settings, exchange_url=exchange_url)
        if fast:
            settings, block_time = _accelerated(settings, recipes, folder)
            if competitors and not settings.exchange_url:
                settings = replace(settings, exchange_url=stack.enter_context(_market(settings, recipes, seed)).url)
        plan = LocalnetPlan(
            chain_id=settings.chain_id,
            topics=[topic_of(recipe, settings.network, block_time) for recipe in recipes],
            block_time=block_time,
            clock=settings.clock,
            exchange_url=settings.exchange_url,
            folder=folder,
            cast=Cast(competitors, forecasters, reputers),
            seed=seed,
            grpc_port=grpc_port,
            http_port=http_port,
            funded=[_address(settings, wallet)] if wallet else [],
        )
        run(plan, ready_file, lambda endpoints: _banner(settings, plan, endpoints, wallet))


@localnet.command()
@click.argument("name", required=False)
@click.option("--count", type=int, help="After so many occurrences it is over.")
@click.option("--for", "seconds", type=float, help="Real seconds after which it is over.")
@click.option("--topic", type=int, help="The only topic that it hits.")
@click.option("--value", type=float, help="How strong it is; --list says what that means.")
@click.option("--list", "show", is_flag=True, help="Show every fault, and which are on.")
@click.option("--clear", is_flag=True, help="Switch NAME off, or all faults.")
@click.option("--url", help="Localnet's control endpoint.  [default: that of the localnet of this home]")
def fault(
    name: str | None, count: int | None, seconds: float | None, topic: int | None, value: float | None, show: bool,
    clear: bool, url: str | None,
) -> None:  # fmt: skip
    """Make a running localnet misbehave.

    Example: crucible localnet fault rpc-503 --count 3
    """
    from crucible.localnet.remote import Remote
    from crucible.settings import Settings

    if not (name or show or clear):
        raise click.UsageError("name a fault, or use --list or --clear")
    remote = Remote.of(Settings.load(), url)
    if show:
        for row in remote.known():
            more = f" ({row['value']}, {row['default']:g} by default)" if row["value"] else ""
            click.echo(f"{row['name']:<20}{row['part']:<11}{row['text']}{more}")
        armed = remote.armed()
    elif clear:
        armed = remote.clear(name)
    else:
        assert name is not None
        armed = remote.arm(name, count=count, seconds=seconds, topic=topic, value=value)
    click.echo("on: " + (", ".join(_words(row) for row in armed) or "nothing"))


def answering(settings: Settings, recipes: list[Recipe]) -> list[Recipe]:
    """Return those of ``recipes`` that answer a topic of this network, and say which are left out.

    Raises
    ------
    SettingsError
        If none does.
    """
    from crucible.errors import SettingsError

    found = [recipe for recipe in recipes if recipe.answers(settings.network)]
    if not found:
        raise SettingsError(f"No recipe in {settings.recipes} answers a topic of {settings.network}.")
    if left := [recipe.name for recipe in recipes if recipe not in found]:
        click.echo(f"left out           {', '.join(left)}  (no topic on {settings.network})")
    return found


def _words(row: dict[str, Any]) -> str:
    parts = [row["name"]]
    for key, form in (("topic", "topic {}"), ("count", "{} times"), ("seconds", "{:.0f} s")):
        if row[key] is not None:
            parts.append(form.format(row[key]))
    return " ".join(parts)


def _accelerated(settings: Settings, recipes: list[Recipe], folder: Path) -> tuple[Settings, timedelta]:
    """Return settings whose clock runs the shortest epoch in a second, and twelve blocks per epoch."""
    from crucible.clock import ScaledClock
    from crucible.localnet.state import last_block_time

    cadence = min(recipe.topic.cadence for recipe in recipes)
    start = last_block_time(folder) or settings.clock.now()
    clock = ScaledClock.starting(start, cadence.total_seconds())
    return replace(settings, clock_text=clock.text()), cadence / 12


def _market(settings: Settings, recipes: list[Recipe], seed: int) -> AbstractContextManager[EmbeddedExchange]:
    from crucible.practice.embedded import EmbeddedExchange
    from crucible.practice.signal import plant
    from crucible.practice.simulate import SimulatedMarket

    symbols = tuple(sorted({recipe.data.symbol for recipe in recipes}))
    longest = max(recipe.topic.horizon for recipe in recipes)
    start = settings.clock.now() - max(timedelta(days=3), 30 * longest)
    market = SimulatedMarket(symbols, start, seed, plant(0.0, min(recipe.topic.horizon for recipe in recipes)))
    return EmbeddedExchange(market, settings.clock)


def _address(settings: Settings, name: str) -> str:
    from crucible.chain.keystore import Keystore

    keystore = Keystore(settings.keystore)
    return keystore.address(name) if name in keystore.names() else keystore.create(name).address


def _banner(settings: Settings, plan: Any, endpoints: dict[str, str], wallet: str | None) -> None:
    click.echo(f"localnet, chain {plan.chain_id}, topics {', '.join(str(topic.id) for topic in plan.topics)}")
    for name, url in endpoints.items():
        click.echo(f"  {name.removesuffix('_url'):<10} {url}")
    if plan.exchange_url:
        click.echo(f"  {'exchange':<10} {plan.exchange_url}")
    if settings.clock_text != "system":
        click.echo(f"  {'clock':<10} CRUCIBLE_CLOCK={settings.clock_text}")
    if wallet:
        click.echo(f"  {'wallet':<10} {wallet}, {plan.funded[0]}, funded")
    click.echo(f"  funds      curl -d chain={plan.chain_id} -d address=allo1… {endpoints['faucet_url']}/api/request")
    click.echo("  faults     crucible localnet fault --list")
    click.echo("Ctrl-C stops it; the state is kept.")
