"""``crucible audit``: prove a recipe's features on its stored bars."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from crucible.cli.bars_target import progress_bar

if TYPE_CHECKING:
    import pyarrow as pa

    from crucible.features.engine import FeatureFrame
    from crucible.recipe import Recipe

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_BARS = click.option(
    "--bars", "count", type=click.IntRange(min=1), default=5000, show_default=True, help="On the newest so many bars."
)
_SEED = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of everything random.")


@click.group()
def audit() -> None:
    """Prove a recipe's features on its stored bars.

    lookahead, warmup and parity exit 1 on any finding; drift and redundancy only report.
    """


@audit.command()
@click.argument("recipe")
@click.option(
    "--cuts", type=click.IntRange(min=1), default=8, show_default=True, help="At how many instants the future begins."
)
@_BARS
@_SEED
@_JSON
def lookahead(recipe: str, cuts: int, count: int, seed: int, as_json: bool) -> None:
    """Perturb, cut off and thin out every future of RECIPE's features: no past value may move by a bit.

    Example: crucible audit lookahead btc_usd_5min
    """
    from crucible.features.audit.lookahead import find_leaks
    from crucible.features.engine import recipe_plan

    chosen, bars = _load(recipe, count)
    with progress_bar("cuts") as progress:
        leaks = find_leaks(bars, recipe_plan(chosen), chosen.data.interval, cuts=cuts, seed=seed, progress=progress)
    _tell([asdict(leak) for leak in leaks], as_json)
    _end(f"{cuts} futures of {bars.num_rows} bars, three ways each", [leak.feature for leak in leaks], as_json)


@audit.command()
@click.argument("recipe")
@click.option(
    "--instants", type=click.IntRange(min=1), default=4, show_default=True, help="At how many prediction times."
)
@_BARS
@_SEED
@_JSON
def warmup(recipe: str, instants: int, count: int, seed: int, as_json: bool) -> None:
    """Give RECIPE's features less and less history: the declared warm-up must be enough, and not absurd.

    Example: crucible audit warmup btc_usd_5min
    """
    from crucible.features.audit.warmup import measure_warmup
    from crucible.features.engine import recipe_features

    chosen, bars = _load(recipe, count)
    found = measure_warmup(
        bars, recipe_features(chosen), chosen.horizon_bars, chosen.data.interval, instants=instants, seed=seed
    )
    _tell([{**asdict(item), "sufficient": item.sufficient, "absurd": item.absurd} for item in found], as_json)
    wrong = [item.feature for item in found if item.absurd or not item.sufficient]
    _end(f"warm-up of {len(found)} features at {instants} instants", wrong, as_json)


@audit.command()
@click.argument("recipe")
@click.option(
    "--times", type=click.IntRange(min=1), default=10_000, show_default=True, help="How many prediction times."
)
@_BARS
@_SEED
@_JSON
def parity(recipe: str, times: int, count: int, seed: int, as_json: bool) -> None:
    """Compare the worker's path with history at random prediction times, gaps and late bars included.

    Example: crucible audit parity btc_usd_5min --times 500
    """
    from crucible.features.audit.parity import compare_paths
    from crucible.features.engine import recipe_plan

    chosen, bars = _load(recipe, count)
    with progress_bar("prediction times") as progress:
        found = compare_paths(
            bars, recipe_plan(chosen), chosen.data.interval, times=times, seed=seed, progress=progress
        )
    _tell([asdict(item) for item in found], as_json)
    largest = max(item.largest for item in found)
    _end(
        f"{times} prediction times, {len(found)} features, largest difference {largest:.2g} standard deviations",
        [item.feature for item in found if not item.equal], as_json,
    )  # fmt: skip


@audit.command()
@click.argument("recipe")
@click.option(
    "--recent",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of the history that counts as recent.",
)
@_JSON
def drift(recipe: str, recent: float, as_json: bool) -> None:
    """Compare RECIPE's recent feature values with earlier ones (population stability index; 0.25 is another market).

    Example: crucible audit drift btc_usd_5min
    """
    from crucible.features.audit.drift import measure_drift

    frame = _frame(recipe)
    found = sorted(measure_drift(frame, max(int(recent * len(frame.times)), 1)), key=lambda item: -item.index)
    _tell([{**asdict(item), "moved": item.moved} for item in found], as_json)
    if not as_json:
        click.echo(f"{sum(item.moved for item in found)} of {len(found)} features have moved")


@audit.command()
@click.argument("recipe")
@click.option(
    "--nearly", type=click.FloatRange(0, 1), default=0.95, show_default=True, help="Least absolute rank correlation."
)
@_JSON
def redundancy(recipe: str, nearly: float, as_json: bool) -> None:
    """List clusters of RECIPE's features that say nearly the same.

    Example: crucible audit redundancy btc_usd_5min
    """
    from crucible.features.audit.redundancy import find_near_copies

    found = find_near_copies(_frame(recipe), nearly)
    _tell([asdict(item) for item in found], as_json)
    if not as_json:
        click.echo(f"{len(found)} clusters of near-copies")


def _load(recipe: str, count: int) -> tuple[Recipe, pa.Table]:
    from crucible.bar_stages import audit_bars
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    settings = Settings.load()
    chosen = find_recipe(settings.recipes, recipe)
    return chosen, audit_bars(settings, chosen, count)


def _frame(recipe: str) -> FeatureFrame:
    from crucible.features.engine import compute_features

    chosen, bars = _load(recipe, 10**9)
    return compute_features(bars, chosen)


def _tell(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        table = Table(*rows[0])
        for row in rows:
            table.add_row(*(_cell(value) for value in row.values()))
        Console().print(table)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _end(what: str, wrong: Sequence[str], as_json: bool) -> None:
    from crucible.errors import DataError

    if wrong:
        names = ", ".join(dict.fromkeys(wrong))
        raise DataError(f"Audit failed for {names}: {what}.")
    if not as_json:
        click.echo(f"nothing found: {what}")
