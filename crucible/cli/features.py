"""``crucible features``: what is computed, why, and how."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("recipe", default="btc_usd_5min")
@click.option("--sql", is_flag=True, help="Print what is executed instead: two queries and the windows between them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def features(recipe: str, sql: bool, as_json: bool) -> None:
    """List the features of RECIPE with their windows, or print the query that computes them.

    Example: crucible features btc_usd_8h --sql
    """
    from rich.console import Console
    from rich.table import Table

    from crucible.features.engine import recipe_features, recipe_plan
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    chosen = find_recipe(Settings.load().recipes, recipe)
    declared = recipe_features(chosen)
    if sql:
        click.echo(recipe_plan(chosen).text)
        return
    rows = [
        {
            "name": item.name,
            "bars": max((window.bars(chosen.horizon_bars) for window in item.windows.values()), default=1),
            "estimates": item.estimates,
            "because": item.because,
        }
        for item in declared.features
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("feature", "bars", "estimates", "because", title=f"{declared.name} version {declared.version}")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
