"""``crucible demo``: from bars to scored submissions, from nothing, in one command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from crucible.stack.demo import Outcome
    from crucible.stack.processes import Stack


@click.command()
@click.option("--recipe", default="btc_usd_5min", show_default=True, help="Which recipe to run.")
@click.option("--bars", type=click.Path(path_type=Path), help="Replay this Parquet or CSV file instead of simulating.")
@click.option("--home", type=click.Path(path_type=Path), help="Folder for data/ and mlruns/ (default: here).")
@click.option(
    "--submissions",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Stop after so many scored submissions.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Seed of a new simulated market."
)
@click.option("--signal", default=0.16, show_default=True, help="Attainable correlation planted in it; 0 for none.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="How many times faster than real time the market runs.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    help="Give up a step after so many seconds.",
)
def demo(
    recipe: str,
    bars: Path | None,
    home: Path | None,
    submissions: int,
    seed: int,
    signal: float,
    speed: float,
    patience: float,
) -> None:
    """Run the whole way once, then stop everything and print what happened.

    A second demo in the same home continues the same market and chain, as `crucible up` does.

    Example: crucible demo --bars BTCUSDT_5m.parquet --home data/real
    """
    from rich.console import Console

    from crucible.recipe import find_recipe
    from crucible.settings import Settings
    from crucible.stack.demo import Demo
    from crucible.stack.processes import Stack
    from crucible.stack.world import read_world, replayed, simulated

    console = Console(highlight=False)
    settings = Settings.load({**os.environ, **({"CRUCIBLE_HOME": str(home)} if home else {})})
    chosen = find_recipe(settings.recipes, recipe)
    world = read_world(settings.data / "world.json")
    if world is None:
        fresh = replayed(chosen, bars, speed=speed) if bars else None
        world = fresh or simulated(chosen, seed=seed, signal=signal, speed=speed)
    elif bars and str(bars.resolve()) not in world.exchange:
        raise click.UsageError(
            f"{settings.home} holds another market; choose another --home, or delete {settings.data}."
        )
    stack = Stack(settings, Path.cwd(), world, [chosen], lambda line: console.print(f"         {line}", soft_wrap=True))
    with stack:
        outcome = Demo(stack, chosen, console, submissions=submissions, patience=patience).run()
    _summarise(console, outcome, stack)


def _summarise(console: Console, outcome: Outcome, stack: Stack) -> None:
    from rich.table import Table

    verdict = outcome.verdict
    console.rule("summary")
    gates = Table(
        "gate", "outcome", "what was found", title=f"verdict on {verdict['candidate']}, grade {verdict['grade']}"
    )
    for gate in verdict["gates"]:
        gates.add_row(
            gate["name"], gate["outcome"] if gate["passed"] else f"[red]{gate['outcome'].upper()}[/]", gate["sentence"]
        )
    console.print(gates)
    submissions = Table("nonce", "state", "submitted", "block", "score", "transaction", title="submissions")
    for row in outcome.rows:
        value = "" if row.value is None else f"{row.value:.8g}"
        score = "" if row.score is None else f"{row.score:+.6f}"
        submissions.add_row(str(row.nonce), row.state, value, str(row.height or ""), score, (row.tx_hash or "")[:16])
    console.print(submissions)
    accepted = sum(row.state in ("included", "scored") for row in outcome.rows)
    scored = sum(row.state == "scored" for row in outcome.rows)
    how = "by the gates" if outcome.override is None else f"by override ({outcome.override})"
    home = "" if stack.settings.home == Path.cwd() else f" --home {os.path.relpath(stack.settings.home)}"
    lines = (
        f"promoted     version {outcome.version} of {stack.recipes[0].name}, {how}",
        f"submissions  {accepted} accepted, {scored} scored, by {outcome.address}",
        f"took         {outcome.seconds:.0f} s after the servers were up; nothing is left running",
        f"look next    `crucible up{home}`: Dagster run {outcome.run_id[:8]}, MLflow runs and models, more submissions",
    )
    for line in lines:
        console.print(line, soft_wrap=True)
