"""``crucible evaluate``: the laboratory without Dagster: features, walk-forward, verdict."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("recipe")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def evaluate(recipe: str, as_json: bool) -> None:
    """Evaluate RECIPE on the stored bars, log it to MLflow, and print the verdict.

    Fetch or import bars first. Nothing is registered or promoted.

    Example: crucible bars backfill btc_usd_5min && crucible evaluate btc_usd_5min
    """
    from rich.console import Console
    from rich.progress import Progress

    from crucible import lab_stages
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    settings = Settings.load()
    chosen = find_recipe(settings.recipes, recipe)
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("features", total=None)
        lab_stages.build_features(settings, chosen)
        progress.update(task, description="search")

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        lab_stages.walk_forward(settings, chosen, tell)
        progress.update(task, description="evaluation", total=None)
        evaluation = lab_stages.evaluate(settings, chosen)
    if as_json:
        click.echo(json.dumps(evaluation.verdict.to_json(), indent=2))
    else:
        Console().print(evaluation.verdict.table())
