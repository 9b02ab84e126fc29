"""How often the laboratory promotes noise, and how often skill; prints JSON, and draws the curve for the docs."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crucible.validation.statistics.precision import exact
from crucible.validation.suites import Judged, null_markets, power_markets, run_suite, summary

CORRELATIONS = (0.02, 0.03, 0.05, 0.07, 0.10)
HORIZONS = (1, 8, 24, 288)


def main() -> None:
    """Run the suites."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON (it always does)")
    parser.add_argument("--markets", type=int, default=300, help="per suite; the curve takes a third of them per point")
    parser.add_argument("--seed", type=int, default=5, help="of the markets")
    parser.add_argument("--plot", type=Path, help="where to draw the power curve (PNG)")
    options = parser.parse_args()
    null = run_suite(list(null_markets(options.markets, options.seed)), progress=_tell("null"))
    found: dict[str, Any] = {"null": summary(null), "null_by_horizon": {}}
    for horizon in HORIZONS:
        part = [item for item in null if item.market.horizon_bars == horizon]
        found["null_by_horizon"][horizon] = {
            key: summary(part)[key] for key in ("markets", "promoted", "rejects_at_5_percent")
        }
    found["power"] = {}
    for correlation in CORRELATIONS:
        count = options.markets if correlation in (0.05, 0.10) else options.markets // 3
        judged = run_suite(list(power_markets(count, correlation, options.seed)), progress=_tell(f"{correlation:g}"))
        found["power"][f"{correlation:g}"] = summary(judged)
    # the same correlation in a signal that lasts longer is worth fewer independent events
    slow = [replace(market, half_life=4.0) for market in power_markets(options.markets // 3, 0.10, options.seed)]
    found["power_half_life_4_bars"] = {"0.1": summary(run_suite(slow, progress=_tell("slow")))}
    if options.plot:
        _draw(found, null, options.plot)
    print(json.dumps(found, indent=2))


def _tell(name: str) -> Any:
    return lambda done, total: print(f"\r{name}: {done} of {total} ", end="", file=sys.stderr, flush=True)


def _draw(found: dict[str, Any], null: list[Judged], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    points = {0.0: found["null"], **{float(key): value for key, value in found["power"].items()}}
    xs = sorted(points)
    shares = np.array([points[x]["share"] for x in xs])
    bounds = np.array([exact(points[x]["promoted"], points[x]["markets"]) for x in xs])
    axes.fill_between(xs, bounds[:, 0], bounds[:, 1], color="#0b6bcb", alpha=0.15, linewidth=0)
    axes.plot(xs, shares, color="#0b6bcb", marker="o", markersize=4)
    for x, share in zip(xs, shares, strict=True):
        axes.annotate(f"{share:.0%}" if share > 0.02 else f"{share:.1%}", (x, share), textcoords="offset points",
                      xytext=(6, -12), fontsize=8, color="#1f2933")  # fmt: skip
    axes.set_xlabel("planted correlation of forecast and 8-bar return, 20,000 bars (0: noise, horizons 1 to 288 bars)")
    axes.set_ylabel("promoted")
    axes.set_ylim(-0.02, 1.05)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{len(null)} noise markets and planted signals through the whole laboratory", fontsize=10)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
