"""Features: the window view and the library, against polars and the replaced kit; prints JSON.

``python -m benchmarks.features --json`` takes about three minutes. Each part runs in a process of its own, with a peak
memory of its own. Polars is run through ``uv run --with polars`` in another environment: it is no dependency, and where
it cannot be had the JSON says so. The kit's figures are those measured for it elsewhere, on a machine of that class;
they are given for orientation, and no ratio to them is computed here.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
MINUTE = timedelta(minutes=1)
HORIZON_BARS = 5
KIT = {"windows_500_days": "14.2 s, 5.3 GB", "windows_5_symbols": "72.8 s, 18.5 GB"}


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON (it always does)")
    parser.add_argument("--part", choices=sorted(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        found = PARTS[options.part]()
        found["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
        print(json.dumps(found))
        return
    result: dict[str, Any] = {"kit_measured_elsewhere": KIT}
    for part in PARTS:
        command = [sys.executable, "-m", "benchmarks.features", "--part", part]
        run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        result[part] = json.loads(run.stdout.splitlines()[-1])
    result["library_polars"] = _polars()
    print(json.dumps(result, indent=2))


def _imports() -> dict[str, Any]:
    """What a process with the stack loaded takes before any bar: the floor under every peak below."""
    from crucible.features import engine, window_view

    return {"modules": len(sys.modules), "loaded": [engine.__name__, window_view.__name__]}


def _view() -> dict[str, Any]:
    five = _resampled(500)
    view, seconds = _timed(lambda: _window_view(five))
    batch, first = _timed(lambda: view[1000:2000])
    return {"shape": view.shape, "seconds": seconds, "first_batch_seconds": first, "sum": float(batch.sum())}


def _dense() -> dict[str, Any]:
    five = _resampled(500)
    matrix, seconds = _timed(lambda: _window_view(five).dense())
    return {"shape": matrix.shape, "seconds": seconds, "dtype": str(matrix.dtype)}


def _view_of_five_symbols() -> dict[str, Any]:
    years = [_walk(365 * 288, seed, 5) for seed in range(5)]
    views, seconds = _timed(lambda: [_window_view(year) for year in years])
    return {"shape": [sum(len(view) for view in views), views[0].shape[1]], "seconds": seconds}


def _binned_five_symbols() -> dict[str, Any]:
    import lightgbm

    from crucible.features.window_view import as_sequence

    views = [_window_view(_walk(365 * 288, seed, 5)) for seed in range(5)]
    y = np.random.default_rng(0).normal(size=sum(len(view) for view in views))
    # bins are found on a sample, which LightGBM holds as doubles, twice: 200,000 rows by default
    parameters = {"max_bin": 63, "num_threads": 2, "verbosity": -1, "bin_construct_sample_cnt": 30_000}
    sequences = [as_sequence(view) for view in views]
    data, seconds = _timed(lambda: lightgbm.Dataset(sequences, y, params=parameters).construct())
    return {"rows": data.num_data(), "columns": data.num_feature(), "seconds": seconds}


def _library() -> dict[str, Any]:
    from crucible.features.engine import compute_plan
    from crucible.features.library import WIDE
    from crucible.features.plan import compile_plan

    plan = compile_plan(WIDE, HORIZON_BARS)
    bars = _walk(2_629_440, 0, 1)
    frame, seconds = _timed(lambda: compute_plan(bars, plan, MINUTE))
    _, again = _timed(lambda: compute_plan(bars, plan, MINUTE))
    tail = bars.slice(bars.num_rows - 1440 - plan.lookback)
    _, day = _timed(lambda: compute_plan(tail, plan, MINUTE))
    return {"features": len(frame.names), "rows": len(frame.times), "seconds": min(seconds, again),
            "one_new_day_seconds": day}  # fmt: skip


def _live() -> dict[str, Any]:
    from crucible.features.engine import compute_plan
    from crucible.features.library import WIDE
    from crucible.features.plan import compile_plan

    plan = compile_plan(WIDE, HORIZON_BARS)
    bars = _walk(20_000, 0, 1)
    history = compute_plan(bars, plan, MINUTE)
    taken, largest, masks = [], 0.0, 0
    scale = np.nanstd(history.values, axis=0)
    for row in np.random.default_rng(0).integers(plan.lookback, bars.num_rows, 500).tolist():
        tail = bars.slice(row + 1 - plan.lookback, plan.lookback)
        at = bars["open_time"][row].as_py() + MINUTE
        live, seconds = _timed(lambda tail=tail, at=at: compute_plan(tail, plan, MINUTE, at=at))
        taken.append(seconds)
        largest = max(largest, float((np.abs(live.values[0] - history.values[row]) / scale).max()))
        masks += int((np.isnan(live.values[0]) != np.isnan(history.values[row])).sum())
    warm = np.array(taken[20:]) * 1000
    return {"features": len(plan.names), "median_ms": round(float(np.median(warm)), 1),
            "p99_ms": round(float(np.quantile(warm, 0.99)), 1), "first_ms": round(taken[0] * 1000, 1),
            "largest_difference_in_standard_deviations": largest, "mask_differences": masks}  # fmt: skip


def _polars() -> dict[str, Any]:
    from crucible.features.library import WIDE
    from crucible.features.plan import compile_plan

    plan = compile_plan(WIDE, HORIZON_BARS)
    folder = Path(tempfile.mkdtemp(prefix="crucible-features-"))
    try:
        pq.write_table(_walk(2_629_440, 0, 1), folder / "bars.parquet")
        terms = {name: vars(term) for name, term in plan.terms.items()}
        (folder / "plan.json").write_text(json.dumps({"inner": plan.inner, "terms": terms, "outer": plan.outer}))
        uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
        side = ROOT / "benchmarks" / "sides" / "polars_features.py"
        arguments = [str(path) for path in (side, folder / "bars.parquet", folder / "plan.json")]
        command = [uv, "run", "--no-project", "--quiet", "--with", "polars", "python", *arguments]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            return {"not_run": run.stderr.strip().splitlines()[-1] if run.stderr.strip() else "uv failed"}
        found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
        return found
    except OSError as error:
        return {"not_run": str(error)}
    finally:
        shutil.rmtree(folder)


def _window_view(bars: pa.Table) -> Any:
    from crucible.features.window_view import WindowView

    return WindowView(bars, 5 * MINUTE, 288)


def _resampled(days: int) -> pa.Table:
    from crucible.market.resample import resample

    return resample(_walk(days * 1440, 0, 1), MINUTE, 5 * MINUTE).bars


def _walk(rows: int, seed: int, minutes: int) -> pa.Table:
    from benchmarks.bars import _walk as walk

    bars = walk(rows, seed)
    if minutes == 1:
        return bars
    micros = bars["open_time"][0].as_py().timestamp() * 1e6 + minutes * 60e6 * np.arange(rows)
    return bars.set_column(0, bars.schema.field(0), pa.array(micros.astype(np.int64)).cast(bars.schema.field(0).type))


def _timed(act: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    found = act()
    return found, round(time.perf_counter() - started, 4)


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "imports": _imports,
    "windows_view": _view,
    "windows_dense": _dense,
    "windows_view_5_symbols": _view_of_five_symbols,
    "windows_binned_5_symbols": _binned_five_symbols,
    "library": _library,
    "live": _live,
}


if __name__ == "__main__":
    main()
