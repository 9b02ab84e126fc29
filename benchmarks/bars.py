"""The bar store against pandas with one Parquet file per day, and against one file rewritten per bar; prints JSON.

``python -m benchmarks.bars --json [--years 5] [--symbols 10]`` takes about two minutes and 1 GB below the temporary
folder. All sides see the same seeded one-minute bars, in one run. The two baselines are the layouts that people have:
(a) a pandas frame per day, and (b) the replaced kit's, which reads, extends and rewrites the day's file for each bar.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from crucible.market.bars import BAR_SCHEMA
from crucible.market.resample import resample
from crucible.market.store import BarStore, Series

if TYPE_CHECKING:
    import pandas as pd

MINUTE = timedelta(minutes=1)
START = datetime(2021, 1, 1, tzinfo=UTC)
DAY = 1440


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON (it always does)")
    parser.add_argument("--years", type=float, default=5.0)
    parser.add_argument("--symbols", type=int, default=10)
    parser.add_argument("--part", choices=("resample", "latest"), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps({"resample": _resample_all, "latest": _latest}[options.part](options.root)))
        return
    folder = Path(tempfile.mkdtemp(prefix="crucible-bars-"))
    try:
        print(json.dumps(_measure(folder, int(options.years * 365.25) * DAY, options.symbols), indent=2))
    finally:
        shutil.rmtree(folder)


def _measure(folder: Path, rows: int, symbols: int) -> dict[str, Any]:
    store = BarStore(folder / "store")
    series = [Series("binance", f"S{index}USDT", MINUTE) for index in range(symbols)]
    first = _walk(rows, 0)
    million = first.slice(0, 1_000_000)
    frame = million.to_pandas()
    result: dict[str, Any] = {"rows_per_symbol": rows, "symbols": symbols, "cores": os.cpu_count()}

    ours = _seconds(lambda: BarStore(folder / "million").write(series[0], million))
    daily = _seconds(lambda: _write_daily(folder / "daily", frame))
    per_bar = _seconds(lambda: _write_per_bar(folder / "per_bar", frame.head(400)))
    result["write_1m"] = {
        "ours_bars_per_s": round(1e6 / ours), "daily_bars_per_s": round(1e6 / daily),
        "per_bar_bars_per_s": round(400 / per_bar), "bar": ">= 500,000 bars/s",
    }  # fmt: skip

    for index, item in enumerate(series):
        # the last day is kept back, to be appended
        store.write(item, (first if index == 0 else _walk(rows, index)).slice(0, rows - DAY))
    whole = first.to_pandas()
    _write_daily(folder / "daily_years", whole)
    result["read_one_symbol"] = {
        "bars": rows - DAY,
        "ours_s": _best(lambda: store.read(series[0])),
        "daily_s": _best(lambda: _read_daily(folder / "daily_years"), 1),
        "bar": "<= 0.6 s",
    }
    result["resample_to_5m"] = {
        **_part("resample", store.root),
        "daily_one_symbol_s": _best(lambda: _resample_daily(folder / "daily_years"), 1),
        "bar": "<= 6 s and <= 2 GB",
    }
    tails = [_walk(rows, index).slice(rows - DAY) for index in range(symbols)]
    days = [tail.to_pandas() for tail in tails]
    appended = _seconds(lambda: [store.write(item, tail) for item, tail in zip(series, tails, strict=True)])
    result["append_a_day"] = {
        "ours_s": round(appended, 3),
        "daily_s": round(_seconds(lambda: [_write_daily(folder / "append", day) for day in days]), 3),
        "per_bar_s": round(_seconds(lambda: _write_per_bar(folder / "append_bar", days[0].head(200))) * DAY / 200, 2)
        * symbols,
        "bar": "<= 0.5 s",
    }
    again = _seconds(lambda: [store.write(item, tail) for item, tail in zip(series, tails, strict=True)])
    result["append_the_same_day_again_s"] = round(again, 3)
    result["latest_bar"] = {**_part("latest", store.root), "bar": "<= 20 ms"}
    return result


def _part(name: str, root: Path) -> dict[str, Any]:
    """Run a part in a process of its own: cold, and with a peak memory of its own."""
    command = [sys.executable, "-m", "benchmarks.bars", "--part", name, "--root", str(root)]
    run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def _resample_all(root: Path) -> dict[str, Any]:
    store = BarStore(root)
    series = store.series()
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda item: resample(store.read(item), MINUTE, 5 * MINUTE).bars.num_rows, series))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"symbols": len(series), "bars_made": sum(made), "ours_s": round(seconds, 2), "ours_peak_gb": round(peak, 2)}


def _latest(root: Path) -> dict[str, Any]:
    store = BarStore(root)
    item = Series("binance", "S0USDT", MINUTE)
    started = time.perf_counter()
    newest = store.latest(item)
    seconds = time.perf_counter() - started
    return {"ours_ms": round(1000 * seconds, 1), "open_time": str(newest["open_time"][0].as_py())}


def _write_daily(folder: Path, frame: pd.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for day, part in frame.groupby(frame["open_time"].dt.date):
        part.to_parquet(folder / f"{day}.parquet", compression="zstd", index=False)


def _write_per_bar(folder: Path, frame: pd.DataFrame) -> None:
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    for index in range(len(frame)):
        bar = frame.iloc[index : index + 1]
        path = folder / f"{bar['open_time'].iloc[0].date()}.parquet"
        both = pd.concat([pd.read_parquet(path), bar]) if path.exists() else bar
        both.drop_duplicates("open_time", keep="last").sort_values("open_time").to_parquet(path, index=False)


def _read_daily(folder: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])


def _resample_daily(folder: Path) -> pd.DataFrame:
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    return _read_daily(folder).set_index("open_time").resample("5min").agg(rules).dropna()


def _walk(rows: int, seed: int) -> pa.Table:
    generator = np.random.default_rng(seed)
    close = np.round(30_000 * np.exp(np.cumsum(generator.normal(0, 3e-4, rows))), 2)
    opened = np.concatenate([[30_000.0], close[:-1]])
    high = np.round(np.maximum(opened, close) * np.exp(np.abs(generator.normal(0, 1e-4, rows))) + 0.01, 2)
    low = np.round(np.minimum(opened, close) * np.exp(-np.abs(generator.normal(0, 1e-4, rows))) - 0.01, 2)
    times = pa.array(int(START.timestamp()) * 1_000_000 + 60_000_000 * np.arange(rows)).cast(BAR_SCHEMA.field(0).type)
    volume = np.round(generator.gamma(2.0, 3.0, rows), 5)
    return pa.table([times, opened, high, low, close, volume], schema=BAR_SCHEMA)


def _seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _best(act: Callable[[], object], times: int = 3) -> float:
    return round(min(_seconds(act) for _ in range(times)), 3)


if __name__ == "__main__":
    main()
