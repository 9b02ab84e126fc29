"""``crucible topics``: the network's topic catalogue."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def topics(as_json: bool) -> None:
    """List the network's topics: ids per network, asset, target and horizon.

    A price topic wants the absolute price, a log-return topic ln(future / now).

    Example: crucible topics --json
    """
    from rich.console import Console
    from rich.table import Table

    from crucible.duration import format_duration
    from crucible.topics.catalogue import catalogue

    rows = [
        {
            "mainnet": topic.mainnet,
            "testnet": topic.testnet,
            "asset": topic.asset,
            "target": topic.target,
            "horizon": format_duration(topic.horizon),
            "name": topic.name,
            "testnet_active": topic.testnet is not None and topic.testnet_active,
            "playground": topic.playground,
        }
        for topic in catalogue()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("mainnet", "testnet", "asset", "target", "horizon", "note", title="Topics")
    for row in rows:
        note = "playground" if row["playground"] else ""
        if row["testnet"] is not None and not row["testnet_active"]:
            note = "inactive on testnet"
        cells = ("-" if row[key] is None else str(row[key]) for key in list(row)[:5])
        table.add_row(*cells, note)
    Console().print(table)
