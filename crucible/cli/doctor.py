"""``crucible doctor``: looks at everything, and says how to mend what is broken."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

_MARKS = {"well": "[green]well[/]", "warning": "[yellow]warning[/]", "broken": "[red]BROKEN[/]", "skipped": "skipped"}


@click.command()
@click.option("--offline", is_flag=True, help="Do not ask the exchange, the node and the other endpoints.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, offline: bool, as_json: bool) -> None:
    """Check everything: libraries, disk, keystore, stores, recipes, bars, journals, clock, endpoints.

    Exit code 1 if something is broken; each such thing comes with the command that mends it.

    Nothing is changed. A warning works, and is worth knowing. Endpoints that do not answer within three seconds do not
    answer.

    Example: crucible doctor --offline
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from crucible.doctor.house import examine_house
    from crucible.doctor.machine import examine_machine
    from crucible.doctor.wires import examine_wires
    from crucible.settings import Settings

    settings = Settings.load()
    found = [*examine_machine(settings), *examine_house(settings)]
    found += [] if offline else examine_wires(settings)
    broken = sum(item.state == "broken" for item in found)
    if as_json:
        click.echo(json.dumps({"broken": broken, "findings": [asdict(item) for item in found]}, indent=2))
    else:
        console = Console(highlight=False)
        table = Table("check", "", "found", title=f"{settings.home}, {settings.chain_id}")
        for item in found:
            table.add_row(item.check, _MARKS[item.state], escape(item.sentence))
        console.print(table)
        for item in found:
            if item.mend and item.state in ("broken", "warning"):
                console.print(f"{_MARKS[item.state]} {escape(item.check)}: {escape(item.mend)}", soft_wrap=True)
        warnings = sum(item.state == "warning" for item in found)
        console.print(f"{broken} broken, {warnings} warnings, {len(found)} looked at")
    ctx.exit(1 if broken else 0)
