"""``crucible backtest-reward``: files in, a report or one clear sentence out."""

import json
from dataclasses import asdict, fields
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from crucible.cli import crucible
from crucible.cli.reward import _LOSSES, _VERSIONS, backtest_reward
from crucible.errors import CrucibleError
from crucible.network.field import SyntheticField
from crucible.network.parameters import VERSIONS
from crucible.process import write_json
from crucible.recipe import LossMethod
from crucible.reward_stages import FieldSettings, candidate_of_file, candidate_of_predictions, candidate_of_recipe
from crucible.settings import Settings
from crucible.stage_records import NOTES, Current, current_file
from crucible.validation.predictions import OutOfSample, write_predictions
from crucible.validation.reward_files import read_candidate, read_field

EPOCHS = 300
TIMES = np.datetime64("2026-01-01", "us") + np.arange(EPOCHS) * np.timedelta64(300_000_000, "us")


def _columns(**changes):
    generator = np.random.default_rng(0)
    actual = 1e-3 * generator.normal(size=EPOCHS)
    prediction = 0.05 * actual + 2e-4 * generator.normal(size=EPOCHS)
    known = {"time": pa.array(TIMES).cast(pa.timestamp("us", "UTC")), "prediction": prediction, "actual": actual}
    return pa.table({name: values for name, values in {**known, **changes}.items() if values is not None})


def _wide():
    values = 1e-3 * np.random.default_rng(1).normal(size=(EPOCHS, 4))
    values[::7, 1] = np.nan
    return values


@pytest.fixture
def run(tmp_path, monkeypatch, pytestconfig):
    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(pytestconfig.rootpath)
    return lambda *arguments: CliRunner().invoke(crucible, ["backtest-reward", *map(str, arguments)])


@pytest.fixture
def predictions(tmp_path):
    pq.write_table(_columns(), tmp_path / "p.parquet")
    return tmp_path / "p.parquet"


def test_a_report_as_json_and_as_tables(run, predictions):
    done = run("--predictions", predictions, "--workers", 3, "--capacity", 3, "--effect-epochs", 1, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["value"]["epochs"] == EPOCHS - 100
    assert 0 < report["value"]["active"] < 1
    assert report["field"]["workers"] == 3
    assert report["value"]["share"]["low"] < report["value"]["share"]["mean"]
    assert len(report["uptime"]) == 3
    done = run("--predictions", predictions, "--workers", 3, "--effect-epochs", 1)
    assert "best response" in done.stdout
    assert "uptime 80%" in done.stdout


def test_recorded_fields_wide_and_long_are_the_same(tmp_path):
    wide, long = tmp_path / "wide.csv", tmp_path / "long.parquet"
    values = _wide()
    columns = {f"w{place}": pa.array(column, from_pandas=True) for place, column in enumerate(values.T)}
    pc.write_csv(pa.table({"time": pa.array(TIMES), **columns}).slice(50), wide)
    rows, workers = np.nonzero(~np.isnan(values))
    order = np.random.default_rng(2).permutation(len(rows))
    rows, workers = rows[order], workers[order]
    table = {"time": pa.array(TIMES[rows]).cast(pa.timestamp("us", "UTC")), "worker": [f"w{w}" for w in workers]}
    pq.write_table(pa.table({**table, "inference": values[rows, workers]}), long)
    times = TIMES.astype(np.int64)
    kept, first = read_field(wide, times)
    all_kept, second = read_field(long, times)
    assert np.array_equal(kept, np.arange(50, EPOCHS))
    assert np.array_equal(all_kept, np.arange(EPOCHS))
    assert first.values == pytest.approx(values[50:], nan_ok=True)
    assert second.values == pytest.approx(values, nan_ok=True)


def test_a_recorded_field_is_used(run, predictions, tmp_path):
    pq.write_table(
        pa.table({"time": pa.array(TIMES), **dict(zip("abcd", _wide().T, strict=True))}), tmp_path / "f.parquet"
    )
    done = run("--predictions", predictions, "--field", tmp_path / "f.parquet", "--effect-epochs", 1, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["workers"] == 4


def test_times_may_be_block_heights_and_csv(tmp_path):
    path = tmp_path / "p.csv"
    pc.write_csv(_columns(time=np.arange(EPOCHS) * 60 + 7, reference=np.full(EPOCHS, 0.5)), path)
    times, _, truth = read_candidate(path)
    assert times[1] == 67
    assert (truth.reference == 0.5).all()
    assert candidate_of_file(path, None, None, None).block == 1


def test_a_recipe_says_loss_horizon_units_and_cadence(recipe, tmp_path):
    bars = 40
    times = TIMES[:bars]
    oos = OutOfSample(times, np.zeros(bars, int), np.full(bars, 100.0), np.full(bars, 0.01),
                      {"ridge": np.full(bars, 0.02)}, np.full(bars, 0.01))  # fmt: skip
    every = candidate_of_predictions(recipe, oos, "ridge")
    assert (len(every.times), every.loss) == (bars, recipe.topic.loss)
    step, horizon = 4 * recipe.data.interval, 10 * recipe.data.interval
    changes = {"cadence": step, "horizon": horizon, "target": "price"}
    slow = recipe.model_copy(update={"topic": recipe.topic.model_copy(update=changes)})
    fewer = candidate_of_predictions(slow, oos, "ridge")
    assert len(fewer.times) == 10
    assert fewer.block == 3
    assert fewer.predictions == pytest.approx(100 * np.exp(0.02))
    assert fewer.truth.values == pytest.approx(100 * np.exp(0.01))
    assert fewer.truth.scale == pytest.approx(1.0)
    pq.write_table(_columns(), tmp_path / "p.parquet")
    assert candidate_of_file(tmp_path / "p.parquet", slow, None, None).block == 3
    assert candidate_of_file(tmp_path / "p.parquet", slow, "abse", 5).loss == "abse"


def test_an_evaluated_recipe_needs_no_file(run, tmp_path, recipe):
    settings = Settings.load({"CRUCIBLE_HOME": str(tmp_path / "home")})
    current = Current(recipe.digest, "b", "f" * 8, "r" * 8, "2026-01-01", "2026-02-01", "2026-02-01T00:00:00+00:00")
    generator = np.random.default_rng(0)
    actual = 1e-3 * generator.normal(size=EPOCHS)
    oos = OutOfSample(TIMES, np.zeros(EPOCHS, int), np.full(EPOCHS, 100.0), actual,
                      {"ridge": 0.1 * actual, "flat": np.zeros(EPOCHS)}, np.full(EPOCHS, 1e-3))  # fmt: skip
    folder = settings.evaluations / recipe.name / current.evaluation
    write_json(current_file(settings, recipe), asdict(current))
    _refused(run(recipe.name), "walk_forward")
    write_predictions(folder / "predictions.parquet", oos)
    write_json(folder / NOTES, {"chosen": "ridge"})
    found = candidate_of_recipe(settings, recipe)
    assert found.predictions == pytest.approx(100 * np.exp(0.1 * actual))  # a price topic
    done = run(recipe.name, "--workers", 3, "--effect-epochs", 1, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["candidate"], report["loss"]) == (f"{recipe.name}: ridge", recipe.topic.loss)


def _refused(done, *words):
    assert done.exit_code != 0
    if done.exit_code == 2:  # wrong usage is printed by click
        text = done.output
    else:
        assert isinstance(done.exception, CrucibleError), done.exception
        text = str(done.exception)
        assert "\n" not in text
    for word in words:
        assert word in text, text


HOLES = np.where(np.arange(EPOCHS) == 5, np.nan, 0.1)


@pytest.mark.parametrize(
    ("changes", "rows", "words"),
    [
        ({"actual": None, "truth": HOLES}, EPOCHS, ["no column 'actual'", "truth"]),
        ({"prediction": HOLES}, EPOCHS, ["'prediction' is not a finite number in row 5"]),
        ({"actual": HOLES}, EPOCHS, ["'actual' is not a finite number in row 5"]),
        ({"prediction": ["much"] * EPOCHS}, EPOCHS, ["'prediction' holds string"]),
        ({"time": np.zeros(EPOCHS, dtype=int)}, EPOCHS, ["does not ascend in row 1"]),
        ({"time": ["noon"] * EPOCHS}, EPOCHS, ["'time' holds string"]),
        ({"time": pa.array([None] * EPOCHS, pa.int64())}, EPOCHS, ["'time' is empty"]),
        ({"actual": np.zeros(EPOCHS)}, EPOCHS, ["never moves"]),
        ({"scale": np.zeros(EPOCHS)}, EPOCHS, ["not above 0"]),
        ({}, 90, ["90 epochs are too few"]),
        ({}, 0, ["no rows"]),
    ],
)
def test_predictions_that_cannot_be_used(run, tmp_path, changes, rows, words):
    pq.write_table(_columns(**changes).slice(0, rows), tmp_path / "p.parquet")
    _refused(run("--predictions", tmp_path / "p.parquet"), *words)


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"time": TIMES, "worker": ["a"] * EPOCHS}, "no column 'inference'"),
        ({"time": TIMES, "a": HOLES}, "fewer than two other columns"),
        ({"time": TIMES + np.timedelta64(1, "s"), "a": HOLES, "b": HOLES}, "no epoch of the predictions"),
        ({"time": TIMES[[0, 0, 1]], "a": np.ones(3), "b": np.ones(3)}, "a time twice"),
        ({"time": TIMES[[0, 0]], "worker": ["a", "a"], "inference": [1.0, 2.0]}, "'a' infers twice"),
        ({"time": TIMES, "a": HOLES, "b": np.full(EPOCHS, np.inf)}, "'b' is not a finite number"),
        ({"time": TIMES[:50], "a": np.ones(50), "b": np.ones(50)}, "50 epochs are too few"),
    ],
)
def test_recorded_fields_that_cannot_be_used(run, predictions, tmp_path, columns, word):
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    _refused(run("--predictions", predictions, "--field", tmp_path / "f.parquet"), word)


def test_wrong_words_and_missing_things(run, predictions, tmp_path):
    _refused(run("--predictions", tmp_path / "none.parquet"), "no file")
    _refused(run("--predictions", predictions, "--field", tmp_path / "none.csv"), "no file")
    _refused(run(), "name a recipe")
    _refused(run("btc_usd_5mn"), "did you mean btc_usd_5min")
    _refused(run("btc_usd_5min"), "no features")
    _refused(run("btc_usd_5min", "--loss", "sqe"), "--predictions")
    _refused(run("--predictions", predictions, "--skill", 2), "correlation")
    _refused(run("--predictions", predictions, "--horizon", 100), "too few")
    _refused(run("--predictions", predictions, "--loss", "bce"), "bce needs values")
    _refused(run("--predictions", predictions, "--workers", 1), "1 is not in the range")
    (tmp_path / "p.parquet").write_bytes(b"PAR1 not really")
    _refused(run("--predictions", tmp_path / "p.parquet"), "neither Parquet nor CSV")


def test_choices_and_defaults_are_those_of_the_library():
    assert get_args(LossMethod) == _LOSSES
    assert VERSIONS == _VERSIONS
    typed = {parameter.name: parameter.default for parameter in backtest_reward.params}
    known = {item.name: item.default for item in fields(SyntheticField)}
    asked = [item.name for item in fields(FieldSettings)]
    assert {name: typed[name] for name in asked} == {name: known[name] for name in asked}
