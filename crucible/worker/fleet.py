"""The fleet: one worker process per desired deployment, kept alive."""

from __future__ import annotations

import logging
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from crucible.clock import SystemClock
from crucible.errors import CrucibleError
from crucible.process import Child, end_leftovers, stop_all, write_json
from crucible.settings import Settings
from crucible.worker.deployment import Actual, Deployment, read_actual, read_desired, write_actual
from crucible.worker.lock import hold

_LOG = logging.getLogger(__name__)
_TICK_SECONDS = 0.3
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_HEALTHY_SECONDS = 60.0
_HUNG_SECONDS = 30.0


@dataclass
class _Worker:
    """A worker process, when it may be started again, and when its last heartbeat was heard (monotonic seconds)."""

    deployment: Deployment
    child: Child
    started: float
    pause: float = _FIRST_PAUSE
    restart_at: float | None = None
    beat: float = 0.0
    heard: float = 0.0


class Fleet:
    """Reconciles the desired deployments of a home with running workers until :meth:`stop`.

    A new generation does not restart a worker: it swaps its bundle itself, between epochs. Another wallet or topic
    does.

    Parameters
    ----------
    settings : Settings
        The home.
    hung_after : float
        Seconds without a heartbeat after which a worker is killed and started again.
    """

    def __init__(self, settings: Settings, *, hung_after: float = _HUNG_SECONDS) -> None:
        self._settings = settings
        self.hung_after = hung_after
        self._told: dict[str, str] = {}
        self._workers: dict[str, _Worker] = {}
        self._stop = threading.Event()

    def run(self, ready_file: Path | None = None) -> None:
        """Supervise until SIGINT or SIGTERM, then end every worker.

        Raises
        ------
        ProcessError
            If a fleet runs in this home already.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stop.set())
        sentence = f"A fleet is running in {self._settings.home} already; there may be one."
        with hold(self._settings.fleet / ".lock", sentence):
            end_leftovers("CRUCIBLE_FLEET", str(self._settings.home))
            if ready_file:
                write_json(ready_file, {"home": str(self._settings.home)})
            try:
                while not self._stop.wait(_TICK_SECONDS):
                    self.reconcile()
            finally:
                self.end()

    def end(self) -> None:
        """End every worker."""
        stop_all([worker.child for worker in self._workers.values()], grace=2.5)

    def reconcile(self) -> None:
        """Look once at what is desired and at what runs, and do what is missing.

        Trouble with one recipe, such as a damaged file, is logged once, and its worker and all others go on.
        """
        wanted = {path.stem for path in (self._settings.fleet / "desired").glob("*.json")}
        for recipe in sorted(wanted):
            try:
                desired = read_desired(self._settings, recipe)
                if desired is not None:
                    self._keep(desired)
                self._told.pop(recipe, None)
            except CrucibleError as error:
                if self._told.get(recipe) != str(error):
                    _LOG.error("%s: %s", recipe, error)
                self._told[recipe] = str(error)
        for recipe in set(self._workers) - wanted:
            _LOG.info("%s is no longer wanted", recipe)
            stop_all([self._workers.pop(recipe).child], grace=2.5)

    def _keep(self, desired: Deployment) -> None:
        worker = self._workers.get(desired.recipe)
        if worker is None:
            self._workers[desired.recipe] = self._start(desired)
            return
        before = (worker.deployment.wallet, worker.deployment.topic_id)
        if before != (desired.wallet, desired.topic_id):
            _LOG.info("%s changes wallet or topic", desired.recipe)
            stop_all([worker.child], grace=2.5)
            self._workers[desired.recipe] = self._start(desired)
            return
        worker.deployment = desired
        if worker.child.popen.poll() is not None:
            self._revive(desired, worker)
        else:
            self._listen(worker)

    def _listen(self, worker: _Worker) -> None:
        """Kill a worker that has stopped reporting; the next look finds it dead.

        Only a change of the heartbeat counts, timed by our own clock: after the machine has slept every heartbeat is
        old, and no worker hangs.
        """
        recipe, now = worker.deployment.recipe, time.monotonic()
        actual = read_actual(self._settings, recipe)
        beat = actual.beat if actual and actual.pid == worker.child.popen.pid else 0.0
        if beat != worker.beat:
            worker.beat, worker.heard = beat, now
        elif now - max(worker.heard, worker.started) > self.hung_after:
            words = f"no heartbeat for {self.hung_after:.0f} s"
            _LOG.error("%s hangs: %s; it is killed", recipe, words)
            self._record_death(recipe, words)
            stop_all([worker.child], grace=1.0)

    def _revive(self, desired: Deployment, worker: _Worker) -> None:
        now = time.monotonic()
        if worker.restart_at is None:
            # a worker that ran well for a while gets a fresh start; one that dies at once waits longer each time
            worker.pause = (
                _FIRST_PAUSE if now - worker.started > _HEALTHY_SECONDS else min(worker.pause * 2, _LONGEST_PAUSE)
            )
            worker.restart_at = now + worker.pause
            words = worker.child.last_words()
            _LOG.warning("%s ended (%s); starting again in %.0f s", desired.recipe, words, worker.pause)
            self._record_death(desired.recipe, words)
        elif now >= worker.restart_at:
            self._workers[desired.recipe] = self._start(desired, pause=worker.pause)

    def _record_death(self, recipe: str, words: str) -> None:
        last = read_actual(self._settings, recipe)
        if last is None or last.state != "failed":
            unknown = Actual(recipe, 0, 0.0, "failed", "", 0, 0, 0, "", 0, 0.0, "")
            base = vars(last or unknown)
            changed = {"state": "failed", "message": words, "beat": SystemClock().now().timestamp()}
            write_actual(self._settings, Actual(**{**base, **changed}))

    def _start(self, desired: Deployment, pause: float = _FIRST_PAUSE) -> _Worker:
        _LOG.info("starting the worker of %s", desired.recipe)
        child = Child.crucible(
            f"worker {desired.recipe}",
            ["worker", "run", desired.recipe],
            log=self._settings.fleet / "logs" / f"{desired.recipe}.log",
            env={**self._settings.environment(), "CRUCIBLE_FLEET": str(self._settings.home)},
            cwd=Path.cwd(),
        )
        return _Worker(desired, child, time.monotonic(), pause)
