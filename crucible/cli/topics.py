"""``crucible topics``: what the network asks, from the catalogue or from the network itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from crucible.settings import Settings


@click.command()
@click.option("--live", is_flag=True, help="Ask the network's topic-list API instead of the catalogue.")
@click.option("--kind", type=click.Choice(["log_return", "price"]), help="Only topics with this target.")
@click.option("--asset", help="Only topics of this asset: BTC/USD, or BTC.")
@click.option("--active", is_flag=True, help="Only topics that are active on the network in question.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def topics(live: bool, kind: str | None, asset: str | None, active: bool, as_json: bool) -> None:
    """List the network's topics: what is asked, of which asset, how far ahead.

    A price topic wants the absolute price, a log-return topic ln(future / now). The catalogue knows both networks and
    needs no connection; --live asks the one of --network, and knows who works there.

    \b
    Examples:
      crucible topics --kind log_return --asset btc
      crucible --network testnet topics --live --active --json
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    from rich.console import Console
    from rich.table import Table

    from crucible.errors import SourceError
    from crucible.settings import Settings

    settings = Settings.load()
    every = _live(settings) if live else _catalogue(settings)
    if asset is not None and not any(_is_of(row, asset) for row in every):
        raise SourceError(_no_such_asset(asset, sorted({row["asset"] for row in every if row["asset"]})))
    rows = [
        row for row in every
        if (kind is None or row["target"] == kind) and (asset is None or _is_of(row, asset))
        and (not active or row["active"])
    ]  # fmt: skip
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("No topic is like that.")
        return
    shown = ("id", "name", "asset", "target", "horizon", "workers") if live else _COLUMNS
    table = Table(*shown, "note", title=f"Topics of {settings.chain_id}" if live else "Topics")
    for row in rows:
        table.add_row(*("-" if row[key] in (None, "") else str(row[key]) for key in shown), _note(row, live))
    Console().print(table)


_COLUMNS = ("mainnet", "testnet", "asset", "target", "horizon")


def _catalogue(settings: Settings) -> list[dict[str, Any]]:
    from crucible.duration import format_duration
    from crucible.topics.catalogue import catalogue

    return [
        {
            "mainnet": topic.mainnet,
            "testnet": topic.testnet,
            "asset": topic.asset,
            "target": topic.target,
            "horizon": format_duration(topic.horizon),
            "name": topic.name,
            "testnet_active": topic.testnet is not None and topic.testnet_active,
            "playground": topic.playground,
            "active": getattr(topic, settings.network) is not None
            and (settings.network != "testnet" or topic.testnet_active),
        }
        for topic in catalogue()
    ]


def _live(settings: Settings) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from crucible.topics.live import live_topics

    found = live_topics(settings.api_url, settings.network, settings.chain_id, key=settings.allora_key)
    return [asdict(topic) for topic in found]


def _is_of(row: dict[str, Any], asset: str) -> bool:
    return asset.upper() in (row["asset"], row["asset"].split("/")[0])


def _no_such_asset(asset: str, known: list[str]) -> str:
    import difflib

    names = {name: name for name in known} | {name.split("/")[0]: name for name in known}
    near = difflib.get_close_matches(asset.upper(), names, n=1)
    return f"No topic is about {asset!r}; " + (
        f"did you mean {names[near[0]]}?" if near else f"there are {', '.join(known)}."
    )


def _note(row: dict[str, Any], live: bool) -> str:
    if live:
        return "" if row["active"] else "inactive"
    if row["testnet"] is not None and not row["testnet_active"]:
        return "inactive on testnet"
    return "playground" if row["playground"] else ""
