"""``crucible status``: every recipe at one look."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from crucible.overview import Overview


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show every recipe: how fresh its bars are, the verdict, champion, worker, last submission and score.

    The score is the mean of the newest 20 scored submissions. `crucible doctor` says what is broken, and how to mend
    it.

    Example: crucible status --json
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Column, Table

    from crucible.overview import overview
    from crucible.settings import Settings

    settings = Settings.load()
    rows = overview(settings)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    if not rows:
        click.echo(f"There is no recipe in {settings.recipes}; `crucible init` writes one.")
        return
    columns = ("recipe", "topic", "bars", "verdict", "champion", "worker", "last submission", "score")
    table = Table(
        Column(columns[0], no_wrap=True),
        *columns[1:],
        title=f"{settings.home}, {settings.chain_id}, {settings.clock.now():%Y-%m-%d %H:%M} UTC",
    )
    for row in rows:
        table.add_row(row.recipe, *_cells(row))
    console = Console(highlight=False)
    console.print(table)
    for row in rows:
        if row.fault:
            console.print(f"[red]{row.recipe}[/]: {row.fault}", soft_wrap=True)


def _cells(row: Overview) -> tuple[str, ...]:
    from crucible.doctor.house import format_age

    bars = "none" if row.bars_age is None else f"{row.bars:,}, {format_age(row.bars_age)} old"
    verdict = f"{row.verdict} ({row.candidate}, {row.grade})" if row.candidate else row.verdict or "-"
    champion = "-" if row.champion is None else f"v{row.champion}"
    if row.challenger is not None and row.challenger != row.champion:
        champion += f" (challenger v{row.challenger})"
    worker = f"{row.worker} v{row.serves}" if row.serves else row.worker or "-"
    last = "-" if row.nonce is None else f"{row.nonce} {row.submission}"
    score = "-" if row.score is None else f"{row.score:+.4g} ({row.scored})"
    return (str(row.topic or "-"), bars, verdict, champion, worker, last, score)
