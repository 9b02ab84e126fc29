"""The fleet: a supervisor that makes what runs on this host agree with what is desired, for as long as it lives.

It looks, and does what is missing; it never assumes that what it did last time is still so. Workers outlive a fleet
that is killed: the next one adopts them. Workers are ended when the fleet is told to stop.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import FrameType

from crucible.chain.keystore import Keystore
from crucible.child_log import last_line, shorten
from crucible.clock import SystemClock
from crucible.errors import CrucibleError, StoreError, WalletError
from crucible.process import write_json
from crucible.settings import Settings
from crucible.worker.deployment import Actual, Wanted, read_actuals, read_wanted, write_actual
from crucible.worker.fleet_database import open_database
from crucible.worker.host import host_id
from crucible.worker.lease import LeaseWatch
from crucible.worker.lock import hold
from crucible.worker.supervision import HUNG_SECONDS, Handover, Supervised
from crucible.worker.wallet_pins import pinned_address
from crucible.worker.worker_process import find_running, process_key, start_process, stop_processes

_LOG = logging.getLogger(__name__)
_TICK_SECONDS = 0.3
_HURRIED, _DRAIN = 2.5, 10.0  # seconds for what is under way, after Ctrl-C and after SIGTERM


class Fleet:
    """Reconciles the desired deployments with running workers of this host until it is told to stop.

    A new generation does not restart a worker: it swaps its bundle itself, between epochs. Another wallet or topic
    does. Several hosts may share one database: a worker runs on the host that holds the leases it signs under.

    Parameters
    ----------
    settings : Settings
        The home.
    hung_after : float
        Seconds without a heartbeat after which a worker is killed and started again.
    """

    def __init__(self, settings: Settings, *, hung_after: float = HUNG_SECONDS) -> None:
        self._settings = settings
        self.hung_after = hung_after
        self._database = open_database(settings)
        self._host = host_id(settings)
        self._watch = LeaseWatch(self._database, settings.chain_id)
        self._told: dict[str, str] = {}
        self._workers: dict[str, Supervised] = {}
        self._handovers: dict[str, Handover] = {}
        self._stop = threading.Event()
        self._grace = _HURRIED

    def run(self, ready_file: Path | None = None) -> None:
        """Supervise until SIGINT or SIGTERM, then end every worker.

        SIGTERM leaves workers ten seconds for what is under way, SIGINT two and a half.

        Raises
        ------
        ProcessError
            If a fleet runs in this home already.
        """
        signal.signal(signal.SIGINT, self._told_to_stop)
        signal.signal(signal.SIGTERM, self._told_to_stop)
        sentence = f"A fleet is running in {self._settings.home} already; there may be one."
        with hold(self._settings.fleet / ".lock", sentence):
            self.adopt()
            if ready_file:
                write_json(ready_file, {"home": str(self._settings.home)})
            try:
                while not self._stop.wait(_TICK_SECONDS):
                    self.reconcile()
            finally:
                self.end(self._grace)

    def adopt(self) -> None:
        """Take charge of the workers that an earlier fleet of this home left running."""
        for key, process in find_running(self._settings, _LOG.warning).items():
            _LOG.info("adopting the worker of %s, pid %d", key, process.pid)
            self._workers[key] = Supervised(process)

    def end(self, grace: float = _HURRIED) -> None:
        """End every worker, and give up what was taken on behalf of those that had not started."""
        stop_processes([worker.process for worker in self._workers.values()], grace)
        for handover in self._handovers.values():
            handover.give_up()

    def reconcile(self) -> None:
        """Look once at what is desired and at what runs, and do what is missing.

        Trouble with one worker is logged once, and it and all others go on; so they do while the database is away.
        """
        try:
            groups = _grouped(read_wanted(self._settings))
            self._watch.look()
            self._told.pop("", None)
        except StoreError as error:
            self._tell("", error)
            return
        for key, group in sorted(groups.items()):
            try:
                self._keep(key, group)
                self._told.pop(key, None)
            except CrucibleError as error:
                self._tell(key, error)
        for key in set(self._workers) - set(groups):
            _LOG.info("%s is no longer wanted", key)
            self._end_one(key)
        for key, worker in self._workers.items():
            try:
                shorten(worker.process.log)
                self._told.pop(f"log of {key}", None)
            except StoreError as error:
                self._tell(f"log of {key}", error)

    def _keep(self, key: str, group: list[Wanted]) -> None:
        worker = self._workers.get(key)
        if worker is None:
            if self._obtain(key, group):
                self._start(key, group)
            return
        if worker.adopt_identity(group):
            _LOG.info("%s changes wallet or topic, or is to be restarted", key)
            self._end_one(key)
            return
        if worker.process.ended:
            self._revive(key, worker, group)
            return
        if key in self._handovers and not self._handovers[key].keep():
            del self._handovers[key]
        if self._elsewhere(key, group):
            _LOG.warning("%s is served by another host now; its worker here is ended", key)
            self._end_one(key)
            return
        trouble = worker.trouble(self._reports(group), group, self._settings.clock, self.hung_after)
        if trouble:
            _LOG.error("%s %s; it is killed", key, trouble)
            self._record_death(group, trouble)
            worker.process.stop(1.0)

    def _obtain(self, key: str, group: list[Wanted]) -> bool:
        """Whether the worker may start here: its wallet is here, and no other host holds all of its leases."""
        if not any(self._free(key, wanted) for wanted in group):
            return False
        for wallet in {wanted.deployment.wallet for wanted in group}:
            known = pinned_address(self._database, wallet)
            if known is not None and wallet not in Keystore(self._settings.keystore).names():
                raise WalletError(
                    f"Wallet {wallet!r} ({known}) is not on this host, so {key} cannot be served here; copy it with "
                    f"`crucible wallet export {wallet} --to FILE` there and "
                    f"`crucible wallet import {wallet} --from FILE` here."
                )
        if key not in self._handovers:
            self._handovers[key] = Handover(self._settings, self._database, f"{self._host}/{key}", self._watch)
        return self._handovers[key].obtain(group)

    def _elsewhere(self, key: str, group: list[Wanted]) -> bool:
        """Whether other hosts hold every lease that this worker signs under."""
        return not any(self._free(key, wanted) for wanted in group)

    def _free(self, key: str, wanted: Wanted) -> bool:
        return self._watch.free_for(f"{self._host}/{key}", wanted.deployment.wallet, wanted.deployment.topic_id)

    def _start(self, key: str, group: list[Wanted]) -> None:
        _LOG.info("starting the worker of %s", key)
        before = self._workers.get(key)
        self._workers[key] = Supervised.starting(start_process(self._settings, key), group, before)

    def _revive(self, key: str, worker: Supervised, group: list[Wanted]) -> None:
        if worker.restart_at is None:
            words = last_line(worker.process.log)
            pause = worker.back_off()
            self._handovers.pop(key, None)
            _LOG.warning("%s ended (%s); starting again in %.0f s", key, words, pause)
            self._record_death(group, words)
        elif worker.rested and self._obtain(key, group):
            self._start(key, group)

    def _end_one(self, key: str) -> None:
        self._workers.pop(key).process.stop(_HURRIED)
        handover = self._handovers.pop(key, None)
        if handover:
            handover.give_up()

    def _reports(self, group: Iterable[Wanted]) -> list[Actual]:
        return [
            actual
            for wanted in group
            for actual in read_actuals(self._settings, wanted.deployment.recipe)
            if actual.host == self._host
        ]

    def _record_death(self, group: list[Wanted], words: str) -> None:
        known = {actual.recipe: actual for actual in self._reports(group)}
        for wanted in group:
            recipe = wanted.deployment.recipe
            unknown = Actual(recipe, 0, 0.0, "failed", "", 0, 0, 0, "", 0, 0.0, "")
            last = known.get(recipe, unknown)
            if last.state != "failed" or recipe not in known:
                now = SystemClock().now().timestamp()
                write_actual(self._settings, replace(last, state="failed", message=words, beat=now))

    def _tell(self, key: str, error: CrucibleError) -> None:
        if self._told.get(key) != str(error):
            _LOG.error("%s%s", f"{key}: " if key else "", error)
        self._told[key] = str(error)

    def _told_to_stop(self, number: int, _: FrameType | None) -> None:
        self._grace = _DRAIN if number == signal.SIGTERM else _HURRIED
        self._stop.set()


def _grouped(wanted: Iterable[Wanted]) -> dict[str, list[Wanted]]:
    groups: dict[str, list[Wanted]] = {}
    for item in wanted:
        if item.running:
            groups.setdefault(process_key(item.deployment), []).append(item)
    return groups
