"""Old runs go, with all that they leave on the disk; what shows that something is made, stays."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from pipelines import retention
from pipelines.retention import DAYS, deletable, delete, old_runs

PARTS = dg.StaticPartitionsDefinition(["a", "b"])


@dg.asset(partitions_def=PARTS)
def made():
    """An asset that prints."""
    print("made")


@dg.op
def looks():
    """An op that makes nothing."""


@dg.op
def breaks():
    """An op that fails."""
    raise ValueError("the disk is full")


@dg.job
def looking():
    """A job that makes nothing."""
    looks()


@dg.job
def breaking():
    """A job that fails."""
    breaks()


@pytest.fixture
def instance(tmp_path):
    """One with files, as a home has."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as found:
        yield found


def make(instance, partition):
    return dg.materialize([made], partition_key=partition, instance=instance).run_id


def test_old_runs_go_but_not_what_made_the_newest(instance, tmp_path):
    first_a, first_b, second_a = make(instance, "a"), make(instance, "b"), make(instance, "a")
    looked = looking.execute_in_process(instance=instance).run_id
    failed = breaking.execute_in_process(instance=instance, raise_on_error=False).run_id
    begun = instance.create_run_for_job(looking, status=dg.DagsterRunStatus.STARTED).run_id
    now = datetime.now(UTC)
    assert deletable(instance, now + DAYS - timedelta(minutes=5)) == []
    found = deletable(instance, now + DAYS + timedelta(minutes=5))
    assert found == [first_a, looked, failed]
    for run_id in found:
        assert list(tmp_path.rglob(f"*{run_id}*"))
        delete(instance, run_id)
        assert list(tmp_path.rglob(f"*{run_id}*")) == []
    assert {run.run_id for run in instance.get_runs()} == {first_b, second_a, begun}
    assert instance.get_materialized_partitions(made.key) == {"a", "b"}
    assert deletable(instance, now + 2 * DAYS) == []


def test_too_many_go_however_young_and_a_tick_says_how_many(instance, monkeypatch):
    runs = [looking.execute_in_process(instance=instance).run_id for _ in range(3)]
    context = dg.build_sensor_context(instance=instance)
    assert old_runs(context).skip_message == "there are no old runs"
    monkeypatch.setattr(retention, "MOST", 1)
    assert old_runs(context).skip_message == "2 of 2 old runs deleted"
    assert [run.run_id for run in instance.get_runs()] == runs[-1:]


def test_a_tick_that_takes_too_long_leaves_the_rest_to_the_next(instance, monkeypatch):
    for _ in range(2):
        looking.execute_in_process(instance=instance)
    monkeypatch.setattr(retention, "MOST", 0)
    monkeypatch.setattr(retention, "_TICK_SECONDS", -1.0)
    assert old_runs(dg.build_sensor_context(instance=instance)).skip_message == "0 of 2 old runs deleted"
