"""The same fits on a real Dask cluster, one of whose workers is killed on the way."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from crucible.features.dataset import build_dataset
from crucible.stack.processes import free_port
from crucible.validation.fits import Crew, SharedRows, rows_of
from crucible.validation.splits import Stages
from crucible.validation.suites import Market, make_bars, suite_recipe
from crucible.validation.walk_forward import run_walk_forward

_SCHEDULER = "from distributed.cli.dask_scheduler import main; main()"
_WORKER = "from distributed.cli.dask_worker import main; main()"


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two worker processes on loopback."""
    address = f"tcp://127.0.0.1:{free_port(0)}"
    host, port = "127.0.0.1", address.rsplit(":", 1)[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    children = [
        subprocess.Popen([sys.executable, "-c", _SCHEDULER, "--host", host, "--port", port, "--no-dashboard"], **quiet)
    ]
    children += [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, address, "--host", host, "--no-nanny", "--nthreads", "1", "--no-dashboard"],
            **quiet,
        )
        for _ in range(2)
    ]
    try:
        import distributed

        with distributed.Client(address, set_as_default=False, timeout=30) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, children
    finally:
        for child in children:
            child.kill()
            child.wait()


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_loses_a_worker_gives_the_same(cluster, tmp_path):
    address, children = cluster
    recipe = suite_recipe(8, 8000)
    dataset = build_dataset(make_bars(Market("walk", 8, 0.1, 3, 8000)), recipe)
    rows, stages = rows_of(dataset, recipe), Stages.of(recipe, dataset.times)
    expected = run_walk_forward(rows, dataset, recipe, stages.outer, {})
    shared = SharedRows.write(tmp_path / "rows", rows)
    done = []

    def kill(count, total):
        done.append(count)
        if count == 2:
            children[1].send_signal(signal.SIGKILL)

    started = time.monotonic()
    found = run_walk_forward(shared, dataset, recipe, stages.outer, {}, crew=Crew(2, address), progress=kill)
    assert done[-1] == len(stages.outer) * 3
    assert time.monotonic() - started < 60
    assert children[1].wait(timeout=5) == -signal.SIGKILL
    for name, values in expected.oos.y_pred.items():
        assert np.array_equal(found.oos.y_pred[name], values), name
    assert threading.active_count() < 50
    assert os.path.exists(shared.path("x"))
