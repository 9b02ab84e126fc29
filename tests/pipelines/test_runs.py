"""Real Dagster runs in this process, over a real practice exchange and a real MLflow store."""

import json
import os
import shutil
from datetime import UTC, datetime, timedelta

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from crucible import lab_stages
from crucible.cli.evaluate import evaluate as evaluate_command
from crucible.clock import ScaledClock
from crucible.errors import GateError, RegistryError
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.run import topic_of
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.signal import plant
from crucible.practice.simulate import SimulatedMarket
from crucible.recipe import find_recipe, parse_recipe
from crucible.registry import models as registry
from crucible.settings import Settings

NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def small_recipe(recipe_text):
    text = recipe_text
    for old, new in (
        ('history = "90d"', 'history = "20d"'),
        ('test = "10d"', 'test = "2d"'),
        ('deployment = "10d"', 'deployment = "2d"'),
        ("trials = 8", "trials = 2"),
        ("folds = 3", "folds = 2"),
        ('min_train = "30d"', 'min_train = "8d"'),
        ("trees = 80", "trees = 20"),
        ("bootstrap = 2000", "bootstrap = 300"),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def home(tmp_path_factory, small_recipe, pytestconfig):
    """One home in which the job has run once."""
    import pipelines.definitions  # noqa: F401 -- partitions are the shipped recipes, whichever test comes first

    folder = tmp_path_factory.mktemp("home")
    recipes = folder / "recipes"
    recipes.mkdir()
    (recipes / "btc_usd_5min.toml").write_text(small_recipe)
    (folder / "data" / "dagster").mkdir(parents=True)
    shutil.copy(pytestconfig.rootpath / "dagster.yaml", folder / "data" / "dagster")
    market = SimulatedMarket(("BTCUSDT",), NOW - timedelta(days=30), 7, plant(0.18, timedelta(minutes=5)))
    clock = ScaledClock(NOW, datetime.now(UTC).timestamp(), 1.0)
    topic = topic_of(parse_recipe(small_recipe, "small"), "testnet", timedelta(seconds=25))
    with (
        EmbeddedExchange(market, clock) as exchange,
        EmbeddedLocalnet([topic], block_seconds=0) as node,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in {
            "CRUCIBLE_HOME": str(folder),
            "CRUCIBLE_RECIPES": str(recipes),
            "CRUCIBLE_EXCHANGE_URL": exchange.url,
            "CRUCIBLE_CLOCK": clock.text(),
            "CRUCIBLE_GRPC_URL": node.grpc_url,
            "DAGSTER_HOME": str(folder / "data" / "dagster"),
        }.items():
            patch.setenv(name, value)
        settings = Settings.load()
        with dg.DagsterInstance.get() as instance:
            yield settings, instance, dict(os.environ)


@pytest.fixture(autouse=True)
def _home_settings(home, monkeypatch):
    for name, value in home[2].items():
        if name.startswith("CRUCIBLE_"):
            monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def defs():
    from pipelines.definitions import defs

    return defs


@pytest.fixture(scope="module")
def first_run(home, defs):
    settings, instance, environ = home
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        job = defs.resolve_job_def("answer_topic")
        run = job.execute_in_process(partition_key="btc_usd_5min", instance=instance, raise_on_error=True)
        # read at once: other tests move the aliases
        aliases = {name: registry.alias_version(settings, "btc_usd_5min", name) for name in ("champion", "challenger")}
        assert aliases == {"champion": 1, "challenger": 1}
        return run


def metadata(run, asset):
    event = next(e for e in run.get_asset_materialization_events() if e.asset_key == dg.AssetKey(asset))
    return event.materialization.metadata


def test_an_unchanged_evaluation_is_read_and_a_changed_one_is_reached_again(home, first_run, monkeypatch):
    settings = home[0]
    recipe = find_recipe(settings.recipes, "btc_usd_5min")
    before = lab_stages.evaluate(settings, recipe)

    def judged(*_):
        raise AssertionError("it was judged again")

    with monkeypatch.context() as patch:
        patch.setattr(lab_stages, "_judge", judged)
        again = lab_stages.evaluate(settings, recipe)
        assert again.verdict.to_json() == before.verdict.to_json()
        assert again.plots == before.plots
        assert again.run_id == before.run_id
        folder = before.page.parent
        content = (folder / "walk_forward.json").read_bytes()
        (folder / "walk_forward.json").write_bytes(content + b" ")
        with pytest.raises(AssertionError, match="judged again"):
            lab_stages.evaluate(settings, recipe)
        (folder / "walk_forward.json").write_bytes(content)


def test_a_challenger_says_what_it_costs_at_work(home, first_run):
    version = registry.get_version(home[0], "btc_usd_5min", 1)
    assert "a prediction takes" in version.tags["operation"]


def test_a_run_goes_from_bars_to_a_champion_with_rich_metadata(first_run):
    assert first_run.success
    assert metadata(first_run, "bars")["dagster/row_count"].value == 20 * 288
    months = {e.partition for e in first_run.get_asset_materialization_events() if e.asset_key.path == ["bar_months"]}
    assert months == {"2025-12-01|binance-BTCUSDT-5m", "2026-01-01|binance-BTCUSDT-5m"}
    assert len(metadata(first_run, "features")["features"].records) == 23
    evaluation = metadata(first_run, "evaluation")
    assert evaluation["verdict"].value == "passed"
    assert len(evaluation["scorecard"].records) == 7
    for plot in ("equity", "calibration", "loss by block"):
        assert evaluation[plot].value.startswith("![plot](data:image/png;base64,iVBOR")
    checks = first_run.get_asset_check_evaluations()
    assert len(checks) > 15
    assert all(check.passed for check in checks)
    assert metadata(first_run, "challenger")["version"].value == 1
    assert metadata(first_run, "champion")["decision"].value == "the gates passed version 1"


def test_every_candidate_is_an_mlflow_run_under_its_evaluation(first_run, home):
    from crucible.registry.tracking import client

    mlflow = client(home[0])
    experiment = mlflow.get_experiment_by_name("btc_usd_5min")
    runs = mlflow.search_runs([experiment.experiment_id])
    parents = sorted(
        (run for run in runs if "mlflow.parentRunId" not in run.data.tags), key=lambda run: run.info.start_time
    )
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    assert {run.info.run_name for run in children} == {"zero", "last_value", "ridge", "lightgbm", "catboost", "mean"}
    ridge = next(run for run in children if run.info.run_name == "ridge")
    assert float(ridge.data.params["alpha"]) > 0
    assert 0.1 <= float(ridge.data.params["shrink"]) <= 1.5
    history = mlflow.get_metric_history(ridge.info.run_id, "fold_loss")
    assert sorted(metric.step for metric in history) == [0, 1, 2, 3]
    assert ridge.inputs.dataset_inputs[0].dataset.digest == parents[0].data.tags["bars_digest"][:32]
    kept = {item.path for item in mlflow.list_artifacts(parents[0].info.run_id)}
    assert {"predictions.parquet", "report.md", "verdict.json", "equity.png", "calibration.png", "bundle"} <= kept


def test_nothing_executable_is_stored(first_run, home):
    bad = {".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".py"}
    files = [path for folder in (home[0].mlruns, home[0].bundles) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if path.suffix in bad] == []


def test_a_second_run_on_the_same_bars_gives_the_same_bundle(first_run, home, defs):
    _, instance, _ = home
    before = metadata(first_run, "challenger")["bundle"].value
    job = defs.resolve_job_def("answer_topic")
    again = job.execute_in_process(partition_key="btc_usd_5min", instance=instance, raise_on_error=True)
    assert metadata(again, "challenger")["bundle"].value == before
    assert metadata(again, "bars")["new rows"].value == 0
    assert metadata(again, "challenger")["version"].value > 1


def test_the_command_line_evaluates_without_dagster(first_run, home):
    done = CliRunner().invoke(evaluate_command, ["btc_usd_5min", "--json"])
    assert done.exit_code == 0, done.output
    verdict = json.loads(done.stdout[done.stdout.index("{") :])
    assert verdict["passed"] is True
    assert verdict["gates"][0]["name"] == "integrity"


def tick(defs, instance, cursor):
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, definitions=defs, resources={"home": defs.resources["home"]}
    )
    return defs.resolve_sensor_def("champion_moved").evaluate_tick(context)


def test_the_sensor_deploys_every_change_and_survives_a_restart(first_run, home, defs):
    settings, instance, _ = home
    for _ in range(2):
        run = registry.versions(settings, "btc_usd_5min")[0]
        registry.client(settings).create_model_version("btc_usd_5min", run.source, tags=dict(run.tags))
    keys, cursor = [], None
    for version in (2, 1, 2):
        # as a person does it in the MLflow UI
        registry.client(settings).set_registered_model_alias("btc_usd_5min", "champion", str(version))
        data = tick(defs, instance, cursor)
        assert [request.partition_key for request in data.run_requests] == ["btc_usd_5min"]
        keys.append(data.run_requests[0].run_key)
        cursor = data.cursor
        assert tick(defs, instance, cursor).run_requests == []
    assert len(set(keys)) == 3
    assert json.loads(cursor) == {"btc_usd_5min": [2, 3]}


def test_the_schedule_waits_for_a_champion(first_run, home, defs, monkeypatch, tmp_path):
    _, instance, _ = home
    schedule = defs.resolve_schedule_def("retrain_btc_usd_5min")

    def evaluate():
        context = dg.build_schedule_context(
            instance=instance,
            resources={"home": defs.resources["home"]},
            repository_def=defs.get_repository_def(),
            scheduled_execution_time=NOW,
        )
        return schedule.evaluate_tick(context)

    assert [request.partition_key for request in evaluate().run_requests] == ["btc_usd_5min"]
    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path))
    assert "no champion yet" in evaluate().skip_message


def test_promotion_against_the_verdict_needs_a_reason_which_is_kept(first_run, home):
    settings, _, _ = home
    name = "btc_usd_5min"
    newest = registry.versions(settings, name)[0]
    tags = {**newest.tags, "verdict": "refused", "verdict_reasons": "grade F (0 of 7), C is required"}
    made = registry.client(settings).create_model_version(name, newest.source, tags=tags)
    number = int(made.version)
    before = registry.alias_version(settings, name, "champion")
    with pytest.raises(GateError, match=r"grade F .* crucible promote btc_usd_5min --version \d+ --override"):
        registry.promote(settings, name, number)
    assert registry.alias_version(settings, name, "champion") == before
    registry.promote(settings, name, number, override="a person decided")
    promoted = registry.get_version(settings, name, number)
    assert "champion" in promoted.aliases
    assert promoted.tags["override_reason"] == "a person decided"
    assert promoted.tags["promoted_by"] == "override"
    with pytest.raises(RegistryError, match="no version 999; there are: 1"):
        registry.promote(settings, name, 999)


def test_deploying_without_a_fleet_says_what_to_start(first_run, home):
    from crucible import stages
    from crucible.errors import ProcessError
    from crucible.worker.deployment import read_desired

    settings, _, _ = home
    recipe = parse_recipe((settings.recipes / "btc_usd_5min.toml").read_text(), "r")
    with pytest.raises(ProcessError, match="no worker has started; is a fleet running"):
        stages.deploy_champion(settings, recipe, patience=0.5)
    desired = read_desired(settings, recipe.name)
    assert desired is not None
    assert (settings.bundles / desired.bundle / "manifest.json").exists()


def test_bad_bars_stop_everything_downstream(first_run, home, defs):
    from crucible import bar_stages
    from crucible.errors import SchemaError
    from crucible.market.quarantine import accept, quarantined
    from crucible.market.store import Series

    settings, instance, _ = home
    store, series = bar_stages.bar_store(settings), Series("binance", "BTCUSDT", timedelta(minutes=5))
    path = next(settings.bars.rglob("month=2026-01/bars.parquet"))
    good = path.read_bytes()
    try:
        # written behind the store's back, as a bad disk or a careless hand would
        table = pq.read_table(path, partitioning=None).to_pydict()
        table["close"][3] = -1.0
        pq.write_table(pa.table(table, schema=pq.read_schema(path)), path)
        job = defs.resolve_job_def("answer_topic")
        run = job.execute_in_process(partition_key="btc_usd_5min", instance=instance, raise_on_error=False)
        assert not run.success
        done = {event.asset_key.to_user_string() for event in run.get_asset_materialization_events()}
        assert done <= {"bars", "bar_months", "contract"}
        failed = {check.check_name for check in run.get_asset_check_evaluations() if not check.passed}
        assert failed == {"close_positive", "low_is_lowest", "nothing_in_quarantine"}
        entry = quarantined(store, series)[0]
        assert (entry.month, path.exists()) == ("2026-01", False)
        with pytest.raises(SchemaError, match=r"close is -1\.0 in row 3"):
            accept(store, entry, "it looked fine to me")
        assert quarantined(store, series) == [entry]
    finally:
        shutil.rmtree(settings.bars / "quarantine", ignore_errors=True)
        store.ledger(series).forget()
        path.write_bytes(good)


def test_a_month_is_fetched_by_itself(first_run, home, defs):
    settings, instance, _ = home
    path = next(settings.bars.rglob("month=2026-01/bars.parquet"))
    before = pq.read_table(path, partitioning=None)
    path.unlink()
    job = defs.resolve_implicit_global_asset_job_def()
    key = dg.MultiPartitionKey({"series": "binance-BTCUSDT-5m", "month": "2026-01-01"})
    run = job.execute_in_process(
        partition_key=key, instance=instance, asset_selection=[dg.AssetKey("bar_months")], raise_on_error=True
    )
    told = metadata(run, "bar_months")
    assert told["new rows"].value == told["dagster/row_count"].value == before.num_rows
    assert told["close"].value.startswith("![plot](data:image/svg+xml;base64,")
    assert pq.read_table(path, partitioning=None).equals(before)


def test_every_month_of_every_stored_series_is_a_partition():
    from pipelines.partitions import MONTHS, month_of

    keys = MONTHS.get_partition_keys()
    assert len(keys) > 100
    data, month = month_of(keys[0])
    assert (data.symbol, month) == ("BTCUSDT", "2017-08")
