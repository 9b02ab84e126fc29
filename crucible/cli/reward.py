"""``crucible backtest-reward``: what a candidate would have earned on the network."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from crucible.validation.marginal import Estimate
    from crucible.validation.reward import Effect, RewardBacktest

_LOSSES = ("sqe", "abse", "huber", "logcosh", "bce", "poisson", "ztae", "zptae")
_VERSIONS = ("0.6", "0.8", "0.9", "0.10", "0.15", "0.16")


@click.command(name="backtest-reward")
@click.argument("recipe", required=False)
@click.option("--predictions", type=click.Path(path_type=Path), help="Parquet or CSV: time, prediction, actual.")
@click.option("--field", "recorded", type=click.Path(path_type=Path), help="Recorded inferences of other workers.")
@click.option("--workers", type=click.IntRange(min=2), default=32, show_default=True, help="Of a made-up field.")
@click.option("--skill", default=0.05, show_default=True, help="Mean correlation of its workers with the truth.")
@click.option("--spread", default=0.5, show_default=True, help="How far skills differ: from 0 to 1.")
@click.option("--correlation", default=0.5, show_default=True, help="What its workers' errors have in common: 0 to 1.")
@click.option(
    "--noise", default=0.05, show_default=True, help="Noise of a worker, in standard deviations of the truth."
)
@click.option("--bias", default=0.01, show_default=True, help="Constant error of a worker, likewise.")
@click.option("--capacity", type=click.IntRange(min=2), default=32, show_default=True, help="Size of the active set.")
@click.option("--reputers", type=click.IntRange(min=1), default=6, show_default=True, help="Honest, of equal stake.")
@click.option("--protocol", type=click.Choice(_VERSIONS), default="0.6", show_default=True, help="Rules of the chain.")
@click.option("--loss", type=click.Choice(_LOSSES), help="With --predictions; the recipe's, or sqe, by default.")
@click.option("--horizon", type=click.IntRange(min=1), help="In epochs, with --predictions; the recipe's, or 1.")
@click.option(
    "--effect-epochs", type=click.IntRange(min=1), default=20_000, show_default=True,
    help="Uptime, likeness and blending are tried on this many of the newest epochs.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; a number that does not exist is null.")
def backtest_reward(
    recipe: str | None,
    predictions: Path | None,
    recorded: Path | None,
    capacity: int,
    reputers: int,
    protocol: str,
    loss: str | None,
    horizon: int | None,
    effect_epochs: int,
    seed: int,
    as_json: bool,
    **made_up: Any,
) -> None:
    """Run out-of-sample predictions through the network's own mechanism, against a field of workers.

    RECIPE must have been evaluated; its outer windows are used. Or give a file of predictions, one row per epoch. The
    field is recorded (time, worker, inference; or a column per worker) or made up: the numbers of a made-up one are
    assumptions, so try several.

    Example: crucible backtest-reward btc_usd_5min --workers 40 --skill 0.03
    """
    from rich.console import Console
    from rich.progress import Progress

    from crucible import reward_stages
    from crucible.network.parameters import Parameters
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    if recipe is None and predictions is None:
        raise click.UsageError("name a recipe, or give --predictions FILE")
    if predictions is None and (loss or horizon):
        raise click.UsageError("--loss and --horizon go with --predictions; a recipe has its own")
    settings = Settings.load()
    known = find_recipe(settings.recipes, recipe) if recipe else None
    params = Parameters.of(protocol, max_top_inferers=capacity)
    if predictions is not None:
        candidate = reward_stages.candidate_of_file(predictions, known, loss, horizon)
    else:
        assert known is not None
        candidate = reward_stages.candidate_of_recipe(settings, known)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("epochs", total=None)
        found, _ = reward_stages.backtest_reward(
            candidate, recorded or reward_stages.FieldSettings(**made_up), params, reputers=reputers,
            effect_epochs=effect_epochs, seed=seed,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )  # fmt: skip
    if as_json:
        field = {"recorded": str(recorded)} if recorded else made_up
        report = {"candidate": candidate.name, "loss": candidate.loss, "field": field, "protocol": protocol}
        click.echo(json.dumps(_plain({**report, **asdict(found), "best_blend": found.best_blend.setting}), indent=2))
    else:
        _tables(candidate.name, found)


def _tables(name: str, found: RewardBacktest) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    value = found.value
    table = Table("", "mean", "95 %", title=f"{escape(name)} among {found.workers} workers, {value.epochs} epochs")
    table.columns[1].justify = table.columns[2].justify = "right"
    table.add_row("score: what the network's log10 loss would rise by without it", *_cells(value.score, "+.5f"))
    table.add_row("reward, in equal parts of the inferers' reward", *_cells(value.share, ".3f"))
    table.add_row("reward, in % of the topic's", *_cells(found.topic_share, ".3f", 100))
    table.add_row("moving average of the score", f"{found.score_ema:+.5f}", "")
    table.add_row("share of epochs in the active set", f"{value.active:.1%}", "")
    table.add_row("log10 loss: its own, and the network's", f"{found.own_loss:.4f}", f"{found.network_loss:.4f}")
    table.add_row("correlation of its errors with the field's", f"{found.likeness:+.3f}", "")
    effects = Table(
        "what if", "own log10 loss", "score", "active", "reward (equal parts)", "gained (95 %)",
        title=f"on the newest {found.effect_epochs} epochs",
    )  # fmt: skip
    for column in effects.columns[1:]:
        column.justify = "right"
    for effect in found.uptime:
        effects.add_row(f"uptime {effect.setting:.0%}", *_effect(effect))
    for effect in found.correlation:
        effects.add_row(f"errors correlated {effect.setting:.1f} with the field's", *_effect(effect))
    for effect in found.blend:
        effects.add_row(_blend(effect.setting), *_effect(effect))
    console = Console()
    console.print(table)
    console.print(effects)
    console.print(f"best response: {_blend(found.best_blend.setting)}")


def _blend(weight: float) -> str:
    if weight == 0:
        return "as it is"
    return f"{abs(weight):.0%} {'towards the field' if weight > 0 else 'away from the field'}"


def _cells(estimate: Estimate, form: str, factor: float = 1.0) -> tuple[str, str]:
    low, high = estimate.low * factor, estimate.high * factor
    return f"{estimate.mean * factor:{form}}", f"{low:{form}} to {high:{form}}"


def _effect(effect: Effect) -> tuple[str, ...]:
    gained = effect.gained
    interval = f"{gained.mean:+.3f} ({gained.low:+.3f} to {gained.high:+.3f})" if gained.low < gained.high else ""
    return (
        f"{effect.own_loss:.4f}", f"{effect.score:+.5f}", f"{effect.active:.1%}", f"{effect.share:.3f}", interval,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    """Return ``value`` with null for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
