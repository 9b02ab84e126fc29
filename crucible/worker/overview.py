"""Every worker of a fleet on one page: what is wanted, who serves it where, and whether it earns its keep."""

from __future__ import annotations

from dataclasses import dataclass

from crucible.clock import SystemClock
from crucible.settings import Settings
from crucible.worker.deployment import Actual, Wanted, journal_path, read_actual, read_wanted
from crucible.worker.fleet_database import open_database
from crucible.worker.journal import read_newest
from crucible.worker.lease import LeaseWatch
from crucible.worker.supervision import LATE_EPOCHS, LATE_SECONDS, epoch_wall


@dataclass(frozen=True)
class WorkerLine:
    """One worker.

    Attributes
    ----------
    state : str
        ``ready``, ``late`` (none accepted for three epochs and a minute), ``starting``, ``standby``, ``failed``,
        ``not running``, or ``stopped`` by a person.
    host : str
        Where it runs or ran last.
    holder : str
        The host that may sign, empty for none.
    wanted_generation, generation : int
        What should be and what is served.
    last_submission : str
        The newest journal row's state; of this host's journal only.
    silent_epochs, silence : float or None
        Epochs since the last accepted submission; seconds since the heartbeat.
    """

    recipe: str
    state: str
    topic_id: int
    wallet: str
    host: str
    holder: str
    model_version: int
    bundle: str
    wanted_generation: int
    generation: int
    last_nonce: int
    last_submission: str
    silent_epochs: float | None
    silence: float | None
    message: str


def overview(settings: Settings) -> list[WorkerLine]:
    """Return every deployment of the fleet, by recipe.

    Raises
    ------
    StoreError
        If the database or a journal cannot be read.
    """
    watch = LeaseWatch(open_database(settings), settings.chain_id)
    watch.look()
    return [_line(settings, wanted, watch) for wanted in read_wanted(settings)]


def _line(settings: Settings, wanted: Wanted, watch: LeaseWatch) -> WorkerLine:
    desired = wanted.deployment
    actual = read_actual(settings, desired.recipe)
    lease = watch.lease(desired.wallet, desired.topic_id)
    submissions = read_newest(
        journal_path(settings, desired.recipe), 1,
        chain_id=settings.chain_id, topic_id=desired.topic_id, role=desired.role,
    )  # fmt: skip
    silent = None
    if actual is not None and actual.accepted_at:
        silent = (SystemClock().now().timestamp() - actual.accepted_at) / epoch_wall(wanted, settings.clock)
    return WorkerLine(
        recipe=desired.recipe,
        state=_state(wanted, actual, silent),
        topic_id=desired.topic_id,
        wallet=desired.wallet,
        host=actual.host if actual else "",
        holder=lease.host if lease else "",
        model_version=actual.model_version if actual else 0,
        bundle=actual.bundle if actual else "",
        wanted_generation=desired.generation,
        generation=actual.generation if actual else 0,
        last_nonce=actual.last_nonce if actual else 0,
        last_submission=submissions[-1].state if submissions else "none",
        silent_epochs=None if silent is None else round(silent, 1),
        silence=round(actual.silence, 1) if actual and actual.alive else None,
        message=_message(desired.generation, actual),
    )


def _state(wanted: Wanted, actual: Actual | None, silent: float | None) -> str:
    if not wanted.running:
        return "stopped"
    if actual is None or not actual.alive:
        return "failed" if actual is not None and actual.state == "failed" else "not running"
    silence = SystemClock().now().timestamp() - actual.accepted_at
    late = actual.state == "ready" and silent is not None and silent > LATE_EPOCHS and silence > LATE_SECONDS
    return "late" if late else actual.state


def _message(generation: int, actual: Actual | None) -> str:
    if actual is None:
        return "no worker has started"
    if actual.refusal and actual.refused_generation == generation:
        return f"generation {generation} refused: {actual.refusal}"
    return actual.message
