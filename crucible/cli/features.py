"""``crucible features``: what is computed, why, how, and what it has said so far."""

from __future__ import annotations

import json

import click


@click.group()
def features() -> None:
    """List a recipe's features, show what is executed, or report on them."""


@features.command("list")
@click.argument("recipe", default="btc_usd_5min")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(recipe: str, as_json: bool) -> None:
    """List the features of RECIPE with their windows.

    Example: crucible features list btc_usd_8h
    """
    from rich.console import Console
    from rich.table import Table

    from crucible.features.engine import recipe_features
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    chosen = find_recipe(Settings.load().recipes, recipe)
    declared = recipe_features(chosen)
    rows = [
        {
            "name": item.name,
            "family": item.family,
            "bars": max(item.bars(chosen.horizon_bars).values(), default=1),
            "estimates": item.estimates,
            "because": item.because,
        }
        for item in declared.features
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(
        "feature", "family", "bars", "estimates", "because", title=f"{declared.name} version {declared.version}"
    )
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


@features.command()
@click.argument("recipe", default="btc_usd_5min")
def sql(recipe: str) -> None:
    """Print what is executed for RECIPE: two DuckDB queries, and the windows between them.

    Example: crucible features sql btc_usd_8h
    """
    from crucible.features.engine import recipe_plan
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    click.echo(recipe_plan(find_recipe(Settings.load().recipes, recipe)).text)


@features.command()
@click.argument("recipe", default="btc_usd_5min")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def report(recipe: str, as_json: bool) -> None:
    """Report on RECIPE's features over its stored bars: completeness, stability, information coefficient per year.

    Writes features.md and features.png beside the features, and prints the table.

    Example: crucible features report btc_usd_5min
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from crucible.lab_stages import build_features, describe_features
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    settings = Settings.load()
    chosen = find_recipe(settings.recipes, recipe)
    rows, folder = describe_features(settings, chosen, build_features(settings, chosen))
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    records = [row.to_record() for row in rows]
    shown = [key for key in records[0] if key not in ("estimates", "because", "family", "windows")]
    table = Table(*shown)
    for record in records:
        table.add_row(*(str(record[key]) for key in shown))
    Console().print(table)
    click.echo(f"report: {folder / 'features.md'}")
