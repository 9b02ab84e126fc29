"""How often the tests that decide reject what is true, and how soon a worse champion goes; prints JSON.

``python -m benchmarks.sizes [--runs 1500]`` takes about a minute. Two tests run on simulations whose truth is known:
the one behind the gate "knows more than zero", at 5 %, on overlapping returns of a random walk; and the
roll-back's, at 1 % over all looks, on differences of losses without and with a mean.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from crucible.monitor.rollback import FIRST_LOOK, decide
from crucible.validation.statistics.comparison import clark_west

ROWS = 12_096  # 42 independent blocks of the longest horizon
HORIZONS = {1: 24, 8: 8, 24: 240, 96: 96, 288: 288}
"""By horizon in bars, the look-back of the forecast: the last return of that length."""
LOOKS = 5


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1500, help="per horizon; twice as many for the roll-back")
    options = parser.parse_args()
    found = {
        "benchmark": "sizes",
        "runs": options.runs,
        "knows more than zero, percent at 5": {str(h): _skill(h, options.runs) for h in HORIZONS},
        "rolled back though no worse, percent at 1": {
            name: _taken_back(name, 0.0, 2 * options.runs)["percent"] for name in ("normal", "t5")
        },
        "rolled back when worse by so many standard deviations": {
            str(worse): _taken_back("normal", worse, 100) for worse in (1.0, 0.5, 0.25, 0.1)
        },
    }
    print(json.dumps(found, indent=2))


def _skill(horizon: int, runs: int) -> float:
    """Return the percentage of random walks in which the last return seems to know the next one."""
    generator, look_back = np.random.default_rng(horizon), HORIZONS[horizon]
    at, rejected = np.arange(look_back, look_back + ROWS), 0
    for _ in range(runs):
        path = np.concatenate([[0.0], np.cumsum(generator.normal(size=ROWS + horizon + look_back))])
        truth, forecast = path[at + horizon] - path[at], path[at] - path[at - look_back]
        rejected += clark_west(truth, forecast, np.ones(ROWS), overlap=horizon).p_value < 0.05
    return round(100 * rejected / runs, 1)


def _taken_back(kind: str, worse: float, runs: int) -> dict[str, float | None]:
    """Return how often the champion is taken back within five looks, in percent, and after how many epochs."""
    generator, epochs = np.random.default_rng(5), FIRST_LOOK * 2 ** (LOOKS - 1 if not worse else LOOKS + 3)
    after = []
    for _ in range(runs):
        drawn = generator.normal(size=epochs) if kind == "normal" else generator.standard_t(5, epochs)
        verdict = decide(worse + drawn + 10.0, np.full(epochs, 10.0))
        if verdict.back:
            after.append(verdict.epochs)
    return {
        "percent": round(100 * len(after) / runs, 2),
        "median epochs": float(np.median(after)) if after else None,
    }


if __name__ == "__main__":
    main()
