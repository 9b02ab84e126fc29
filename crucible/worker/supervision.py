"""What a supervisor knows of a worker process: when it spoke last, when it last earned its keep, when to try again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

from crucible.clock import Clock, SystemClock
from crucible.settings import Settings
from crucible.worker.deployment import Actual, Wanted
from crucible.worker.fleet_database import FleetDatabase
from crucible.worker.lease import LeaseKeeper, LeaseWatch, lease_seconds
from crucible.worker.worker_process import WorkerProcess

LATE_SECONDS = 60.0
"""Nobody is late before that: with epochs of seconds, as in a demonstration, a start alone takes several."""

HUNG_SECONDS = 30.0
"""Seconds without a heartbeat after which a worker hangs."""

LATE_EPOCHS = 3.0
"""Epochs without an accepted submission after which a worker that beats is taken for useless and started again.

Each further time it takes twice as many: a topic may be paused, or the chain may stand, and then no restart helps.
"""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_HEALTHY_SECONDS = 60.0
_HANDOVER_SECONDS = 45.0  # a worker is ready within ten; what has not taken over by now never will


@dataclass
class Supervised:
    """A worker process; times are monotonic seconds."""

    process: WorkerProcess
    identity: dict[str, int] | None = None
    started: float = 0.0
    pause: float = _FIRST_PAUSE
    restart_at: float | None = None
    beat: float = 0.0
    heard: float = 0.0
    late_after: float = LATE_EPOCHS

    def __post_init__(self) -> None:
        self.started = self.started or time.monotonic()

    @classmethod
    def starting(cls, process: WorkerProcess, group: list[Wanted], before: Supervised | None) -> Supervised:
        """Return the record of a process that was started for ``group`` just now, after ``before`` had ended."""
        patience = (before.pause, before.late_after) if before else (_FIRST_PAUSE, LATE_EPOCHS)
        return cls(process, identity=_identity(group), pause=patience[0], late_after=patience[1])

    def adopt_identity(self, group: list[Wanted]) -> bool:
        """Whether the process must be replaced to serve ``group``; of an adopted one the first look is believed."""
        before, self.identity = self.identity or {}, _identity(group)
        return any(before.get(recipe, restarts) != restarts for recipe, restarts in self.identity.items())

    def back_off(self) -> float:
        """Set when to start again, and return the pause in seconds.

        A worker that ran well for a while gets a fresh start; one that dies at once waits longer each time.
        """
        now = time.monotonic()
        healthy = now - self.started > _HEALTHY_SECONDS
        self.pause = _FIRST_PAUSE if healthy else min(self.pause * 2, _LONGEST_PAUSE)
        self.restart_at = now + self.pause
        return self.pause

    @property
    def rested(self) -> bool:
        """Whether the pause is over."""
        return self.restart_at is not None and time.monotonic() >= self.restart_at

    def trouble(self, reports: list[Actual], group: list[Wanted], clock: Clock, hung_after: float) -> str:
        """Say what is wrong with a process that runs, or return an empty text.

        Only a change of the heartbeat counts, timed by our own clock: after the machine has slept every heartbeat is
        old, and no worker hangs.
        """
        now = time.monotonic()
        beat = max((actual.beat for actual in reports if actual.pid == self.process.pid), default=0.0)
        if beat != self.beat:
            self.beat, self.heard = beat, now
        elif now - max(self.heard, self.started) > hung_after:
            return f"hangs: no heartbeat for {hung_after:.0f} s"
        epochs = lateness(reports, group, clock, since_start=now - self.started)
        if 0 < epochs < 1:
            self.late_after = LATE_EPOCHS
        if epochs > self.late_after:
            self.late_after *= 2
            return f"is useless: no accepted submission for {epochs:.1f} epochs although it beats"
        return ""


def lateness(reports: list[Actual], group: list[Wanted], clock: Clock, *, since_start: float) -> float:
    """Return the epochs since the last accepted submission of the topic of ``group`` that is worst off.

    Parameters
    ----------
    since_start : float
        Real seconds since the process was started: nobody is late before having had the time.

    Returns
    -------
    float
        0 for what is not ready or has never submitted, and within the first minute.
    """
    if since_start < LATE_SECONDS:
        return 0.0
    by_recipe = {actual.recipe: actual for actual in reports if actual.state == "ready"}
    worst = 0.0
    for wanted in group:
        actual = by_recipe.get(wanted.deployment.recipe)
        if actual is not None and actual.accepted_at > 0:
            silent = min(since_start, SystemClock().now().timestamp() - actual.accepted_at)
            worst = max(worst, silent / epoch_wall(wanted, clock))
    return worst


def epoch_wall(wanted: Wanted, clock: Clock) -> float:
    """Return the real seconds that an epoch of the deployment's topic takes."""
    return max(clock.wall_seconds(timedelta(seconds=wanted.deployment.epoch_seconds)), 0.001)


class Handover:
    """Leases that the fleet takes for a worker before it starts it, and keeps until the worker takes them itself.

    The fleet signs nothing, so both may use the holder's name of the worker; without this, a standby would watch a
    dead host's lease out twice, once before the start and once after.
    """

    def __init__(self, settings: Settings, database: FleetDatabase, holder: str, watch: LeaseWatch) -> None:
        self._clock = settings.clock
        self._shared = bool(settings.fleet_database)
        self._keeper = LeaseKeeper(database, settings.chain_id, holder, watch=watch)
        self._since: float | None = None

    def obtain(self, group: list[Wanted]) -> bool:
        """Try for the leases of ``group``; whether the first of them is held.

        The others are tried for only then. Every host begins with the same one, so all topics of a process, and with
        them the sequence of its wallet, end up on one host.

        Raises
        ------
        StoreError
            If the database cannot be asked.
        """
        for wanted in sorted(group, key=lambda item: (item.deployment.wallet, item.deployment.topic_id)):
            key = (wanted.deployment.wallet, wanted.deployment.topic_id)
            self._keeper.want(*key, lease_seconds(epoch_wall(wanted, self._clock), shared=self._shared))
            self._keeper.tick()
            if self._since is None and not self._keeper.may_sign(*key):
                return False
            self._since = self._since or time.monotonic()
        return True

    def keep(self) -> bool:
        """Renew what the worker has not taken yet; whether there still is anything to do."""
        if self._since is None:
            return True
        if time.monotonic() - self._since > _HANDOVER_SECONDS:
            self.give_up()
            return False
        return self._keeper.renew()

    def give_up(self) -> None:
        """Let other hosts have what the worker has not taken."""
        self._keeper.release()


def _identity(group: list[Wanted]) -> dict[str, int]:
    """How often a restart was asked for, by recipe; everything else a running process follows by itself."""
    return {item.deployment.recipe: item.restarts for item in group}
