"""Data for property tests, which cannot take function-scoped fixtures."""

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from crucible.recipe import Recipe, find_recipe


@cache
def bars_and_recipe() -> tuple[pa.Table, Recipe]:
    generator = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(generator.normal(0, 1e-3, 200)))
    opened = np.concatenate([[100.0], close[:-1]])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    table = pa.table(
        {
            "open_time": pa.array([start + i * timedelta(minutes=5) for i in range(200)], pa.timestamp("us", "UTC")),
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": generator.gamma(2.0, 5.0, 200),
        }
    )
    return table, find_recipe(Path(__file__).resolve().parents[1] / "recipes", "btc_usd_5min")
