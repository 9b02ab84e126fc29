"""``crucible promote``: move @champion, by the verdict or by a person's word."""

from __future__ import annotations

import click


@click.command()
@click.argument("recipe")
@click.option("--version", "number", type=int, help="Which version (default: @challenger).")
@click.option("--override", metavar="REASON", help="Promote in spite of the verdict; the reason is kept as a tag.")
@click.option("--list", "listing", is_flag=True, help="List the versions instead.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def promote(recipe: str, number: int | None, override: str | None, listing: bool, as_json: bool) -> None:
    """Move @champion of RECIPE's model to a version. The deploy sensor does the rest.

    Going back is promoting an older version.

    Example: crucible promote btc_usd_5min --version 2 --override "newest one drifts"
    """
    import json

    from rich.console import Console
    from rich.table import Table

    from crucible.errors import GateError, RegistryError
    from crucible.monitor.admission import why_not
    from crucible.recipe import find_recipe
    from crucible.registry.models import CHALLENGER, alias_version, versions
    from crucible.registry.models import promote as move
    from crucible.settings import Settings

    settings = Settings.load()
    if listing:
        found = versions(settings, recipe)
        if not found:
            raise RegistryError(f"Model {recipe} has no versions; materialise `challenger` of that recipe first.")
        if as_json:
            rows = [{"version": one.number, "aliases": list(one.aliases), "tags": dict(one.tags)} for one in found]
            click.echo(json.dumps(rows, indent=2))
            return
        table = Table("version", "aliases", "candidate", "grade", "verdict", "bundle", title=recipe)
        for version in found:
            tags = [version.tags.get(name, "") for name in ("candidate", "grade", "verdict", "bundle_sha256")]
            table.add_row(str(version.number), ", ".join(version.aliases), *tags[:3], tags[3][:12])
        Console().print(table)
        return
    if override is not None and not override.strip():
        raise click.UsageError("--override needs a reason; it is kept with the version.")
    chosen = number if number is not None else alias_version(settings, recipe, CHALLENGER)
    if chosen is None:
        raise RegistryError(f"Model {recipe} has no @challenger; materialise `challenger`, or name a --version.")
    # a model whose recipe is gone can still be promoted: nothing says then how long it must live
    known = override is None and (settings.recipes / f"{recipe}.toml").exists()
    if known and (waits := why_not(settings, find_recipe(settings.recipes, recipe), chosen)):
        raise GateError(f"{waits[:1].upper()}{waits[1:]}; to promote it all the same, give --override 'your reason'.")
    move(settings, recipe, chosen, override=override)
    click.echo(f"@champion of {recipe} is version {chosen}" + (" (by override)" if override else ""))
