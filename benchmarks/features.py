"""Time the one query over history and over the live warm-up, on a seeded random walk; prints JSON."""

import json
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from crucible.features.engine import compute_features, warmup_bars
from crucible.recipe import find_recipe


def main() -> None:
    """Measure every shipped recipe's feature set on 26,000 bars."""
    recipes = Path(__file__).resolve().parents[1] / "recipes"
    for name in ("btc_usd_5min", "btc_usd_1d", "btc_usd_8h"):
        recipe = find_recipe(recipes, name)
        interval = recipe.data.interval
        bars = _walk(26_000, interval)
        warm = warmup_bars(recipe)
        at = bars["open_time"][-1].as_py() + interval
        history = _seconds(lambda bars=bars, recipe=recipe: compute_features(bars, recipe), 3)
        tail = bars.slice(bars.num_rows - warm, warm)
        live = _seconds(lambda tail=tail, recipe=recipe, at=at: compute_features(tail, recipe, at=at), 15)
        print(
            json.dumps({"recipe": name, "warm_up_bars": warm, "history_s": round(history, 3), "live_s": round(live, 4)})
        )


def _walk(rows: int, interval: timedelta) -> pa.Table:
    generator = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(generator.normal(0, 1e-3, rows)))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = pa.array([start + i * interval for i in range(rows)], pa.timestamp("us", "UTC"))
    prices = {"open": close, "high": close * 1.001, "low": close * 0.999, "close": close}
    return pa.table({"open_time": times, **prices, "volume": generator.gamma(2.0, 5.0, rows)})


def _seconds(act: object, times: int) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        act()  # type: ignore[operator]
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


if __name__ == "__main__":
    sys.exit(main())
