"""The laboratory on real bars: every symbol and horizon, with its verdict; prints a Markdown table.

Reads the bar files of ``CRUCIBLE_SHARED`` (default ``../shared``).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from crucible.duration import format_duration
from crucible.features.dataset import build_dataset
from crucible.market.files import read_bar_file
from crucible.recipe import Recipe
from crucible.validation.evaluation import describe
from crucible.validation.fits import Crew
from crucible.validation.laboratory import examine
from crucible.validation.statistics.hac import mean_statistic
from crucible.validation.suites import suite_recipe

HOUR, FIVE = timedelta(hours=1), timedelta(minutes=5)
CASES = [
    ("BTCUSDT", FIVE, (FIVE, HOUR, 8 * HOUR, 24 * HOUR)),
    *((symbol, HOUR, (HOUR, 8 * HOUR, 24 * HOUR)) for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "NEARUSDT")),
]
ROWS = 30_000


def main() -> None:
    """Examine every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    options = parser.parse_args()
    shared = Path(os.environ.get("CRUCIBLE_SHARED", "../shared"))
    cases = [(str(shared), symbol, bar, horizon) for symbol, bar, horizons in CASES for horizon in horizons]
    found = []
    for row in Crew(os.cpu_count() or 1).run(_examine, cases):
        found.append(row)
        print(f"\r{len(found)} of {len(cases)} ", end="", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    keys = [key for key in found[0] if key != "seconds"]
    print("| " + " | ".join(keys) + " |\n|" + "---|" * len(keys))
    for row in found:
        print("| " + " | ".join(str(row[key]) for key in keys) + " |")


def _examine(shared: str, symbol: str, bar: timedelta, horizon: timedelta) -> dict[str, Any]:
    started = time.perf_counter()
    path = Path(shared) / "data" / f"{symbol}_{format_duration(bar)}_binance.parquet"
    bars = read_bar_file(path, symbol, bar, allow_gaps=True)
    bars = bars.slice(max(bars.num_rows - ROWS, 0))
    dataset = build_dataset(bars, recipe := _recipe(horizon // bar, bar, bars.num_rows))
    examined = examine(dataset, recipe)
    verdict, oos, scale = examined.verdict, examined.outer.oos, examined.outer.scale
    told = describe(recipe, oos, scale, verdict)
    base, own = told.losses["zero"], told.losses[verdict.candidate]
    forecast = oos.y_pred[verdict.candidate]
    gain = mean_statistic(oos.y_true**2 - (oos.y_true - forecast) ** 2, overlap=recipe.horizon_bars)
    saved = 100 * (1 - own / base)
    gates = {gate.name: gate for gate in verdict.gates}
    direction = gates["direction"]
    return {
        "symbol": symbol,
        "bars": format_duration(bar),
        "horizon": format_duration(horizon),
        "outer rows": len(oos.times),
        "loss saved (95 %)": f"{saved:+.2f} % ({100 * gain.low / base:+.2f} to {100 * gain.high / base:+.2f})",
        "direction (95 %)": f"{direction.value:.1%} ({direction.low:.1%} to {direction.high:.1%})",
        "p": f"{gates['knows more than zero'].value:.3f}",
        "verdict": "promoted" if verdict.passed else "refused",
        "stopped by": "; ".join(gate.name for gate in verdict.gates if not gate.passed) or "-",
        "seconds": round(time.perf_counter() - started, 1),
    }


def _recipe(horizon_bars: int, bar: timedelta, rows: int) -> Recipe:
    values = suite_recipe(horizon_bars, rows - 100).model_dump(mode="json")
    scale = bar // FIVE
    text = format_duration(bar)
    values["topic"] |= {"horizon": format_duration(horizon_bars * bar), "cadence": text}
    values["data"] |= {"stored": text, "interval": text, "history": format_duration(rows * bar)}
    for key in ("test", "min_train", "deployment"):
        values["validation"][key] = format_duration(_parse(values["validation"][key]) * scale)
    values["validation"]["embargo"] = text
    values["features"] = {"set": "core", "version": 2}
    values["models"] = {
        "candidates": ["zero", "last_value", "drift", "ridge", "har", "lightgbm", "catboost", "mean", "weighted"],
        "ridge": {"alpha": 3000.0},
        "har": {"alpha": 3000.0},
        "lightgbm": {"trees": 80, "learning_rate": 0.05, "leaves": 15, "min_leaf_rows": 200, "feature_fraction": 0.6,
                     "bins": 63},
        "catboost": {"trees": 80, "learning_rate": 0.05, "depth": 4, "borders": 32},
    }  # fmt: skip
    values["search"] |= {"trials": 8, "folds": 3, "rounds": 2}
    values["gates"] |= {"bootstrap": 2000}
    return Recipe.model_validate(values)


def _parse(text: str) -> timedelta:
    from crucible.duration import parse_duration

    return parse_duration(text)


if __name__ == "__main__":
    main()
