"""``crucible dagster-home``: what ``crucible up`` does for Dagster, for servers that are started one by one."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--project", type=click.Path(path_type=Path, file_okay=False), default=Path(),
    help="The folder that holds dagster.yaml (default: here).",
)  # fmt: skip
def dagster_home(project: Path) -> None:
    """Write dagster.yaml into the home's Dagster folder, and print that folder.

    With CRUCIBLE_DAGSTER_STORE, Dagster's runs and events go to that PostgreSQL database. Use it as
    DAGSTER_HOME=$(crucible dagster-home) dagster dev.
    """
    from crucible.settings import Settings
    from crucible.stack.instance import write_instance

    click.echo(write_instance(Settings.load(), project))
