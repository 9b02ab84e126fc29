"""``crucible up``: everything on this machine until Ctrl-C."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from crucible.stack.processes import Stack

_DAGSTER_SECONDS = 300.0  # twenty on an idle machine of two cores


@click.command()
@click.option(
    "--home", type=click.Path(path_type=Path), default=None, help="Folder for data/ and mlruns/ (default: here)."
)
@click.option(
    "--dagster-port", type=click.IntRange(0, 65535), default=3000, show_default=True, help="0 for a free one."
)
@click.option("--mlflow-port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="0 for a free one.")
@click.option(
    "--dashboard-port", type=click.IntRange(0, 65535), default=8050, show_default=True, help="0 for a free one."
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="How many times faster than real time a new market runs.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Seed of a new simulated market."
)
@click.option(
    "--signal", default=0.16, show_default=True, help="Attainable correlation planted in a new market; 0 for none."
)
def up(
    home: Path | None, dagster_port: int, mlflow_port: int, dashboard_port: int, speed: float, seed: int, signal: float
) -> None:
    """Run Dagster, MLflow, the practice exchange, localnet, the fleet, its monitor and dashboard until Ctrl-C.

    The market, the chain, the models and the runs continue from what is on disk.
    """
    import os

    from crucible.cli.localnet import answering
    from crucible.errors import SettingsError
    from crucible.recipe import load_recipe
    from crucible.settings import Settings
    from crucible.stack.processes import Stack
    from crucible.stack.world import read_world, simulated

    environ = dict(os.environ)
    if home is not None:
        environ["CRUCIBLE_HOME"] = str(home)
    settings = Settings.load(environ)
    recipes = [load_recipe(path) for path in sorted(settings.recipes.glob("*.toml"))]
    if not recipes:
        raise SettingsError(f"There is no recipe in {settings.recipes}; run this in Crucible's own folder.")
    recipes = answering(settings, recipes)
    world = read_world(settings.data / "world.json")
    if world is None:
        shortest = min(recipes, key=lambda recipe: recipe.topic.horizon)
        world = simulated(shortest, seed=seed, signal=signal, speed=speed)
    began = time.monotonic()
    stack = Stack(settings, Path.cwd(), world, recipes, click.echo, dagster_port=dagster_port, mlflow_port=mlflow_port)
    with stack:
        click.echo(f"Dagster            {stack.settings.dagster_url}  (materialise, schedules, the deploy sensor)")
        click.echo(f"MLflow             {stack.settings.mlflow_url}  (runs, models; move @champion to deploy)")
        click.echo(
            f"dashboard          {stack.watch(dashboard_port)}  (workers, models, bars; the monitor sends alerts)"
        )
        click.echo("Ctrl-C stops everything; `crucible up` continues from here.")
        try:
            _tell_when_loaded(stack, began)
            while True:
                stack.check()
                time.sleep(1.0)
        except KeyboardInterrupt:
            click.echo("\nstopping")


def _tell_when_loaded(stack: Stack, began: float) -> None:
    """Say when Dagster, which takes longest, can be used, or why it cannot; the workers need it for nothing."""
    from crucible.errors import ProcessError
    from crucible.stack.dagster_api import DagsterApi

    try:
        for _ in DagsterApi(stack.settings.dagster_url).wait_loaded(_DAGSTER_SECONDS):
            stack.check()
    except ProcessError as error:
        stack.check()  # a process that has ended ends everything
        words = str(error).rstrip(".")
        click.echo(f"Warning: {words}. The workers go on without it.", err=True)
    else:
        click.echo(f"Dagster is ready after {time.monotonic() - began:.0f} s")
