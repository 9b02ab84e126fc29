"""What speaks for retraining, and the drift of a deployed model, from files."""

import asyncio
from dataclasses import asdict
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from conftest_monitor import FIVE, NOW, closes

from crucible.bar_stages import bar_store
from crucible.errors import EvaluationError
from crucible.features.dataset import build_dataset
from crucible.features.dataset_file import dataset_path, write_dataset
from crucible.market.recipe_bars import bars_digest, series_of
from crucible.monitor import evidence
from crucible.monitor.collect import collect
from crucible.monitor.drift import Finding
from crucible.monitor.drift_watch import DriftReport, check_drift
from crucible.monitor.retrain import decide
from crucible.monitor.store import monitor_store
from crucible.process import write_json
from crucible.stage_records import Current, current_file, evaluation_folder
from crucible.validation.fits import known_scale
from crucible.validation.predictions import OutOfSample, write_predictions

DAYS = 30


@pytest.fixture
def trained(home, recipe, make_bars, make_bundle, deploy):
    """A deployed model, features of 28 of 30 stored days, and the predictions that it was judged by."""
    bars = make_bars(DAYS * 288, seed=8)
    store = bar_store(home)
    store.write(series_of(recipe.data), bars, source="test")
    start, end = bars["open_time"][0].as_py(), bars["open_time"][28 * 288].as_py()
    dataset = build_dataset(bars.slice(0, 28 * 288), recipe)
    digest = bars_digest(store, recipe.data, start, end)
    current = Current(
        recipe.digest, digest, "f" * 64, "r" * 64, start.isoformat(), end.isoformat(), end.isoformat()
    )  # fmt: skip
    write_dataset(dataset_path(home.features, recipe, digest), dataset)
    write_json(current_file(home, recipe), asdict(current))
    generator = np.random.default_rng(4)
    folder = evaluation_folder(home, recipe, current)
    folder.mkdir(parents=True)
    predicted = 1e-4 * generator.normal(size=len(dataset.y))
    oos = OutOfSample(
        dataset.times, np.zeros(len(dataset.y), int), dataset.close, dataset.y, {"last_value": predicted},
        known_scale(dataset.y, 1),
    )  # fmt: skip
    write_predictions(folder / "predictions.parquet", oos)
    bundle = make_bundle("last_value", last=str(end.isoformat()))
    deploy(bundle)
    return bundle, bars, end


def test_a_market_that_goes_on_does_not_drift_and_one_that_breaks_does(home, recipe, trained, submit, make_bars):
    bundle, bars, end = trained
    report = check_drift(home, recipe)
    assert report.moved == ()
    assert {item.column for item in report.findings} >= {"return_1", "volatility_6"}
    assert not {item.column for item in report.findings} & {"hour_sin", "hour_cos"}
    assert any("epochs are known so far" in sentence for sentence in report.skipped)
    evidence.note_drift(home, recipe, report)
    assert evidence.gather(home, recipe) == []

    # the newest day, five times as wild
    store, series = bar_store(home), series_of(recipe.data)
    table = store.read(series, end + timedelta(days=1), None).to_pydict()
    rng = np.random.default_rng(5)
    close = table["open"][0] * np.exp(np.cumsum(rng.normal(0, 5e-3, len(table["close"]))))
    opened = np.concatenate([[table["open"][0]], close[:-1]])
    wild = pa.table(
        {"open_time": table["open_time"], "open": opened, "high": np.maximum(opened, close) * 1.003,
         "low": np.minimum(opened, close) * 0.997, "close": close, "volume": table["volume"]}, schema=bars.schema,
    )  # fmt: skip
    store.write(series, wild, source="test")
    report = check_drift(home, recipe)
    assert {item.column for item in report.moved} & {"volatility_6", "volatility_12", "parkinson"}
    evidence.note_drift(home, recipe, report)
    [found] = evidence.gather(home, recipe)
    assert found.reason == "drift"
    assert found.mark.startswith(f"drift:{bundle.digest[:12]}:2026-")
    # the same report later does not begin anew
    evidence.note_drift(home, recipe, report)
    assert evidence.gather(home, recipe)[0].since == found.since


def test_predictions_residuals_and_loss_are_compared_with_the_evaluation(home, recipe, trained, submit):
    bundle, bars, end = trained
    price, rng = closes(bars), np.random.default_rng(6)
    times = [end + at * FIVE for at in range(1, 161)]
    submit(bundle, times, [price[time] * np.exp(1e-4 * rng.normal()) for time in times])
    asyncio.run(collect(home, recipe, None))
    report = check_drift(home, recipe)
    assert {"prediction", "residual"} <= {item.column for item in report.findings}
    assert report.moved == ()
    assert (report.against, report.decayed, report.skipped) == ("zero", False, ())
    assert report.to_json()["loss"]["alarm"] is False


def test_without_a_deployment_nothing_drifts(home, recipe, stored):
    with pytest.raises(EvaluationError, match="Nothing is deployed"):
        check_drift(home, recipe)
    assert evidence.gather(home, recipe) == []


def test_repaired_bars_speak_for_it_once(home, recipe, trained):
    assert evidence.gather(home, recipe) == []
    store, series = bar_store(home), series_of(recipe.data)
    table = store.read(series).slice(100, 1).to_pydict()
    table["volume"] = [table["volume"][0] * 2]
    mended = pa.table(table, schema=store.read(series).schema)
    store.write(series, mended, source="repair")
    [found] = evidence.gather(home, recipe)
    assert (found.reason, found.sentence) == ("bars", "bars of the history were repaired")
    now = home.clock.now()
    assert decide(now, [found], evidence.history(home, recipe.name)).go
    assert evidence.note_retraining(home, recipe.name, found.reason, found.mark, now)
    assert not evidence.note_retraining(home, recipe.name, found.reason, found.mark, now)
    assert not decide(now, [found], evidence.history(home, recipe.name)).go


def test_decay_counts_only_for_the_bundle_that_it_was_seen_of(home, recipe, trained, make_bundle, deploy):
    bundle = trained[0]
    from crucible.monitor.cusum import Sum

    height = Sum(80.0, 65.0, 3, np.array([80.0]))
    report = DriftReport(bundle.digest, (), height, "network", ())
    evidence.note_drift(home, recipe, report)
    assert [item.reason for item in evidence.gather(home, recipe)] == ["decay"]
    deploy(make_bundle("ridge"), generation=2, version=2)
    assert evidence.gather(home, recipe) == []


def test_history_knows_what_came_of_a_run(home, recipe, trained, make_bundle, deploy):
    from crucible.monitor.champions import note_deployment

    deploy(trained[0], at=NOW - timedelta(days=5))
    note_deployment(home, recipe.name)
    evidence.note_retraining(home, recipe.name, "drift", "a", NOW - timedelta(days=3))
    evidence.note_retraining(home, recipe.name, "schedule", "b", NOW - timedelta(days=2))
    deploy(make_bundle("ridge"), generation=2, version=2, at=NOW - timedelta(days=1))
    note_deployment(home, recipe.name)
    assert [(past.reason, past.promoted) for past in evidence.history(home, recipe.name)] == [
        ("drift", False), ("schedule", True),
    ]  # fmt: skip
    assert monitor_store(home).events("retrained")[0].detail["mark"] == "a"


def test_a_changed_topic_speaks_for_it(home, recipe, trained):
    other = recipe.model_copy(update={"topic": recipe.topic.model_copy(update={"loss": "abse"})})
    assert [item.reason for item in evidence.gather(home, other)] == ["topic"]


def test_a_finding_tells_its_p_value():
    finding = Finding("x", "ks", 0.5, 0.1, 1e-9, 1e-8, True)
    assert DriftReport("b", (finding,), None, "", ()).moved == (finding,)
