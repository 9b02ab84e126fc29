"""Old runs are deleted: with one live evaluation an hour and recipe, a home would grow by half a gigabyte a month."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from crucible.clock import SystemClock

DAYS = timedelta(days=30)
"""A run that has ended is kept for so long from when it was asked for, in real time."""

MOST = 2_000
"""No more runs than the newest so many are kept: a practice world makes a day's runs in minutes."""

_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_TICK_SECONDS = 20.0  # a tick may take a minute
_AT_ONCE = 500


@dg.sensor(
    minimum_interval_seconds=3600, default_status=dg.DefaultSensorStatus.RUNNING,
    description="Deletes runs that ended a month ago, but those that made what is newest. It starts none.",
)  # fmt: skip
def old_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Delete what :func:`deletable` finds, oldest first, for twenty seconds at most; the next tick goes on."""
    until, count = time.monotonic() + _TICK_SECONDS, 0
    found = deletable(context.instance, SystemClock().now())
    for run_id in found:
        if time.monotonic() > until:
            break
        delete(context.instance, run_id)
        count += 1
    return dg.SkipReason(f"{count} of {len(found)} old runs deleted" if found else "there are no old runs")


def deletable(instance: dg.DagsterInstance, now: datetime) -> Sequence[str]:
    """Return the runs that ended, are old or too many, and made nothing that is the newest; oldest first."""
    ended = instance.get_run_records(dg.RunsFilter(statuses=_ENDED))  # newest first
    old = [
        record.dagster_run.run_id
        for place, record in enumerate(ended)
        if place >= MOST or now - record.create_timestamp > DAYS
    ]
    kept = set(_newest(instance)) if old else set()
    return [run_id for run_id in reversed(old) if run_id not in kept]


def delete(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run with its events and its output."""
    instance.delete_run(run_id)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    # SQLite has a file per run, which Dagster empties and leaves: a hundred kilobytes each
    if file_of := getattr(instance.event_log_storage, "path_for_shard", None):
        Path(file_of(run_id)).unlink(missing_ok=True)


def _newest(instance: dg.DagsterInstance) -> Iterator[str]:
    """Yield the runs that made the newest materialisation of any asset and partition: without them it were missing."""
    made = dg.DagsterEventType.ASSET_MATERIALIZATION
    for key in instance.get_asset_keys():
        if event := instance.get_latest_materialization_event(key):
            yield event.run_id
        ids = list(instance.get_latest_storage_id_by_partition(key, made).values())
        for begin in range(0, len(ids), _AT_ONCE):
            wanted = dg.AssetRecordsFilter(asset_key=key, storage_ids=ids[begin : begin + _AT_ONCE])
            yield from (record.run_id for record in instance.fetch_materializations(wanted, limit=_AT_ONCE).records)
