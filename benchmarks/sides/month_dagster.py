"""Dagster's daemon in a stepped world: sensors and schedules are ticked, and their runs executed in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import dagster as dg

from crucible.bar_stages import fetch_bars
from crucible.monitor.cycle import live_round
from crucible.monitor.drift_watch import check_drift
from crucible.monitor.evidence import note_drift
from crucible.recipe import find_recipe
from crucible.settings import Settings

_SENSORS = {"retraining_due": "answer_topic", "promotion_due": "promote", "rollback_due": "roll_back"}

Tell = Callable[..., None]


class Daemon:
    """Ticks what the daemon ticks, and starts each run key once, as it does.

    Parameters
    ----------
    settings : Settings
        The home, whose environment this process has.
    tell : callable
        Told of every run that decides something.
    """

    def __init__(self, settings: Settings, tell: Tell) -> None:
        from pipelines.definitions import defs  # after the environment: partitions are the home's recipes

        self._settings, self._tell = settings, tell
        self._defs: Any = defs
        self._instance = dg.DagsterInstance.get()
        self._cursor: str | None = None
        self._evaluated: set[str] = set()
        self.skill: list[tuple[str, str, float]] = []
        self.loss: list[tuple[str, str, float]] = []
        self.troubles: tuple[str, ...] = ()
        self.seconds: dict[str, float] = {}
        self.runs: dict[str, int] = {}
        self.failed: list[str] = []

    def close(self) -> None:
        """Let the instance go."""
        self._instance.dispose()

    def sensors(self) -> None:
        """Tick every sensor once and execute what they ask for.

        What `live_due` asks for (bars brought up to date, live evaluation, drift) is done by calling what its three
        assets call: their runs decide nothing, and 240 of them would take longer than everything else. The topic's
        contract is checked daily by the monitor.
        """
        for request in self._tick("live_due", None).run_requests or []:
            if request.run_key not in self._evaluated:
                self._evaluated.add(request.run_key)
                self._evaluate(request.partition_key)
        for name, job in _SENSORS.items():
            for request in self._tick(name, None).run_requests or []:
                self._requested(job, request)
            if name == "retraining_due":
                self._tick(name, None)  # it notes a retraining once Dagster has its run
        self.deploy()

    def deploy(self) -> None:
        """Tick the deploy sensor, and execute what it asks for."""
        found = self._tick("champion_moved", self._cursor)
        self._cursor = found.cursor or self._cursor
        for request in found.run_requests or []:
            self._requested("deploy", request)

    def scheduled(self, recipe: str, at: datetime) -> None:
        """Tick the recipe's schedule at one of its times."""
        context = dg.build_schedule_context(
            instance=self._instance, resources={"home": self._defs.resources["home"]},
            repository_def=self._defs.get_repository_def(), scheduled_execution_time=at,
        )  # fmt: skip
        for request in self._defs.resolve_schedule_def(f"retrain_{recipe}").evaluate_tick(context).run_requests or []:
            self._requested("answer_topic", request)

    def run(self, job: str, recipe: str, tags: dict[str, str] | None = None) -> Any:
        """Execute a job for one recipe in this process, and return its result."""
        begun = time.monotonic()
        done = self._defs.resolve_job_def(job).execute_in_process(
            partition_key=recipe, instance=self._instance, tags=tags or {}, raise_on_error=False
        )
        took = time.monotonic() - begun
        self.seconds[job] = self.seconds.get(job, 0.0) + took
        self.runs[job] = self.runs.get(job, 0) + 1
        if not done.success:
            failure = next(event for event in done.all_events if event.is_failure)
            self.failed.append(f"{job} {recipe}: {failure.message}")
        if job in ("answer_topic", "promote", "roll_back"):
            reason = (tags or {}).get("crucible/reason", "schedule" if job == "answer_topic" and tags else "")
            self._tell(job, recipe, seconds=round(took, 1), reason=reason, **_decided(done))
        return done

    def _requested(self, job: str, request: Any) -> None:
        key = {"dagster/run_key": request.run_key}
        if self._instance.get_runs(dg.RunsFilter(tags=key), limit=1):
            return  # the daemon starts a key once
        self.run(job, request.partition_key, {**request.tags, **key})

    def _evaluate(self, name: str) -> None:
        begun, recipe = time.monotonic(), find_recipe(self._settings.recipes, name)
        fetch_bars(self._settings, recipe)
        self.troubles += live_round(self._settings, recipe).trouble
        report = check_drift(self._settings, recipe)
        note_drift(self._settings, recipe, report)
        for found, heights in ((report.skill, self.skill), (report.loss, self.loss)):
            if found is not None:
                heights.append((self._settings.clock.now().isoformat(), name, round(found.height, 2)))
        self.seconds["live"] = self.seconds.get("live", 0.0) + time.monotonic() - begun
        self.runs["live"] = self.runs.get("live", 0) + 1

    def _tick(self, name: str, cursor: str | None) -> Any:
        context = dg.build_sensor_context(
            instance=self._instance, definitions=self._defs, resources={"home": self._defs.resources["home"]},
            cursor=cursor,
        )  # fmt: skip
        return self._defs.resolve_sensor_def(name).evaluate_tick(context)


def _decided(done: Any) -> dict[str, Any]:
    """Return what a run's materialisations say of verdict, version and decision."""
    found: dict[str, Any] = {}
    for event in done.get_asset_materialization_events():
        values = event.materialization.metadata
        for name in ("verdict", "version", "decision"):
            if name in values:
                found[name] = values[name].value
    return found
