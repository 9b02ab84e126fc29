"""``crucible monitor``: what is live, where it came from, what has drifted, and the loop that watches."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def monitor() -> None:
    """Watch what is live: scores, drift, lineage, the topic's contract."""


@monitor.command()
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written once it watches.")
def run(ready_file: Path | None) -> None:
    """Watch everything and send alerts, until Ctrl-C. `crucible up` does this too."""
    from crucible.monitor.watch import run as watch
    from crucible.settings import Settings
    from crucible.worker.log import log_to_stderr

    settings = Settings.load()
    log_to_stderr(settings.clock)
    watch(settings, ready_file)


@monitor.command()
@click.argument("recipe")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many forecasts.")
@click.option("--shadows", is_flag=True, help="Shadow models too.")
@_JSON
def live(recipe: str, last: int, shadows: bool, as_json: bool) -> None:
    """Show RECIPE's newest forecasts with truth and scores, and how they fare against the network.

    Example: crucible monitor live btc_usd_5min
    """
    from rich.console import Console
    from rich.table import Table

    from crucible.monitor.live import live_rows, summary
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    settings = Settings.load()
    chosen = find_recipe(settings.recipes, recipe)
    rows = live_rows(settings, chosen, source="" if shadows else "worker")
    found = summary(chosen, rows)
    if as_json:
        click.echo(json.dumps({**found, "rows": [asdict(row) for row in rows[-last:]]}, indent=2))
        return
    names = ("nonce", "source", "model_version", "value", "truth", "network", "loss", "network_loss", "score", "rank")
    table = Table("time", *(name.replace("_", " ") for name in names), title=recipe)
    for row in rows[-last:]:
        table.add_row(f"{row.time:%m-%d %H:%M}", *(_cell(getattr(row, name)) for name in names))
    Console().print(table if rows else f"Nothing of {recipe} was evaluated so far; the job `evaluate_live` does that.")
    for name, comparison in found["against"].items():
        if rows:
            click.echo(f"against {name}: {comparison['sentence']}")


@monitor.command()
@click.argument("tx_hash", metavar="TXHASH")
@_JSON
def lineage(tx_hash: str, as_json: bool) -> None:
    """Trace a transaction back to its model, features and bars, and compute its value again.

    Example: crucible monitor lineage 4F0C1A
    """
    from crucible.monitor.lineage import trace
    from crucible.settings import Settings

    found = asdict(trace(Settings.load(), tx_hash))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' '):>15}  {'' if value is None else value}")


@monitor.command()
@click.argument("recipe")
@_JSON
def drift(recipe: str, as_json: bool) -> None:
    """Compare RECIPE's newest day with what its deployed model was trained and judged on.

    Example: crucible monitor drift btc_usd_5min
    """
    from rich.console import Console
    from rich.table import Table

    from crucible.monitor.drift_watch import check_drift
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    settings = Settings.load()
    report = check_drift(settings, find_recipe(settings.recipes, recipe))
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
        return
    table = Table("column", "statistic", "now", "usual", "p", "adjusted", "drifted")
    for item in report.findings[:20]:
        cells = (item.value, item.usual, item.p_value, item.adjusted)
        table.add_row(item.column, item.statistic, *(f"{cell:.3g}" for cell in cells), "yes" if item.drifted else "")
    Console().print(table)
    if report.loss is not None:
        said = "worse than before" if report.decayed else "as before"
        click.echo(f"loss against {report.against}: {said} ({report.loss.height:.1f} of {report.loss.threshold:g})")
    for sentence in report.skipped:
        click.echo(f"not looked at: {sentence}")


@monitor.command()
@click.argument("recipe")
@click.option("--accept", is_flag=True, help="Take what the chain says now for agreed.")
@_JSON
def contract(recipe: str, accept: bool, as_json: bool) -> None:
    """Ask the chain whether the topic is still what RECIPE answers; exits 1 if not.

    Example: crucible monitor contract btc_usd_5min
    """
    import asyncio

    from crucible.chain.client import ChainClient
    from crucible.errors import GateError
    from crucible.monitor.contract import accept_contract, check_contract
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    settings = Settings.load()
    chosen = find_recipe(settings.recipes, recipe)

    async def ask() -> list[str]:
        async with ChainClient(settings.grpc_url) as client:
            return await (accept_contract if accept else check_contract)(settings, chosen, client)

    broken = asyncio.run(ask())
    if as_json:
        click.echo(json.dumps({"recipe": recipe, "broken": broken}))
    elif not broken:
        click.echo(f"the topic is what {recipe} answers")
    if broken:
        raise GateError(f"The topic is not what {recipe} answers: {'; '.join(broken)}.")


@monitor.command()
@click.argument("recipe")
@_JSON
def decisions(recipe: str, as_json: bool) -> None:
    """Show whether RECIPE would be retrained or rolled back now, and why or why not.

    Example: crucible monitor decisions btc_usd_5min
    """
    from crucible.monitor.admission import waiting
    from crucible.monitor.evidence import gather, history
    from crucible.monitor.retrain import decide
    from crucible.monitor.rollback import review
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    settings = Settings.load()
    chosen = find_recipe(settings.recipes, recipe)
    past = history(settings, recipe)
    challenger = waiting(settings, chosen)
    retrain = decide(settings.clock.now(), gather(settings, chosen), past, waiting=challenger)
    back = review(settings, chosen)
    words = back.verdict.sentence if back else "nothing served before"
    found: dict[str, Any] = {
        "retrain": {"go": retrain.go, "why": retrain.sentence, "runs so far": len(past)},
        "roll back": {"go": bool(back and back.verdict.back), "why": words},
    }
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, item in found.items():
        click.echo(f"{name}: {'yes' if item['go'] else 'no'}, {item['why']}")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
