"""How long the scorecard takes by the number of predictions; prints JSON."""

from __future__ import annotations

import json
import time

import numpy as np

from crucible.validation.scorecard import scorecard

SIZES = (1_000, 10_000, 100_000, 1_000_000)
REPEATS = 5


def seconds(rows: int) -> float:
    """Return the best of :data:`REPEATS` wall times for ``rows`` predictions."""
    generator = np.random.default_rng(0)
    y = generator.normal(size=rows)
    p = 0.1 * y + generator.normal(size=rows)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        scorecard(y, p)
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    seconds(100)  # the first call imports scipy
    print(json.dumps({"benchmark": "scorecard", "seconds": {str(rows): round(seconds(rows), 6) for rows in SIZES}}))
