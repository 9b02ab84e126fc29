"""``crucible workers``: deploy, watch and steer the workers of a fleet."""

from __future__ import annotations

import difflib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from crucible.settings import Settings
    from crucible.worker.deployment import Deployment

_PATIENCE = 60.0
_wait = click.option(
    "--wait", default=_PATIENCE, show_default=True, help="Seconds to wait until it is served; 0 for not at all."
)


@click.group()
def workers() -> None:
    """Deploy, watch and steer workers; a running fleet obeys within a second, on whichever host it runs.

    These commands write what should be into the fleet's database. `crucible fleet run` makes it so.
    """


@workers.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ls(as_json: bool) -> None:
    """List every worker: what it should serve, what it serves where, and how long it has been silent.

    Example: crucible workers ls
    """
    from rich.console import Console
    from rich.table import Table

    from crucible.settings import Settings
    from crucible.worker.overview import overview

    lines = overview(Settings.load())
    if as_json:
        click.echo(json.dumps([asdict(line) for line in lines], indent=2))
        return
    table = Table("recipe", "state", "topic", "wallet", "host", "version", "bundle", "generation", "last", "silent", "")
    for line in lines:
        silent = "" if line.silent_epochs is None else f"{line.silent_epochs:.1f} epochs"
        served = f"{line.generation} of {line.wanted_generation}"
        cells = (line.recipe, line.state, line.topic_id, line.wallet, line.host, line.model_version or "")
        table.add_row(*map(str, cells), line.bundle[:12], served, line.last_submission, silent, line.message)
    Console().print(table if lines else "Nothing is deployed; see `crucible workers deploy --help`.")


@workers.command("deploy")
@click.argument("recipe", required=False)
@click.option("--bundle", type=click.Path(path_type=Path, exists=True, file_okay=False), help="A bundle's folder.")
@click.option("--wallet", "wallet_name", help="Which wallet signs; by default the one that does, or the recipe's.")
@_wait
def deploy_(recipe: str | None, bundle: Path | None, wallet_name: str | None, wait: float) -> None:
    """Serve the champion of RECIPE, or a bundle.

    Without --bundle it is what the deploy sensor does too. With it no registry is needed, and @champion stays: the next
    time that it moves, its version replaces the bundle.

    Example: crucible workers deploy --bundle data/bundles/3f1c… --wallet main
    """
    from crucible.settings import Settings

    settings = Settings.load()
    if (recipe is None) == (bundle is None):
        raise click.UsageError("Name a recipe, or a bundle with --bundle.")
    if bundle is not None:
        from crucible.worker.roll_back import deploy_bundle

        _served(settings, deploy_bundle(settings, bundle, wallet=wallet_name), wait)
        return
    from crucible.recipe import find_recipe
    from crucible.stages import deploy_champion

    if wallet_name is not None:
        raise click.UsageError("--wallet goes with --bundle; the champion is served with the recipe's deploy.wallet.")
    done = deploy_champion(settings, find_recipe(settings.recipes, str(recipe)), patience=wait)
    click.echo(f"{recipe}: version {done.deployment.model_version} is served, generation {done.actual.generation}")


@workers.command()
@click.argument("recipe")
@click.option("--to", "generation", type=int, help="The bundle of that generation (default: the previous bundle).")
@click.option("--history", "listing", is_flag=True, help="List the generations instead.")
@_wait
def rollback(recipe: str, generation: int | None, listing: bool, wait: float) -> None:
    """Put the previous bundle of RECIPE back, at once, and move @champion to its version.

    The worker swaps between two epochs and is not restarted. @champion follows, so that the next deploy run deploys the
    same again; where there is no registry, this says so.

    Example: crucible workers rollback btc_usd_5min
    """
    from crucible.settings import Settings
    from crucible.worker.deployment import history
    from crucible.worker.roll_back import roll_back

    settings = Settings.load()
    _known(settings, recipe)
    if listing:
        for item in history(settings, recipe):
            click.echo(f"{item.generation:>4}  version {item.model_version:<4} {item.bundle[:12]}  {item.written_at}")
        return
    asked = roll_back(settings, recipe, to=generation)
    _served(settings, asked, wait)
    click.echo(_move_champion(settings, asked))


@workers.command()
@click.argument("recipe")
def start(recipe: str) -> None:
    """Serve RECIPE again after a stop."""
    _steer(recipe, "set_running", True)
    click.echo(f"{recipe} is to be served")


@workers.command()
@click.argument("recipe")
def stop(recipe: str) -> None:
    """Serve RECIPE no more until `start`; what is under way is finished first, and it stays deployed."""
    _steer(recipe, "set_running", False)
    click.echo(f"{recipe} is to be stopped")


@workers.command()
@click.argument("recipe")
def restart(recipe: str) -> None:
    """End the process that serves RECIPE, and start it again."""
    _steer(recipe, "ask_restart")
    click.echo(f"{recipe} is to be restarted")


@workers.command()
@click.argument("recipe")
def rm(recipe: str) -> None:
    """Forget the deployment of RECIPE; its journal, its log and its history stay."""
    _steer(recipe, "remove_desired")
    click.echo(f"{recipe} is deployed no more")


@workers.command()
@click.argument("recipe")
@click.option(
    "--lines", "-n", type=click.IntRange(min=1), default=50, show_default=True, help="How many of the newest lines."
)
@click.option("--follow", "-f", is_flag=True, help="Go on until Ctrl-C.")
def logs(recipe: str, lines: int, follow: bool) -> None:
    """Show the log of RECIPE's worker on this host."""
    from crucible.errors import ProcessError
    from crucible.settings import Settings
    from crucible.worker.worker_process import log_path, process_key

    settings = Settings.load()
    path = log_path(settings, process_key(_known(settings, recipe)))
    if not path.exists():
        raise ProcessError(f"There is no log of {recipe} on this host; `crucible workers ls` says where it runs.")
    with path.open("rb") as file:
        click.echo(b"".join(file.readlines()[-lines:]), nl=False)
        while follow:
            if path.stat().st_size < file.tell():
                file.seek(0)  # it had grown long, and was emptied
            click.echo(file.read(), nl=False)
            time.sleep(0.3)


@workers.command()
@click.argument("recipe")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many submissions.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def journal(recipe: str, last: int, as_json: bool) -> None:
    """Show what became of each nonce of RECIPE's topic, as this host's journal has it."""
    from crucible.cli.fleet import show_journal

    show_journal(recipe, last, as_json)


def _steer(recipe: str, action: str, *arguments: Any) -> None:
    from crucible.settings import Settings
    from crucible.worker import deployment

    settings = Settings.load()
    _known(settings, recipe)
    getattr(deployment, action)(settings, recipe, *arguments)


def _known(settings: Settings, recipe: str) -> Deployment:
    from crucible.errors import ProcessError
    from crucible.worker.deployment import read_desired, read_wanted

    found = read_desired(settings, recipe)
    if found is not None:
        return found
    names = [wanted.deployment.recipe for wanted in read_wanted(settings)]
    near = difflib.get_close_matches(recipe, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"deployed: {', '.join(names) or 'nothing'}."
    raise ProcessError(f"Nothing is deployed for {recipe}; {hint}")


def _served(settings: Settings, asked: Deployment, wait: float) -> None:
    from crucible.worker.deployment import wait_served

    if wait <= 0:
        click.echo(f"{asked.recipe}: generation {asked.generation} is asked for")
        return
    begun = time.monotonic()
    actual = wait_served(settings, asked, wait)
    took = time.monotonic() - begun
    click.echo(
        f"{asked.recipe}: bundle {asked.bundle[:12]} is served after {took:.1f} s, generation {actual.generation}"
    )


def _move_champion(settings: Settings, asked: Deployment) -> str:
    """Let the registry's alias follow, and say what became of it."""
    from crucible.errors import CrucibleError

    if not asked.model_version:
        return "@champion stays where it is: that bundle has no version in the registry."
    try:
        from crucible.registry.models import promote

        promote(settings, asked.recipe, asked.model_version, override="crucible workers rollback")
    except (CrucibleError, ImportError) as error:
        return f"@champion stays where it is ({error}); the next time that it moves, its version is deployed."
    return f"@champion of {asked.recipe} is version {asked.model_version}"
