"""Desired and actual state of a worker, as files: who should serve which bundle, and who does."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import psutil

from crucible.clock import SystemClock
from crucible.errors import ProcessError, StoreError
from crucible.process import write_json
from crucible.settings import Settings

_T = TypeVar("_T")

BEAT_SECONDS = 2.0
"""How often a worker reports, in real time."""

STALE_SECONDS = 10.0
"""A heartbeat older than this (real time) means that the worker does not run, or hangs."""


@dataclass(frozen=True)
class Deployment:
    """What should be served.

    ``generation`` rises by one with every deployment, so that going back to an earlier bundle is a change too.
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


@dataclass(frozen=True)
class Actual:
    """What a worker process reports of itself, every two seconds.

    Attributes
    ----------
    pid, started : int, float
        Process id and its start time: together they identify a process, a pid alone does not.
    state : str
        ``starting``, ``ready``, ``stopped`` or ``failed``.
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

    @property
    def alive(self) -> bool:
        """Whether this very process still runs and has reported lately."""
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


def desired_path(settings: Settings, recipe: str) -> Path:
    """Return where the desired state of ``recipe`` is kept."""
    return settings.fleet / "desired" / f"{recipe}.json"


def journal_path(settings: Settings, recipe: str) -> Path:
    """Return where the worker of ``recipe`` keeps its journal."""
    return settings.fleet / "journal" / f"{recipe}.db"


def write_desired(settings: Settings, deployment: Deployment) -> None:
    """Ask for ``deployment``; the fleet obeys it, now or when it starts."""
    write_json(desired_path(settings, deployment.recipe), asdict(deployment))


def read_desired(settings: Settings, recipe: str) -> Deployment | None:
    """Return what is asked for, or ``None``."""
    return _read(desired_path(settings, recipe), Deployment)


def write_served(settings: Settings, deployment: Deployment) -> None:
    """Remember what a worker serves, for a restart that finds the desired bundle unusable."""
    path = settings.fleet / "served" / f"{deployment.recipe}.json"
    if _read(path, Deployment) != deployment:
        write_json(path, asdict(deployment))


def read_served(settings: Settings, recipe: str) -> Deployment | None:
    """Return what was served last, or ``None``."""
    return _read(settings.fleet / "served" / f"{recipe}.json", Deployment)


def write_actual(settings: Settings, actual: Actual) -> None:
    """Report what a worker does."""
    write_json(settings.fleet / "actual" / f"{actual.recipe}.json", asdict(actual))


def read_actual(settings: Settings, recipe: str) -> Actual | None:
    """Return the newest report, or ``None`` where no worker ever ran."""
    return _read(settings.fleet / "actual" / f"{recipe}.json", Actual)


def wait_served(settings: Settings, deployment: Deployment, timeout: float) -> Actual:
    """Wait until the running worker reports this bundle and generation.

    Parameters
    ----------
    timeout : float
        Seconds of real time.

    Raises
    ------
    ProcessError
        If the worker refuses the bundle, or does not report it in time.
    """
    deadline = time.monotonic() + timeout
    begun = SystemClock().now().timestamp()
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


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return kind(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:  # TypeError: JSON, but not of this kind
        raise StoreError(f"{path} is damaged ({error}); delete it and deploy again.") from error


def desired_of(settings: Settings, wallet: str) -> list[Deployment]:
    """Return every deployment that is desired to run with ``wallet``, by recipe."""
    found = [read_desired(settings, path.stem) for path in sorted((settings.fleet / "desired").glob("*.json"))]
    return [deployment for deployment in found if deployment is not None and deployment.wallet == wallet]
