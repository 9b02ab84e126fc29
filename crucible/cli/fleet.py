"""``crucible fleet``: run and watch the workers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
def status(as_json: bool) -> None:
    """Show every worker: what it should serve, what it does serve, and how it fares."""
    from rich.console import Console
    from rich.table import Table

    from crucible.settings import Settings

    rows = _status(Settings.load())
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(
        "recipe", "state", "version", "bundle", "generation", "last nonce", "last submission", "beat", "message"
    )
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table if rows else "Nothing is deployed; promote a model and the deploy sensor does the rest.")


@fleet.command()
@click.argument("recipe")
@click.option("--last", default=20, show_default=True, help="How many submissions.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def journal(recipe: str, last: int, as_json: bool) -> None:
    """Show what became of each nonce of RECIPE's topic."""
    from rich.console import Console
    from rich.table import Table

    from crucible.settings import Settings
    from crucible.worker.deployment import journal_path
    from crucible.worker.journal import read_journal

    rows = read_journal(journal_path(Settings.load(), recipe))[-last:]
    if as_json:
        plain = [{key: value for key, value in asdict(row).items() if key != "tx_content"} for row in rows]
        click.echo(json.dumps(plain, indent=2))
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


def _message(desired: Any, actual: Any) -> str:
    if actual is None:
        return "no worker has started"
    if desired and actual.refusal and actual.refused_generation == desired.generation:
        return f"generation {desired.generation} refused: {actual.refusal}"
    return str(actual.message)


def _status(settings: Any) -> list[dict[str, Any]]:
    from crucible.worker.deployment import journal_path, read_actual, read_wanted
    from crucible.worker.journal import read_journal

    rows = []
    for wanted in read_wanted(settings):
        desired = wanted.deployment
        actual = read_actual(settings, desired.recipe)
        submissions = read_journal(journal_path(settings, desired.recipe))
        state = "not running" if actual is None or not actual.alive else actual.state
        if actual is not None and not actual.alive and actual.state == "failed":
            state = "failed"
        rows.append(
            {
                "recipe": desired.recipe,
                "state": state if wanted.running else "stopped",
                "version": actual.model_version if actual else 0,
                "bundle": (actual.bundle if actual else "")[:12],
                "generation": f"{actual.generation if actual else 0} of {desired.generation}",
                "last nonce": actual.last_nonce if actual else 0,
                "last submission": submissions[-1].state if submissions else "none",
                "seconds since heartbeat": round(actual.silence, 1) if actual and actual.alive else None,
                "message": _message(desired, actual),
            }
        )
    return rows
