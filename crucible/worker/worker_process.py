"""One worker process as its supervisor sees it: started by us, or found running after a crash of ours."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from crucible import __version__
from crucible.process import Child, stop_all
from crucible.settings import Settings
from crucible.worker.deployment import Deployment

FLEET, KEY, MANNER = "CRUCIBLE_FLEET", "CRUCIBLE_WORKER", "CRUCIBLE_STARTED_AS"
"""Marks in a worker's environment: the home, which worker, and a digest of version and settings it was started with."""


def process_key(deployment: Deployment) -> str:
    """Return the unit that is one process, the wallet: its topics share a sequence of transactions."""
    return deployment.wallet


def process_command(key: str) -> list[str]:
    """Return the arguments of ``crucible`` that start the process ``key``."""
    return ["worker", "run", "--wallet", key]


def log_path(settings: Settings, key: str) -> Path:
    """Return where the output of the worker ``key`` goes."""
    return settings.fleet / "logs" / f"{key or 'unknown'}.log"


@dataclass
class WorkerProcess:
    """A running or ended worker.

    ``child`` is set for one that we started; one that an earlier fleet started is ``adopted`` and known by its pid
    and start time.
    """

    key: str
    pid: int
    log: Path
    child: Child | None = None
    adopted: psutil.Process | None = None

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        if self.child is not None:
            return self.child.popen.poll() is not None
        if self.adopted is None:
            return True
        try:
            return not self.adopted.is_running() or self.adopted.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def stop(self, grace: float) -> None:
        """End it and its descendants: SIGINT, ``grace`` seconds to finish what is under way, then SIGKILL."""
        stop_processes([self], grace)


def stop_processes(processes: list[WorkerProcess], grace: float) -> None:
    """End several workers at once; see :meth:`WorkerProcess.stop`."""
    adopted = [process.adopted for process in processes if process.adopted is not None]
    tree = list(adopted)
    for parent in adopted:
        with contextlib.suppress(psutil.NoSuchProcess):
            tree += parent.children(recursive=True)
    for parent in adopted:
        with contextlib.suppress(psutil.NoSuchProcess):
            parent.send_signal(2)
    stop_all([process.child for process in processes if process.child is not None], grace=grace)
    _, alive = psutil.wait_procs(tree, timeout=grace)
    for left in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    psutil.wait_procs(alive, timeout=1.0)


def start_process(settings: Settings, key: str) -> WorkerProcess:
    """Start the worker ``key``; its output goes to ``data/fleet/logs/<key>.log``.

    Raises
    ------
    ProcessError
        If it cannot be started.
    """
    log = log_path(settings, key)
    marks = {FLEET: str(settings.home), KEY: key, MANNER: _manner(settings)}
    environment = {**settings.environment(), **marks}
    child = Child.crucible(f"worker {key}", process_command(key), log=log, env=environment, cwd=Path.cwd())
    return WorkerProcess(key, child.popen.pid, log, child=child)


def find_running(settings: Settings, tell: Callable[[str], None]) -> dict[str, WorkerProcess]:
    """Return the workers of this home that an earlier fleet left running, by key.

    Of those that were started by another version or with other settings, or twice, none goes on: they are ended.
    """
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: dict[str, WorkerProcess] = {}
    odd: list[WorkerProcess] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            marks = process.environ()
            if process.pid in ours or marks.get(FLEET) != str(settings.home):
                continue
            parent = process.parent()
            with contextlib.suppress(psutil.Error):
                if parent is not None and parent.environ().get(KEY) == marks.get(KEY):
                    continue  # a helper of a worker, not the worker itself
            key = marks.get(KEY, "")
            worker = WorkerProcess(key, process.pid, log_path(settings, key), adopted=process)
            if not key or key in found or marks.get(MANNER) != _manner(settings):
                odd.append(worker)
            else:
                found[key] = worker
    if odd:
        tell(f"ending {len(odd)} leftover processes that were started in another manner")
        stop_processes(odd, grace=3.0)
    return found


def _manner(settings: Settings) -> str:
    environment: Mapping[str, str] = settings.environment()
    return hashlib.sha256(json.dumps([__version__, environment], sort_keys=True).encode()).hexdigest()[:16]
