"""Desired and actual state of the workers: who should serve which bundle, and who does."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil

from crucible.clock import SystemClock
from crucible.errors import ProcessError, StoreError
from crucible.settings import Settings
from crucible.worker.fleet_database import FleetDatabase, open_database
from crucible.worker.fleet_import import import_files, known_epoch
from crucible.worker.host import host_id

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

BEAT_SECONDS = 2.0
"""How often a worker reports, in real time."""

STALE_SECONDS = 10.0
"""A heartbeat older than this (real time) means that the worker does not run, or hangs."""

SKEW_SECONDS = 30.0
"""By how much another host's clock may differ from ours before its worker looks dead in a listing."""


@dataclass(frozen=True)
class Deployment:
    """What should be served.

    ``generation`` rises by one with every deployment, so that going back to an earlier bundle is a change too.
    ``epoch_seconds`` is the topic's cadence in the clock's time; 0 until it is written, which fills it in.
    """

    recipe: str
    generation: int
    bundle: str
    bundle_path: str
    model_version: int
    topic_id: int
    wallet: str
    written_at: str
    role: str = "inferer"
    epoch_seconds: float = 0.0


@dataclass(frozen=True)
class Wanted:
    """A deployment, whether it should run at all, and how often a person has asked for a restart."""

    deployment: Deployment
    running: bool
    restarts: int


@dataclass(frozen=True)
class Actual:
    """What a worker process reports of itself, every two seconds.

    Attributes
    ----------
    pid, started : int, float
        Process id and its start time: together they identify a process, a pid alone does not.
    state : str
        ``starting``, ``standby`` (another host holds the lease), ``ready``, ``stopped`` or ``failed``.
    bundle, generation, model_version
        What is served; empty and 0 before anything is.
    refused_generation : int
        The newest generation that could not be served.
    address : str
        The wallet's address.
    last_nonce : int
        The newest nonce that was dealt with.
    beat : float
        Unix time of this report.
    message : str
        The last thing a person should know.
    refusal : str
        Why ``refused_generation`` could not be served.
    host : str
        Which host's worker this is; filled in when it is written.
    accepted_at : float
        Unix time of the last submission that the chain accepted; never goes back, 0 before the first.
    """

    recipe: str
    pid: int
    started: float
    state: str
    bundle: str
    generation: int
    model_version: int
    refused_generation: int
    address: str
    last_nonce: int
    beat: float
    message: str
    refusal: str = ""
    host: str = ""
    accepted_at: float = 0.0
    here: bool = True

    @property
    def alive(self) -> bool:
        """Whether this very process still runs and has reported lately; of another host, only the latter is known."""
        if not self.here:
            return self.state not in ("stopped", "failed") and abs(self.silence) < STALE_SECONDS + SKEW_SECONDS
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        return same and self.silence < STALE_SECONDS

    @property
    def silence(self) -> float:
        """Seconds of real time since this report."""
        return SystemClock().now().timestamp() - self.beat


_DEPLOYMENT = tuple(field.name for field in fields(Deployment))
_ACTUAL = tuple(field.name for field in fields(Actual) if field.name != "here")


def journal_path(settings: Settings, recipe: str) -> Path:
    """Return where the worker of ``recipe`` keeps its journal."""
    return settings.fleet / "journal" / f"{recipe}.db"


def write_desired(settings: Settings, deployment: Deployment) -> None:
    """Ask for ``deployment``; the fleet obeys it, now or when it starts.

    A recipe that a person has stopped stays stopped.

    Raises
    ------
    StoreError
        If the database refuses.
    """
    filled = _with_epoch(deployment)
    database = _database(settings)
    with database.transaction():
        database.put("desired", ("recipe",), asdict(filled))
        database.put("deployed", ("recipe", "generation"), asdict(filled))


def deploy(settings: Settings, deployment: Deployment) -> Deployment:
    """Ask for ``deployment`` under the next generation, whoever else deploys at this moment, and return it."""
    database = _database(settings)
    with database.transaction():
        [(newest,)] = database.query("SELECT max(generation) FROM deployed WHERE recipe = ?", deployment.recipe)
        numbered = replace(_with_epoch(deployment), generation=(newest or 0) + 1)
        database.put("desired", ("recipe",), asdict(numbered))
        database.put("deployed", ("recipe", "generation"), asdict(numbered))
    return numbered


def read_wanted(settings: Settings) -> list[Wanted]:
    """Return every deployment that is asked for, also those that a person has stopped, by recipe."""
    names = ", ".join(_DEPLOYMENT)
    rows = _database(settings).query(f"SELECT {names}, running, restarts FROM desired ORDER BY recipe")
    return [Wanted(_deployment(settings, row[:-2]), bool(row[-2]), int(row[-1])) for row in rows]


def read_desired(settings: Settings, recipe: str) -> Deployment | None:
    """Return what is asked for, whether stopped or not, or ``None``."""
    found = _select(settings, "desired", recipe=recipe)
    return found[0] if found else None


def desired_of(settings: Settings, wallet: str) -> list[Deployment]:
    """Return what ``wallet`` should serve at present, by recipe; what a person has stopped is left out."""
    return _select(settings, "desired", wallet=wallet, running=1)


def history(settings: Settings, recipe: str) -> list[Deployment]:
    """Return every deployment of ``recipe`` that was ever asked for, newest generation first."""
    found = _select(settings, "deployed", recipe=recipe)
    return sorted(found, key=lambda item: -item.generation)


def set_running(settings: Settings, recipe: str, running: bool) -> None:
    """Start or stop serving ``recipe``; it stays deployed."""
    _database(settings).change("UPDATE desired SET running = ? WHERE recipe = ?", int(running), recipe)


def ask_restart(settings: Settings, recipe: str) -> None:
    """Have the worker of ``recipe`` ended and started again."""
    _database(settings).change("UPDATE desired SET restarts = restarts + 1 WHERE recipe = ?", recipe)


def remove_desired(settings: Settings, recipe: str) -> None:
    """Ask for nothing any more; the history and the journal stay."""
    _database(settings).change("DELETE FROM desired WHERE recipe = ?", recipe)


def write_served(settings: Settings, deployment: Deployment) -> None:
    """Remember what a worker of this host serves, for a restart that finds the desired bundle unusable."""
    if read_served(settings, deployment.recipe) != deployment:
        values = {"host": host_id(settings), **asdict(_with_epoch(deployment))}
        _database(settings).put("served", ("host", "recipe"), values)


def read_served(settings: Settings, recipe: str) -> Deployment | None:
    """Return what was served last on this host, or ``None``."""
    found = _select(settings, "served", host=host_id(settings), recipe=recipe)
    return found[0] if found else None


def write_actual(settings: Settings, actual: Actual) -> None:
    """Report what a worker does.

    A database that refuses is logged, once per outage, and the report is lost: the next one says the same, and a worker
    that submits must not end because nobody can be told.
    """
    filled = replace(actual, host=actual.host or host_id(settings))
    values = {name: getattr(filled, name) for name in _ACTUAL}
    try:
        database = _database(settings)
        database.put("actual", ("host", "recipe"), values, rising=("accepted_at",))
        _outages.discard(database.name)
    except StoreError as error:
        if database.name not in _outages:
            _LOG.error("a report is lost: %s", error)
        _outages.add(database.name)


_outages: set[str] = set()


def read_actuals(settings: Settings, recipe: str) -> list[Actual]:
    """Return the newest report of every host, newest first."""
    here = host_id(settings)
    rows = _database(settings).query(f"SELECT {', '.join(_ACTUAL)} FROM actual WHERE recipe = ?", recipe)
    return sorted((_actual(row, here) for row in rows), key=lambda item: -item.beat)


def read_actual(settings: Settings, recipe: str) -> Actual | None:
    """Return the report that counts, or ``None`` where no worker ever ran: of a ready host, else the newest."""
    return _that_counts(read_actuals(settings, recipe))


def read_fleet(settings: Settings) -> dict[str, tuple[Deployment | None, Actual | None]]:
    """Return by recipe what :func:`read_desired` and :func:`read_actual` return of each, in two queries.

    Raises
    ------
    StoreError
        If the database refuses or cannot be reached.
    """
    database, here = _database(settings), host_id(settings)
    rows = database.query(f"SELECT {', '.join(_DEPLOYMENT)} FROM desired")
    desired = {found.recipe: found for found in (_deployment(settings, row) for row in rows)}
    reports: dict[str, list[Actual]] = {}
    for row in database.query(f"SELECT {', '.join(_ACTUAL)} FROM actual ORDER BY beat DESC"):
        item = _actual(row, here)
        reports.setdefault(item.recipe, []).append(item)
    return {
        name: (desired.get(name), _that_counts(reports.get(name, []))) for name in (desired.keys() | reports.keys())
    }


def wait_served(settings: Settings, deployment: Deployment, timeout: float) -> Actual:
    """Wait until the running worker reports this bundle and generation.

    Parameters
    ----------
    timeout : float
        Seconds of real time.

    Raises
    ------
    ProcessError
        If the worker refuses the bundle, does not report it in time, or a person has stopped it.
    """
    deadline = time.monotonic() + timeout
    begun = SystemClock().now().timestamp()
    wanted = {item.deployment.recipe: item for item in read_wanted(settings)}.get(deployment.recipe)
    if wanted and not wanted.running:
        name = deployment.recipe
        raise ProcessError(f"{name} is stopped, so nobody serves it; start it with `crucible workers start {name}`.")
    while time.monotonic() < deadline:
        actual = read_actual(settings, deployment.recipe)
        if actual and (actual.alive or actual.beat >= begun):
            served = (actual.bundle, actual.generation, actual.state)
            if served == (deployment.bundle, deployment.generation, "ready") and actual.alive:
                return actual
            if actual.refused_generation == deployment.generation:
                raise ProcessError(f"The worker of {deployment.recipe} refused the bundle: {actual.refusal}")
        time.sleep(0.2)
    last = read_actual(settings, deployment.recipe)
    why = "no worker has started"
    if last:
        why = f"its last word was: {last.message or last.state} ({datetime.fromtimestamp(last.beat, UTC):%H:%M:%S} UTC)"
    if last is None or last.state == "stopped":
        why += "; is a fleet running? Start `crucible up` or `crucible fleet run`"
    raise ProcessError(
        f"Nobody serves generation {deployment.generation} of {deployment.recipe} after {timeout:.0f} s; {why}."
    )


def _actual(row: Sequence[Any], here: str) -> Actual:
    values = dict(zip(_ACTUAL, row, strict=True))
    return Actual(**values, here=values["host"] == here)


def _that_counts(reports: list[Actual]) -> Actual | None:
    ready = (item for item in reports if item.state == "ready" and item.alive)
    return next(ready, reports[0] if reports else None)


def _database(settings: Settings) -> FleetDatabase:
    database = open_database(settings)
    import_files(settings, database, host_id(settings))
    return database


def _select(settings: Settings, table: str, **where: object) -> list[Deployment]:
    conditions = " AND ".join(f"{name} = ?" for name in where)
    names = ", ".join(_DEPLOYMENT)
    rows = _database(settings).query(
        f"SELECT {names} FROM {table} WHERE {conditions} ORDER BY recipe, generation", *where.values()
    )
    return [_deployment(settings, row) for row in rows]


def _deployment(settings: Settings, row: Sequence[Any]) -> Deployment:
    found = Deployment(**dict(zip(_DEPLOYMENT, row, strict=True)))
    ours = settings.bundles / found.bundle
    # bundles are named by their content: another host's path that does not exist here means our copy of the same
    return replace(found, bundle_path=str(ours)) if not Path(found.bundle_path).exists() and ours.exists() else found


def _with_epoch(deployment: Deployment) -> Deployment:
    return deployment if deployment.epoch_seconds > 0 else replace(deployment, epoch_seconds=known_epoch(deployment))
