"""``crucible recipe``: check and show recipes."""

from __future__ import annotations

import json
from typing import Any

import click


@click.group()
def recipe() -> None:
    """Check and show recipes."""


@recipe.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the recipes and what they answer; one that is faulty is listed with its fault.

    Example: crucible recipe list
    """
    from rich.console import Console
    from rich.table import Column, Table

    from crucible.errors import RecipeError
    from crucible.recipe import load_recipe
    from crucible.settings import Settings

    folder = Settings.load().recipes
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise RecipeError(f"There is no recipe in {folder}; CRUCIBLE_RECIPES names the folder.")
    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            found = load_recipe(file)
        except RecipeError as error:
            rows.append({"name": file.stem, "fault": str(error)})
            continue
        told = found.model_dump(mode="json")
        rows.append(
            {"name": found.name, "version": found.version, "digest": found.digest}
            | {key: told["topic"][key] for key in ("testnet", "mainnet", "asset", "target", "horizon")}
            | {key: told["data"][key] for key in ("sources", "symbol", "interval")}
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(
        Column("recipe", no_wrap=True), "testnet", "mainnet", "asset", "target", "horizon", "bars", title=str(folder)
    )
    for row in rows:
        if "fault" in row:
            table.add_row(row["name"], f"[red]{row['fault']}")
            continue
        cells = [row[key] for key in ("name", "testnet", "mainnet", "asset", "target", "horizon")]
        cells.append(f"{row['symbol']} {row['interval']}")
        table.add_row(*("-" if cell is None else str(cell) for cell in cells))
    Console().print(table)


@recipe.command()
@click.argument("name")
def check(name: str) -> None:
    """Check the recipe NAME (or a path that ends in .toml); exit 1 and say the first fault if there is one.

    Example: crucible recipe check btc_usd_5min
    """
    from crucible.features.engine import recipe_plan
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    found = find_recipe(Settings.load().recipes, name)
    recipe_plan(found)  # that there are such features, and that they compile
    click.echo(f"{found.name} version {found.version} is valid ({found.digest})")


@recipe.command()
@click.argument("name")
@click.option("--canonical", is_flag=True, help="Print the exact text whose SHA-256 is the recipe's identity.")
def show(name: str, canonical: bool) -> None:
    """Print the recipe NAME as JSON: every value as it is used, and its digest.

    Example: crucible recipe show btc_usd_5min
    """
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    found = find_recipe(Settings.load().recipes, name)
    if canonical:
        click.echo(found.canonical())
        return
    click.echo(json.dumps({"digest": found.digest, "recipe": found.model_dump(mode="json")}, indent=2))


@recipe.command()
@click.argument("name")
def bump(name: str) -> None:
    """Raise the version of the recipe NAME by one, in its file: a new version has a deployment set of its own.

    The trial ledger remembers every version. Each further look at the same rows makes the last gate harder to pass.

    Example: crucible recipe bump btc_usd_5min
    """
    import re
    from pathlib import Path

    from crucible.process import write_atomic
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    folder = Settings.load().recipes
    found = find_recipe(folder, name)
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    # the first such line is the recipe's own: tables come after it
    text, count = re.subn(
        r"^version *= *\d+", f"version = {found.version + 1}", path.read_text(encoding="utf-8"), count=1, flags=re.M
    )
    assert count == 1  # a valid recipe states its version
    write_atomic(path, text.encode())
    click.echo(f"{found.name}: version {found.version} -> {found.version + 1}")
