"""The worker beside the SDK's own, on one localnet: latency, rejections, restarts, memory, a soak; prints JSON.

``python -m benchmarks.worker --json`` takes about four minutes; ``--full`` soaks for an hour. Both workers run against
the same node at the same time, and the node itself takes the times: from the block that opens a window to the moment at
which it has accepted the broadcast. Ours computes the 67 features of the set ``wide`` and asks a LightGBM model; the
SDK's is handed a constant, which is the least that it could do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.sides.worker_home import Home

ROOT = Path(__file__).resolve().parents[1]
SDK_MEASURED_ELSEWHERE = {"rejection_noticed_seconds": 96.1, "window_to_result_seconds": 2.03}
PARTS = ("imports", "latency", "rejection", "restart", "soak")


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON (it always does)")
    parser.add_argument("--full", action="store_true", help="soak for an hour of real time")
    parser.add_argument("--part", choices=PARTS, action="append", help="measure these only")
    parser.add_argument("--epochs", type=int, default=20, help="windows of the latency part")
    options = parser.parse_args()
    result: dict[str, Any] = {"sdk_measured_elsewhere": SDK_MEASURED_ELSEWHERE}
    for part in options.part or PARTS:
        match part:
            case "imports":
                result[part] = _imports()
            case "latency":
                result[part] = _latency(options.epochs)
            case "rejection":
                result[part] = _rejection()
            case "restart":
                result[part] = _restart()
            case "soak":
                result[part] = _soak(3600.0 if options.full else 60.0)
    print(json.dumps(result, indent=2))


def _imports() -> dict[str, Any]:
    """Seconds and resident memory after importing what the two processes of a worker import; best of three."""
    found = {}
    for name, module in (("signs", "crucible.worker.wallet_worker"), ("predicts", "crucible.worker.model_process")):
        program = (
            "import time; t = time.perf_counter(); import " + module + "; s = time.perf_counter() - t; "
            "import psutil; print(s, psutil.Process().memory_info().rss / 2**20)"
        )
        runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
                for _ in range(3)]  # fmt: skip
        seconds, memory = min(tuple(map(float, run.stdout.split())) for run in runs)
        found[name] = {"import_seconds": round(seconds, 2), "resident_mb": round(memory)}
    return found


def _latency(epochs: int) -> dict[str, Any]:
    with Home(block_seconds=0.5) as home:
        worker = home.worker()
        sdk = home.sdk(epochs + 2)
        home.wait(lambda: len(home.sent(worker.address)) > epochs and len(home.sent(sdk.address)) > 2, 300)
        ours, theirs = home.latencies(worker.address)[1:], home.latencies(sdk.address)[1:]
        memory = worker.memory()
        missed = [row.reason_code for row in home.rows() if row.state in ("missed", "rejected")]
        return {
            "block_seconds": 0.5,
            "features": home.features,
            "ours": _summary(ours),
            "sdk": _summary(theirs),
            "resident_mb": memory,
            "missed_after_the_first": missed,
        }


def _rejection() -> dict[str, Any]:
    """Seconds from a refused broadcast to the next thing that the worker does about it."""
    with Home(block_seconds=0.5) as home:
        worker = home.worker()
        home.wait(lambda: len(home.sent(worker.address)) > 1, 60)
        before = len(home.attempts(worker.address))
        home.refuse_next(worker.address)
        home.wait(lambda: len(home.attempts(worker.address)) > before + 1, 60)
        refused, again = home.attempts(worker.address)[before : before + 2]
        return {"refused_to_sent_again_seconds": round(again - refused, 3)}


def _restart() -> dict[str, Any]:
    """Seconds from starting a killed worker's successor to its report that it serves, and to its next submission."""
    with Home(block_seconds=0.5) as home:
        worker = home.worker()
        home.wait(lambda: len(home.sent(worker.address)) > 1, 60)
        found, used = [], []
        for _ in range(3):
            worker.kill()
            started = time.monotonic()
            worker = home.worker()
            found.append(time.monotonic() - started)
            used.append(worker.processor())  # says what a busy machine hides
        return {
            "ready_seconds": [round(seconds, 2) for seconds in found],
            "processor_seconds": [round(seconds, 2) for seconds in used],
        }


def _soak(seconds: float) -> dict[str, Any]:
    """Ten topics, five wallets, one-second blocks: misses, memory and processor time after the warm-up."""
    with Home(block_seconds=1.0, topics=10, wallets=5, candidate="zero") as home:
        workers = home.workers()
        home.wait(lambda: all(len(home.sent(worker.address)) >= home.topics for worker in workers), 240)
        start, height = time.monotonic(), home.node.core.height
        before, used = [worker.memory() for worker in workers], sum(worker.processor() for worker in workers)
        time.sleep(seconds)
        after = [worker.memory() for worker in workers]
        spent = sum(worker.processor() for worker in workers) - used
        lasted = time.monotonic() - start
        rows = [row for row in home.rows() if row.nonce >= height]
        states: dict[str, int] = {}
        for row in rows:
            states[row.state] = states.get(row.state, 0) + 1
        bad = [row for row in rows if row.state in ("missed", "rejected")]
        total = [sum(item["together"] for item in memory) for memory in (before, after)]
        return {
            "topics": 10, "wallets": 5, "seconds": round(lasted), "states": states,
            "missed": [{"nonce": row.nonce, "reason": row.reason_code} for row in bad][:10],
            "missed_count": len(bad),
            "memory_mb": {"before": round(total[0]), "after": round(total[1])},
            "memory_growth": round(total[1] / total[0] - 1, 4),
            "cores": round(spent / lasted, 2),
            "window_to_broadcast": _summary(
                [seconds for worker in workers for seconds in home.latencies(worker.address, since=height)]
            ),
        }  # fmt: skip


def _summary(seconds: list[float]) -> dict[str, Any]:
    ordered = sorted(seconds)
    if not ordered:
        return {"windows": 0}
    return {
        "windows": len(ordered),
        "median_seconds": round(median(ordered), 3),
        "p99_seconds": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 3),
    }


if __name__ == "__main__":
    main()
