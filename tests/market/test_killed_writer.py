"""A writer that is killed at any instant leaves each partition old or new: 200 kills here, 1000 in ``make prove``."""

import os
import subprocess
import sys

import pytest

KILLS = 1000 if os.environ.get("CRUCIBLE_PROVE") else 200

# forks a writer that goes on replacing two months by version 0, 1, 2, …, kills it, and looks at what is there
SCRIPT = """
import os, random, signal, sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
import numpy as np
import pyarrow as pa
from crucible.market.store import BarStore, Series

store, series = BarStore(Path(sys.argv[1])), Series("binance", "BTCUSDT", timedelta(minutes=5))
start = np.datetime64("2026-01-20T00:00", "us").astype("int64")
times = pa.array(start + 300_000_000 * np.arange(5000)).cast(pa.timestamp("us", "UTC"))
generator, randomness = np.random.default_rng(1), random.Random(1)
noise = pa.array(generator.uniform(0.1, 0.9, 5000))

def version(number):
    level = pa.array(np.full(5000, float(number + 1)))
    return pa.table({"open_time": times, "open": level, "high": level, "low": level, "close": level, "volume": noise})

def write_for_ever(after):
    number = after
    while True:
        number += 1
        store.write(series, version(number))

store.write(series, version(0))
newest, mixed, litter = 0, 0, 0
for kill in range(int(sys.argv[2])):
    writer = os.fork()
    if writer == 0:
        write_for_ever(newest)
    time.sleep(randomness.uniform(0.004, 0.045))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    litter += len(list(store.root.rglob("*.tmp")))
    bars = store.read(series)
    assert bars["open_time"].equals(pa.chunked_array([times])), f"kill {kill}: bars are lost"
    coverage = store.coverage(series)  # from the manifests, of which one may be older than its bars
    assert (coverage.rows, coverage.missing) == (5000, 0), f"kill {kill}: {coverage}"
    months = [set(store.read(series, *span)["close"].to_pylist()) for span in
              ((None, datetime(2026, 2, 1, tzinfo=UTC)), (datetime(2026, 2, 1, tzinfo=UTC), None))]
    assert all(len(found) == 1 for found in months), f"kill {kill}: a partition holds two versions"
    levels = [found.pop() for found in months]
    assert levels[0] >= levels[1], f"kill {kill}: {levels}"  # two kills in a row may leave February behind by two
    mixed += levels[0] != levels[1]
    newest = int(levels[0])
store.write(series, version(newest + 1))
assert not list(store.root.rglob("*.tmp")), "litter is left"
print(f"kills {sys.argv[2]}, versions written {newest}, between two renames {mixed}, temporary files seen {litter}")
"""


@pytest.mark.processes
@pytest.mark.timeout(60 + KILLS)
def test_a_killed_writer_leaves_every_partition_old_or_new(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "bars", str(KILLS)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(f"kills {KILLS}, ")
    assert "versions written 0," not in run.stdout
