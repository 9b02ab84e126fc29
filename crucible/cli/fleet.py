"""``crucible fleet``: run and watch the workers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.group()
def fleet() -> None:
    """Run and watch the workers."""


@fleet.command()
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written once it supervises.")
def run(ready_file: Path | None) -> None:
    """Keep one worker alive per deployment, until Ctrl-C. `crucible up` does this too."""
    from crucible.settings import Settings
    from crucible.worker.fleet import Fleet
    from crucible.worker.log import log_to_stderr

    settings = Settings.load()
    log_to_stderr(settings.clock)
    Fleet(settings).run(ready_file)


@fleet.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show every worker; the same as `crucible workers ls`."""
    from crucible.cli.workers import ls

    ctx.invoke(ls, as_json=as_json)


@fleet.command()
def health() -> None:
    """Exit 0 if this host's fleet runs and no worker of this host has failed or fallen silent; for probes."""
    from crucible.errors import ProcessError
    from crucible.settings import Settings
    from crucible.worker.host import host_id
    from crucible.worker.lock import is_held
    from crucible.worker.overview import overview

    settings = Settings.load()
    if not is_held(settings.fleet / ".lock"):
        raise ProcessError(f"No fleet runs in {settings.home}.")
    here = [line for line in overview(settings) if line.host == host_id(settings)]
    ill = [f"{line.recipe} is {line.state}" for line in here if line.state in ("failed", "late", "not running")]
    if ill:
        raise ProcessError("; ".join(ill) + ".")
    click.echo(f"the fleet runs; {len(here)} workers of this host are well")


@fleet.command()
@click.argument("recipe")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many submissions.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def journal(recipe: str, last: int, as_json: bool) -> None:
    """Show what became of each nonce of RECIPE's topic; the same as `crucible workers journal`."""
    show_journal(recipe, last, as_json)


def show_journal(recipe: str, last: int, as_json: bool) -> None:
    """Print the newest ``last`` submissions of ``recipe``, as a table or as JSON."""
    from rich.console import Console
    from rich.table import Table

    from crucible.settings import Settings
    from crucible.worker.deployment import journal_path
    from crucible.worker.journal import read_journal

    rows = read_journal(journal_path(Settings.load(), recipe), newest=last)
    if as_json:
        plain = [{key: value for key, value in asdict(row).items() if key != "tx_content"} for row in rows]
        click.echo(json.dumps(plain, indent=2))
        return
    if not rows:
        click.echo(f"No nonce of {recipe} is in this host's journal; `crucible workers ls` says what is deployed.")
        return
    table = Table("nonce", "state", "value", "block", "score", "version", "transaction", "reason", title=recipe)
    for row in rows:
        score = "" if row.score is None else f"{row.score:+.6f}"
        value = "" if row.value is None else f"{row.value:.8g}"
        cells = (
            row.nonce,
            row.state,
            value,
            row.height or "",
            score,
            row.model_version or "",
            (row.tx_hash or "")[:16],
        )
        table.add_row(*(str(cell) for cell in cells), row.reason or "")
    Console().print(table)
