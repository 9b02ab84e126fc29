"""``crucible network``: the topic mechanism."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from crucible.network.verify import FileReport


@click.group()
def network() -> None:
    """The network's topic mechanism: weights, losses, regrets, scores and rewards, as the chain computes them.

    Example: crucible network verify vectors --json
    """


@network.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON: counts and failures by file and function.")
@click.pass_context
def verify(ctx: click.Context, folder: Path, as_json: bool) -> None:
    """Run every vector file (*.json) in FOLDER against the mechanism; exit 1 if any case fails.

    A function that the mechanism does not know is a failure. "excused" counts confidence intervals beside equal values,
    whose order on the chain is chance; "undetermined" counts columns of a table that need epochs before its first.

    Example: crucible network verify vectors
    """
    from crucible.network.verify import verify as run

    reports = run(folder)
    failed = sum(len(outcome.failures) for report in reports.values() for outcome in report.outcomes.values())
    if as_json:
        click.echo(json.dumps(_json(reports, failed), indent=2))
    else:
        _tables(reports, failed)
    ctx.exit(1 if failed else 0)


def _json(reports: dict[str, FileReport], failed: int) -> dict[str, object]:
    files = {
        name: {
            "note": report.note,
            "functions": {
                function: {
                    "passed": outcome.passed,
                    "failed": len(outcome.failures),
                    "numbers": outcome.values,
                    "excused": outcome.ties,
                    "undetermined": outcome.undetermined,
                    "failures": outcome.failures,
                }
                for function, outcome in report.outcomes.items()
            },
        }
        for name, report in reports.items()
    }
    passed = sum(outcome.passed for report in reports.values() for outcome in report.outcomes.values())
    return {"passed": passed, "failed": failed, "files": files}


def _tables(reports: dict[str, FileReport], failed: int) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("file and function", "passed", "failed", "numbers", "excused", "undetermined")
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify = "right"
    for name, report in reports.items():
        table.add_row(f"[bold]{escape(name)}[/bold]" + (f" ({report.note})" if report.note else ""))
        for function, outcome in report.outcomes.items():
            counts = (outcome.passed, len(outcome.failures), outcome.values, outcome.ties, outcome.undetermined)
            table.add_row(f"  {escape(function)}", *(str(count) for count in counts))
    console = Console()
    console.print(table)
    for report in reports.values():
        for outcome in report.outcomes.values():
            for failure in outcome.failures:
                console.print(f"[red]failed[/red] {escape(failure)}")
    passed = sum(outcome.passed for report in reports.values() for outcome in report.outcomes.values())
    console.print(f"{passed} passed, {failed} failed")
