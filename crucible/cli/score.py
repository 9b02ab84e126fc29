"""``crucible score``: the seven-metric Forge scorecard of a file of predictions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--json", "as_json", is_flag=True, help='Print JSON; infinities and NaN become the strings "Infinity", "NaN".'
)
@click.option(
    "--epoch-minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Length of an epoch, for the annualised return.",
)
@click.option(
    "--expected-epochs",
    type=click.IntRange(min=1),
    help="How many predictions there should be, for temporal coverage.",
)
def score(file: Path, as_json: bool, epoch_minutes: float, expected_epochs: int | None) -> None:
    """Grade FILE (Parquet or CSV with the columns y_true and y_pred, log returns).

    The grade is the network kit's own and is not calibrated; `crucible evaluate` gives the verdict that is.

    Example: crucible score predictions.parquet --json
    """
    from crucible.validation.predictions import read_score_file
    from crucible.validation.scorecard import PRIMARY, scorecard

    card = scorecard(*read_score_file(file), epoch_minutes=epoch_minutes, expected_epochs=expected_epochs)
    if as_json:
        values = {
            "metrics": {name: _json_number(value) for name, value in card.metrics.items()},
            "passed": card.passed,
            "score": card.score,
            "grade": card.grade,
            "num_passed": card.num_passed,
            "num_primary_metrics": len(PRIMARY),
            "temporal_coverage_pass": card.temporal_coverage_pass,
        }
        click.echo(json.dumps(values, indent=2, allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "metric", "value", "passes when", "passed", title=f"grade {card.grade} ({card.num_passed} of {len(PRIMARY)})"
    )
    for name, (flag, _, rule) in PRIMARY.items():
        table.add_row(name, f"{card.metrics[name]:.6g}", rule, "yes" if card.passed[flag] else "no")
    for name in sorted(set(card.metrics) - set(PRIMARY)):
        table.add_row(name, f"{card.metrics[name]:.6g}", "", "")
    Console().print(table)


def _json_number(value: float) -> float | str:
    if isinstance(value, int) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
