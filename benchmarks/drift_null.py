"""From which level drift is drift: false alarms on markets without any break, and delays after planted ones; JSON.

``python -m benchmarks.drift_null --days 10000`` takes some minutes. Each market has 60 days to learn from and 60 in
which nothing happens; four checks a day. Printed per kind: the level that gives one separate alarm in 10,000 days (by
the exponential tail that the most extreme checks follow), and how many alarms there were at the levels in
``crucible/monitor/levels.py``. Then breaks are planted, and their delays are printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from crucible.features.dataset import build_dataset
from crucible.monitor.cusum import cumulate
from crucible.monitor.drift import Reference
from crucible.monitor.levels import LEVELS
from crucible.validation.suites import Market, make_bars, suite_recipe

DAY = 288  # bars of five minutes
TRAIN, TEST = 60, 60
CHECKS = 4
ONE_IN = 10_000
SEASONS = ("hour_sin", "hour_cos")
KINDS = ("walk", "garch", "regimes")
BREAKS = {"volatility doubles": 2.0, "volatility triples": 3.0, "volatility halves": 0.5, "signal turns": 1.0}


@dataclass(frozen=True)
class Days:
    """What a market's test days gave: per check the smallest adjusted p-value of each kind, and the sum's path."""

    p_values: dict[str, np.ndarray]
    path: np.ndarray


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON (it always does)")
    parser.add_argument("--days", type=int, default=10_000, help="days without a break, over all markets")
    parser.add_argument("--breaks", type=int, default=30, help="markets per planted break")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    markets = max(options.days // TEST, 1)
    null = []
    for index in range(markets):
        null.append(watch(null_market(index, options.seed)))
        print(f"\rnull {index + 1} of {markets} ", end="", file=sys.stderr, flush=True)
    print(json.dumps({"null": null_summary(null), "breaks": planted(options.breaks, options.seed)}, indent=2))


def null_market(index: int, seed: int) -> dict[str, np.ndarray]:
    """Return the columns of a market in which nothing breaks; all kinds in turn."""
    return columns(Market(KINDS[index % 3], 1, 0.0, 1000 * seed + index, (TRAIN + TEST) * DAY + 200))


def columns(market: Market, broken: str = "", skill: float = 0.16) -> dict[str, np.ndarray]:
    """Return features, a prediction, its residual and its loss less the network's, bar by bar.

    The prediction is a fixed mix of the features, and the network's is another; with ``signal turns`` the prediction
    has ``skill`` until the test days begin, and the opposite from then on.
    """
    recipe = suite_recipe(1, market.bars)
    bars = make_bars(market)
    if BREAKS.get(broken, 1.0) != 1.0:
        bars = _scaled(bars, BREAKS[broken])
    data = build_dataset(bars, recipe)
    rows = slice(len(data.y) - (TRAIN + TEST) * DAY, None)
    x, y = data.x[rows], data.y[rows]
    # the level of volatility before each row, so that forecasts are of the size that forecasts have
    generator = np.random.default_rng(market.seed)
    z = np.nan_to_num((x - np.nanmean(x[: TRAIN * DAY], axis=0)) / np.nanstd(x[: TRAIN * DAY], axis=0))
    mine, theirs = (0.05 * y[: TRAIN * DAY].std() * z @ _direction(generator, z.shape[1]) for _ in range(2))
    if broken == "signal turns":
        sign = np.where(np.arange(len(y)) < TRAIN * DAY, 1.0, -1.0)
        noise = generator.normal(size=len(y)) * y[: TRAIN * DAY].std()
        mine = skill * (skill * sign * y + np.sqrt(1 - skill**2) * noise)
        theirs = np.zeros(len(y))
    named = {name: column for name, column in zip(data.names, x.T, strict=True) if name not in SEASONS}
    return {**named, "prediction": mine, "residual": y - mine, "loss": (y - mine) ** 2 - (y - theirs) ** 2}


def watch(found: dict[str, np.ndarray]) -> Days:
    """Check the test days four times each, as the drift monitor does: a window of one day against the training days."""
    groups = {
        "features": [name for name in found if name not in ("prediction", "residual", "loss")],
        "predictions": ["prediction"],
        "residuals": ["residual"],
    }
    p_values = {}
    for kind, names in groups.items():
        reference = Reference({name: found[name][: TRAIN * DAY] for name in names}, DAY)
        ends = range(TRAIN * DAY + DAY, (TRAIN + TEST) * DAY + 1, DAY // CHECKS)
        smallest = []
        for end in ends:
            judged = reference.judge({name: found[name][end - DAY : end] for name in names}, kind)
            smallest.append(min(item.adjusted for item in judged))
        p_values[kind] = np.array(smallest)
    loss = found["loss"]
    return Days(p_values, cumulate(loss[: TRAIN * DAY], loss[TRAIN * DAY :]).path)


def null_summary(null: list[Days]) -> dict[str, Any]:
    """Return per kind the level for one alarm in :data:`ONE_IN` days, and the alarms at the level in use."""
    days = len(null) * TEST
    found: dict[str, Any] = {"days": days}
    for kind in ("features", "predictions", "residuals"):
        # how many separate alarms a level gives is how many months' smallest p-values are below it
        extremes = np.sort(np.concatenate([_minima(-np.log(item.p_values[kind]), CHECKS) for item in null]))
        found[kind] = {
            "level_one_in_10000_days": float(np.exp(-tail(extremes, len(extremes) * 5 / ONE_IN))),
            "in_use": LEVELS[kind].value,
            "alarms": sum(separate(item.p_values[kind] < LEVELS[kind].value) for item in null),
            "smallest": float(np.exp(-extremes[-1])),
        }
    heights = np.sort(np.concatenate([_minima(item.path, DAY) for item in null]))
    found["loss"] = {
        "level_one_in_10000_days": tail(heights, len(heights) * 5 / ONE_IN),
        "in_use": LEVELS["loss"].value,
        # a sum that wavers about the level is one alarm
        "alarms": int((heights > LEVELS["loss"].value).sum()),
        "largest": float(heights[-1]),
    }
    return found


def planted(markets: int, seed: int) -> dict[str, Any]:
    """Return how often, and after how many days, each planted break is noticed by any of the four."""
    found: dict[str, Any] = {}
    for broken in BREAKS:
        delays, by = [], dict.fromkeys(LEVELS, 0)
        for index in range(markets):
            market = Market(KINDS[index % 3], 1, 0.0, 77_000 * seed + index, (TRAIN + TEST) * DAY + 200)
            days = watch(columns(market, broken))
            first = {kind: _first(p < LEVELS[kind].value, CHECKS, 1.0) for kind, p in days.p_values.items()}
            first["loss"] = _first(days.path > LEVELS["loss"].value, DAY, 0.0)
            for kind, delay in first.items():
                by[kind] += delay <= 2.0
            delays.append(min(first.values()))
        found[broken] = {
            "markets": markets,
            "within_2_days": int(sum(delay <= 2.0 for delay in delays)),
            "median_days": round(float(np.median(delays)), 2),
            "noticed_by": by,
            "by_market": {kind: sum(d <= 2.0 for d in delays[at::3]) for at, kind in enumerate(KINDS)},
        }
        print(f"\r{broken}: done ", end="", file=sys.stderr, flush=True)
    return found


def separate(alarm: np.ndarray) -> int:
    """Return how many runs of consecutive alarms there are."""
    return int(alarm[:1].sum() + (alarm[1:] & ~alarm[:-1]).sum())


def _minima(extreme: np.ndarray, per_day: int) -> np.ndarray:
    """Return the largest value of every five days: neighbours within these are one event."""
    width = 5 * per_day
    whole = len(extreme) // width * width
    return extreme[:whole].reshape(-1, width).max(axis=1)


def tail(ordered: np.ndarray, wanted: float) -> float:
    """Return the height that ``wanted`` of these maxima would exceed, by the exponential tail of the largest 5 %."""
    count = max(len(ordered) // 20, 10)
    start = float(ordered[-count - 1])
    mean = float((ordered[-count:] - start).mean())
    return start + mean * float(np.log(count / wanted))


def _first(alarm: np.ndarray, per_day: int, begins: float) -> float:
    hits = np.flatnonzero(alarm)
    return begins + float(hits[0]) / per_day if len(hits) else np.inf


def _direction(generator: np.random.Generator, size: int) -> np.ndarray:
    raw = generator.normal(size=size)
    return raw / np.linalg.norm(raw)


def _scaled(bars: Any, factor: float) -> Any:
    """Return bars whose returns are ``factor`` times as large from the first test day on."""
    import pyarrow as pa

    at = bars.num_rows - TEST * DAY
    close = bars["close"].to_numpy()
    before = np.concatenate([close[:1], close[:-1]])
    returns = np.log(close / before) * np.where(np.arange(len(close)) < at, 1.0, factor)
    new = close[0] * np.exp(np.cumsum(returns))
    opened = np.concatenate([new[:1], new[:-1]])
    stretch = np.where(np.arange(len(close)) < at, 1.0, factor)
    top = np.maximum(before, close)
    low = np.minimum(before, close)
    high = np.maximum(opened, new) * (bars["high"].to_numpy() / top) ** stretch
    deep = np.minimum(opened, new) * (bars["low"].to_numpy() / low) ** stretch
    values = {"open": opened, "high": high, "low": deep, "close": new}
    return pa.table({name: values.get(name, bars[name]) for name in bars.column_names}, schema=bars.schema)


if __name__ == "__main__":
    main()
