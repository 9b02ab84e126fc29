"""How long ``crucible up`` takes to a usable Dagster page, in a home of its own on free ports; prints JSON.

*Usable* is: the page answers, and its GraphQL says that the workspace is loaded. The first start makes the home
(``new``), the following ones find it (``warm``). Processor seconds are of all processes together until everything
answered; on a shared machine they say more than the wall's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from crucible.errors import ProcessError
from crucible.stack.dagster_api import DagsterApi

BAR_SECONDS = 25.0
_MOST_SECONDS = 300.0
_URL = re.compile(r"^(Dagster|MLflow|dashboard)\s+(http://\S+)")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON (it always does)")
    parser.add_argument("--repeats", type=int, default=2, help="warm starts")
    parser.add_argument("--home", type=Path, default=None, help="a home that is there already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crucible-up-") as folder:
        home = options.home or Path(folder)
        runs = [_start(home) for _ in range(1 + options.repeats)]
    warm = runs[1:] or runs
    best = min(run["dagster"] for run in warm)
    print(
        json.dumps(
            {"cores": os.cpu_count(), "load": os.getloadavg()[0], "bar_seconds": BAR_SECONDS, "new": runs[0],
             "warm": warm, "within_bar": best <= BAR_SECONDS},
            indent=2,
        )
    )  # fmt: skip


def _start(home: Path) -> dict[str, Any]:
    """Start everything, return seconds until each part answered, and end everything."""
    ports = ("--dagster-port", "0", "--mlflow-port", "0", "--dashboard-port", "0")
    command = [sys.executable, "-m", "crucible", "up", "--home", str(home), *ports]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found: dict[str, float] = {}
    waiting: list[threading.Thread] = []
    lines = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            found[f"said_{line.split()[0].lower()}"] = round(time.monotonic() - began, 2)
            match = _URL.match(line)
            if match:
                arguments = (match[1].lower(), match[2], began, found)
                waiting.append(threading.Thread(target=_wait, args=arguments, daemon=True))
                waiting[-1].start()
            if line.startswith("Ctrl-C"):
                break
        for thread in waiting:
            thread.join(timeout=_MOST_SECONDS)
        if not {"dagster", "mlflow", "dashboard"} <= found.keys():
            raise SystemExit(f"crucible up did not come up:\n{''.join(lines)}")
        found["processor_seconds"] = round(_used(process.pid), 1)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    found["all"] = max(found[name] for name in ("dagster", "mlflow", "dashboard"))
    return found


def _wait(name: str, url: str, began: float, found: dict[str, float]) -> None:
    deadline = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 -- our own loopback address
                answer.read()
            break
        time.sleep(0.1)
    if name == "dagster":
        found["dagster_page"] = round(time.monotonic() - began, 2)
        with contextlib.suppress(ProcessError):
            list(DagsterApi(url).wait_loaded(_MOST_SECONDS))
            found[name] = round(time.monotonic() - began, 2)
        return
    found[name] = round(time.monotonic() - began, 2)


def _used(pid: int) -> float:
    used = 0.0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            used += times.user + times.system
    return used


if __name__ == "__main__":
    main()
