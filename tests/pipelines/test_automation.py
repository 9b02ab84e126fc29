"""The sensors, each under repeated and lost ticks; the instance that dagster.yaml describes."""

import shutil
from datetime import UTC, datetime, timedelta

import dagster as dg
import numpy as np
import pytest

from crucible.clock import ScaledClock
from crucible.errors import StoreError
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.run import topic_of
from crucible.models.bundle import Training, write_bundle
from crucible.models.candidates import build_model
from crucible.monitor import admission, evidence
from crucible.monitor.drift_watch import DriftReport
from crucible.monitor.retrain import Waiting
from crucible.monitor.rollback import Rollback, Verdict
from crucible.monitor.store import monitor_store
from crucible.recipe import find_recipe
from crucible.settings import Settings
from crucible.worker.deployment import Deployment, write_desired

NOW = datetime(2026, 2, 2, 12, 0, 30, tzinfo=UTC)  # a Monday: what persists asks again only in the next week
NAME = "btc_usd_5min"


@pytest.fixture(scope="module")
def defs():
    from pipelines.definitions import defs

    return defs


@pytest.fixture
def home(tmp_path, pytestconfig, monkeypatch):
    """An empty home with the shipped recipes."""

    def at(now):
        monkeypatch.setenv("CRUCIBLE_CLOCK", ScaledClock.starting(now, 1.0).text())
        return Settings.load()

    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path))
    monkeypatch.setenv("CRUCIBLE_RECIPES", str(pytestconfig.rootpath / "recipes"))
    monkeypatch.setenv("CRUCIBLE_GRPC_URL", "grpc+http://127.0.0.1:9")
    return at


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def recipe(home):
    return find_recipe(home(NOW).recipes, NAME)


def deploy(settings, recipe, generation=1, at=NOW, scale=1e-3):
    from crucible.features.library import CORE

    model = build_model("last_value", recipe, CORE.names)
    model.fit(np.zeros((50, len(CORE.names))), np.linspace(-scale, scale, 50))
    training = Training("0" * 64, int(scale * 1e4), "2026-01-01T00:00:00+00:00", "2026-01-20T00:00:00+00:00")
    bundle = write_bundle(settings.bundles, recipe, "last_value", CORE.names, training, model)
    write_desired(
        settings,
        Deployment(NAME, generation, bundle.digest, str(bundle.path), generation, 77, "w", at.isoformat()),
    )
    return bundle


def tick(defs, instance, name):
    context = dg.build_sensor_context(
        instance=instance, definitions=defs, resources={"home": defs.resources["home"]}, cursor=None
    )
    data = defs.resolve_sensor_def(name).evaluate_tick(context)
    assert data.cursor is None  # nothing is remembered, so that nothing can be forgotten
    return {request.run_key: request for request in data.run_requests or []}


def test_live_evaluation_is_due_once_an_hour_of_the_homes_clock(defs, instance, home, recipe):
    assert tick(defs, instance, "live_due") == {}  # nothing is deployed
    deploy(home(NOW), recipe, at=NOW - timedelta(minutes=30))
    assert tick(defs, instance, "live_due") == {}  # there is nothing to evaluate yet
    deploy(home(NOW), recipe, at=NOW - timedelta(hours=1))
    [first] = tick(defs, instance, "live_due").values()
    assert first.partition_key == NAME
    home(NOW + timedelta(minutes=50))
    assert list(tick(defs, instance, "live_due")) == [first.run_key]
    home(NOW + timedelta(minutes=61))
    [second] = tick(defs, instance, "live_due")
    assert second != first.run_key


def test_a_recipe_that_cannot_be_looked_at_keeps_no_other_from_it(defs, instance, home, recipe, monkeypatch):
    from crucible.monitor import rollback

    settings, other = home(NOW), "btc_usd_8h"
    for number, name in enumerate((NAME, other)):
        write_desired(settings, Deployment(name, 1, "b" * 64, "b", 1, 77 + number, "w", "2026-01-01T00:00:00+00:00"))
    found = {}

    def review(_, looked_at):
        if looked_at.name == NAME:
            raise StoreError("The bars are damaged.")
        return found.get(looked_at.name)

    monkeypatch.setattr(rollback, "review", review)
    with pytest.raises(StoreError, match="The bars are damaged"):  # nothing is asked for of the other one
        tick(defs, instance, "rollback_due")
    found[other] = Rollback(Verdict(True, 96, 1, 0.001, 0.006, "worse"), 2, "b" * 64, 1, "a" * 64)
    assert [key.split(":")[1] for key in tick(defs, instance, "rollback_due")] == [other]


def drifted(settings, recipe, bundle):
    from crucible.monitor.drift import Finding

    finding = Finding("rsi", "ks", 0.5, 0.1, 1e-9, 1e-8, True)
    evidence.note_drift(settings, recipe, DriftReport(bundle.digest, (finding,), None, "", ()))


def test_drift_that_lasts_retrains_once_whatever_happens_to_the_tick(defs, instance, home, recipe, monkeypatch):
    settings = home(NOW)
    bundle = deploy(settings, recipe)
    drifted(settings, recipe, bundle)
    assert tick(defs, instance, "retraining_due") == {}  # for a few hours it may be nothing
    settings = home(NOW + timedelta(hours=7))
    first = tick(defs, instance, "retraining_due")
    [(key, request)] = first.items()
    assert request.tags["crucible/reason"] == "drift"
    # a tick whose requests were lost is repeated, under the same key
    assert tick(defs, instance, "retraining_due").keys() == first.keys()
    assert evidence.history(settings, NAME) == []
    # once Dagster has the run, it is noted, also while its challenger is waited for, and nothing more is asked for
    job = defs.resolve_job_def("answer_topic")
    instance.create_run_for_job(job, tags={"dagster/run_key": key})
    waits = Waiting("version 2 has 0 of 50 live epochs", NOW + timedelta(days=1))
    with monkeypatch.context() as patched:
        patched.setattr(admission, "waiting", lambda *_: waits)
        assert tick(defs, instance, "retraining_due") == {}
    assert [past.reason for past in evidence.history(settings, NAME)] == ["drift"]
    for hours in (8, 30, 100):
        home(NOW + timedelta(hours=hours))
        assert tick(defs, instance, "retraining_due") == {}


def test_a_scheduled_retraining_is_noted_and_starts_the_pause(defs, instance, home, recipe, monkeypatch):
    from crucible.registry import models

    settings = home(NOW)
    bundle = deploy(settings, recipe)
    drifted(settings, recipe, bundle)
    settings = home(NOW + timedelta(hours=7))
    monkeypatch.setattr(models, "alias_version", lambda *_: 1)
    context = dg.build_schedule_context(
        instance=instance, resources={"home": defs.resources["home"]}, repository_def=defs.get_repository_def(),
        scheduled_execution_time=NOW,
    )  # fmt: skip
    schedule = defs.resolve_schedule_def(f"retrain_{NAME}")
    waits = Waiting("version 2 has 3 of 50 live epochs", NOW + timedelta(hours=8))
    monkeypatch.setattr(admission, "waiting", lambda *_: waits)
    assert schedule.evaluate_tick(context).skip_message == f"{NAME}: {waits.sentence}; another would take its place."
    assert evidence.history(settings, NAME) == []
    monkeypatch.setattr(admission, "waiting", lambda *_: Waiting(waits.sentence, NOW + timedelta(hours=7)))
    keys = {schedule.evaluate_tick(context).run_requests[0].run_key for _ in range(2)}
    assert len(keys) == 1
    assert [past.reason for past in evidence.history(settings, NAME)] == ["schedule"]
    assert tick(defs, instance, "retraining_due") == {}
    home(NOW + timedelta(hours=14))
    assert len(tick(defs, instance, "retraining_due")) == 1


def test_a_rollback_is_requested_once_per_tenure(defs, instance, home, recipe, monkeypatch):
    from crucible.monitor import rollback

    settings = home(NOW)
    deploy(settings, recipe)
    assert tick(defs, instance, "rollback_due") == {}
    verdict = Verdict(True, 96, 1, 1e-6, 0.006, "worse than before it")
    decided = Rollback(verdict, 2, "b2", 1, "b1")
    monkeypatch.setattr(rollback, "review", lambda _, recipe: decided if recipe.name == NAME else None)
    keys = {key for _ in range(3) for key in tick(defs, instance, "rollback_due")}
    assert len(keys) == 1
    deploy(settings, recipe, generation=2, at=NOW + timedelta(hours=1), scale=2e-3)
    later = set(tick(defs, instance, "rollback_due"))
    assert (len(later), later & keys) == (1, set())


def test_deployed_topics_are_checked_daily(defs, instance, home, recipe):
    settings = home(NOW)
    assert tick(defs, instance, "topic_check_due") == {}
    deploy(settings, recipe, at=NOW - timedelta(hours=2))
    first = tick(defs, instance, "topic_check_due")
    assert {request.partition_key for request in first.values()} == {NAME}
    assert tick(defs, instance, "topic_check_due").keys() == first.keys()
    home(NOW + timedelta(days=1))
    assert not tick(defs, instance, "topic_check_due").keys() & first.keys()


def test_a_challenger_is_looked_at_again_when_its_time_is_over(defs, instance, home, recipe, monkeypatch, tmp_path):
    from crucible.monitor import admission
    from crucible.registry import models

    folder = tmp_path / "recipes"
    shutil.copytree(home(NOW).recipes, folder)
    path = folder / f"{NAME}.toml"
    path.write_text(path.read_text() + "live_epochs = 50\n")
    monkeypatch.setenv("CRUCIBLE_RECIPES", str(folder))
    home(NOW)
    monkeypatch.setattr(models, "alias_version", lambda _, name, alias: {"challenger": 4, "champion": 3}[alias])
    version = models.Version(4, ("challenger",), {"verdict": "passed"}, "")
    monkeypatch.setattr(models, "get_version", lambda *_: version)
    waits = ["version 4 has 3 of 50 live epochs"]
    monkeypatch.setattr(admission, "why_not", lambda *_: waits[0])
    assert tick(defs, instance, "promotion_due") == {}
    waits[0] = ""
    assert list(tick(defs, instance, "promotion_due")) == [f"promote:{NAME}:v4"]
    # one that was champion before is not taken again
    monkeypatch.setattr(
        models, "get_version", lambda *_: models.Version(4, (), {**version.tags, "promoted_at": "x"}, "")
    )
    assert tick(defs, instance, "promotion_due") == {}


@dg.op
def breaks():
    """An op that fails."""
    raise ValueError("the disk is full")


@dg.job(tags={"dagster/partition": NAME})
def breaking():
    """A job that fails."""
    breaks()


@pytest.mark.parametrize("retried", [True, False])
def test_a_failed_run_is_noted_unless_it_is_tried_again(defs, instance, home, retried):
    settings = home(NOW)
    tags = {"dagster/will_retry": "true"} if retried else {}
    done = breaking.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
    event = next(event for event in done.all_events if event.is_run_failure)
    context = dg.build_run_status_sensor_context(
        "run_failed", event, instance, done.dagster_run, resources={"home": defs.resources["home"]}
    ).for_run_failure()  # fmt: skip
    for _ in range(2):
        defs.resolve_sensor_def("run_failed")(context)
    found = monitor_store(settings).events("run failed")
    assert [(item.recipe, item.detail["job"]) for item in found] == ([] if retried else [(NAME, "breaking")])


def test_drift_follows_every_live_evaluation(defs, home):
    """A declarative condition, evaluated by Dagster's own machinery."""
    home(NOW)
    with dg.DagsterInstance.ephemeral() as instance:
        selection = dg.AssetSelection.assets("drift")
        first = dg.evaluate_automation_conditions(defs, instance, selection)
        assert first.total_requested == 0
        instance.report_runless_asset_event(dg.AssetMaterialization("live", partition=NAME))
        second = dg.evaluate_automation_conditions(defs, instance, selection, cursor=first.cursor)
        assert second.get_requested_partitions(dg.AssetKey("drift")) == {NAME}
        third = dg.evaluate_automation_conditions(defs, instance, selection, cursor=second.cursor)
        assert third.total_requested == 0


def test_a_broken_contract_fails_its_check_and_blocks_the_champion(defs, instance, home, recipe, monkeypatch):
    home(NOW)
    job = defs.resolve_job_def("check_topic")

    def check():
        done = job.execute_in_process(partition_key=NAME, instance=instance, raise_on_error=False)
        [found] = done.get_asset_check_evaluations()
        return found

    silent = check()
    assert (silent.passed, silent.severity) == (
        False,
        dg.AssetCheckSeverity.WARN,
    )  # nothing is known, nothing is blocked
    with EmbeddedLocalnet([topic_of(recipe, "testnet", timedelta(seconds=25))], block_seconds=0) as node:
        monkeypatch.setenv("CRUCIBLE_GRPC_URL", node.grpc_url)
        assert check().passed
        node.core.topics[77].spec = topic_of(
            recipe.model_copy(update={"topic": recipe.topic.model_copy(update={"loss": "abse"})}), "testnet",
            timedelta(seconds=25),
        )  # fmt: skip
        broken = check()
    assert (broken.passed, broken.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "the loss method is abse" in broken.metadata["broken"].value
    graph = defs.resolve_asset_graph()
    [key] = [key for key in graph.asset_check_keys if key.name == "topic_contract"]
    assert graph.get(key).blocking


def test_the_shipped_dagster_yaml_loads_and_says_what_it_should(tmp_path, pytestconfig, monkeypatch):
    shutil.copy(pytestconfig.rootpath / "dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds == 6 * 3600
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 2
        assert not instance.run_retries_retry_on_asset_or_op_failure
        pools = instance.get_concurrency_config().pool_config
        assert (pools.default_pool_limit, str(pools.pool_granularity.value)) == (1, "op")
        [limit] = instance.get_concurrency_config().run_queue_config.tag_concurrency_limits
        assert (limit["key"], limit["limit"]) == ("crucible/work", 1)
        assert instance.get_settings("freshness") == {"enabled": True}


def test_every_writer_has_a_pool_and_what_is_fetched_is_tried_again(defs):
    graph = defs.resolve_asset_graph()
    pools = {"bars": "bars", "bar_months": "bars", "champion": "registry", "deployment": "deploy", "live": "monitor",
             "drift": "monitor", "contract": "monitor"}  # fmt: skip
    for name, pool in pools.items():
        assert graph.get(dg.AssetKey(name)).pools == {pool}
    for name in ("bars", "live"):
        assert graph.get(dg.AssetKey(name)).freshness_policy is not None
