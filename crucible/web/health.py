"""Is a worker well? Judged by what matters: how long ago the chain took a submission, against the topic's epoch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from crucible.web.monitor_files import Monitored
from crucible.web.sources import Summary, Worker
from crucible.web.values import instant, span

Level = Literal["bad", "watch", "good", "off"]

RANK: dict[Level, int] = {"bad": 0, "watch": 1, "good": 2, "off": 3}
"""In which order a person wants to see them."""

LATE, SILENT = 2.0, 3.0
"""Epochs since the last accepted submission after which a worker is late, and after which something is wrong.

A submission that is taken in the middle of every epoch is never older than one and a half.
"""

SHORT, EMPTY = timedelta(days=7), timedelta(days=1)
"""How long the balance must last before a person should know, and before it is urgent."""


@dataclass(frozen=True)
class Health:
    """What to think of a worker, in one word and one sentence."""

    level: Level
    word: str
    sentence: str

    @property
    def rank(self) -> int:
        """Smaller is more urgent."""
        return RANK[self.level]


def health_of(worker: Worker, summary: Summary | None, monitored: Monitored, now: datetime) -> Health:
    """Return the most urgent thing that there is to say about ``worker``.

    Parameters
    ----------
    worker : Worker
        What should run and what does.
    summary : Summary, optional
        Its journal; ``None`` if that could not be read.
    monitored : Monitored
        What the monitor measured, for the runway.
    now : datetime
        The clock's time, UTC.
    """
    found = [*_process(worker), *_submissions(worker, summary, now), *_runway(monitored)]
    if worker.desired is None and not worker.trouble:
        return Health(
            "off", "not deployed", "Nothing is deployed; promote a version and the deploy sensor does the rest."
        )
    if found:
        return min(found, key=lambda health: health.rank)
    if summary is None or not summary.accepted_at or worker.epoch is None:
        return Health("watch", "starting", "Serving; no submission has been accepted so far.")
    return Health("good", "healthy", f"Submitting every {span(worker.epoch)}, as it should.")


def _process(worker: Worker) -> list[Health]:
    desired, actual = worker.desired, worker.actual
    if worker.trouble:
        return [Health("bad", "unreadable", worker.trouble)]
    if desired is None:
        return []
    if actual is None:
        return [Health("bad", "not running", "It is deployed, and no worker has started; is a fleet running?")]
    if actual.state == "failed":
        return [Health("bad", "failed", actual.message or "The worker failed and left no word.")]
    if not actual.alive:
        last = f" Its last word was: {actual.message}." if actual.message else ""
        return [Health("bad", "not running", f"The worker does not run, or hangs.{last}")]
    if actual.refusal and actual.refused_generation == desired.generation:
        return [Health("watch", "refused", f"Generation {desired.generation} was refused: {actual.refusal}")]
    if actual.state == "starting":
        return [Health("watch", "starting", actual.message or "The worker is starting.")]
    return []


def _submissions(worker: Worker, summary: Summary | None, now: datetime) -> list[Health]:
    if summary is None or worker.epoch is None or worker.desired is None:
        return []
    since = instant(summary.accepted_at) or instant(worker.desired.written_at)
    if since is None:
        return []
    late = (now - since) / worker.epoch
    what = "since the last accepted submission" if summary.accepted_at else "since the deployment, and none accepted"
    sentence = f"{late:,.1f} epochs ({span(now - since)}) {what}."
    if late > SILENT:
        return [Health("bad", "silent", sentence)]
    return [Health("watch", "late", sentence)] if late > LATE else []


def _runway(monitored: Monitored) -> list[Health]:
    if monitored.runway is None or monitored.runway > SHORT:
        return []
    level: Level = "bad" if monitored.runway <= EMPTY else "watch"
    return [Health(level, "low balance", f"The balance lasts {span(monitored.runway)} at the present rate.")]
