import json

import numpy as np
import pytest

from crucible.errors import EvaluationError, SchemaError, StoreError
from crucible.validation.bootstrap import bootstrap_mean, persistence
from crucible.validation.gates import judge, select
from crucible.validation.predictions import OutOfSample, read_predictions, read_score_file, write_predictions

ROWS = 14_400


def sample(recipe, *, correlation, seed=0, rows=ROWS):
    generator = np.random.default_rng(seed)
    scale = 1e-3
    signal, noise = generator.normal(size=(2, rows))
    y = scale * (correlation * signal + np.sqrt(1 - correlation**2) * noise)
    times = np.datetime64("2026-01-01T00:05", "us") + np.arange(rows) * np.timedelta64(recipe.data.interval)
    oos = OutOfSample(
        times=times,
        fold=np.arange(rows) * recipe.validation.folds // rows,
        close=np.full(rows, 100.0),
        y_true=y,
        y_pred={
            "zero": np.zeros(rows),
            "ridge": scale * correlation * signal,
            "mean": scale * generator.normal(size=rows),
        },
    )
    return oos, np.full(rows, scale)


def gate(verdict, name):
    return next(item for item in verdict.gates if item.name == name)


def test_real_skill_passes_and_is_selected(recipe):
    oos, scale = sample(recipe, correlation=0.1)
    assert select(recipe, oos, scale) == "ridge"
    verdict, card = judge(recipe, oos, "ridge", scale, {"no label reaches its test block": True})
    assert verdict.passed, verdict.reasons
    assert verdict.grade == card.grade
    assert verdict.reasons == ()
    assert json.loads(json.dumps(verdict.to_json()))["passed"] is True


def test_noise_is_refused_with_the_reason(recipe):
    oos, scale = sample(recipe, correlation=0.1)
    verdict, _ = judge(recipe, oos, "mean", scale, {})
    assert not verdict.passed
    assert "ABOVE the zero forecast" in gate(verdict, "beats the zero forecast").sentence


def test_what_is_too_good_is_refused(recipe):
    oos, scale = sample(recipe, correlation=0.4)
    verdict, _ = judge(recipe, oos, "ridge", scale, {})
    assert [item.name for item in verdict.gates if not item.passed] == ["not too good to be true"]
    assert "look for a leak" in verdict.reasons[0]


def test_broken_integrity_is_named(recipe):
    oos, scale = sample(recipe, correlation=0.1)
    verdict, _ = judge(recipe, oos, "ridge", scale, {"no label reaches its test block": False})
    assert verdict.reasons == ("it does not hold that no label reaches its test block",)
    oos.y_pred["ridge"][5] = np.nan
    verdict, _ = judge(recipe, oos, "ridge", scale, {})
    assert verdict.grade == "F"
    assert "every prediction is finite" in verdict.reasons[0]
    third = OutOfSample(
        oos.times[::3], oos.fold[::3], oos.close[::3], oos.y_true[::3], {"zero": oos.y_pred["zero"][::3]}
    )
    verdict, _ = judge(recipe, third, "zero", scale[::3], {})
    assert "nine tenths of the expected rows" in verdict.reasons[0]


def test_an_unknown_candidate_is_refused(recipe):
    oos, scale = sample(recipe, correlation=0.1)
    with pytest.raises(EvaluationError, match="no predictions of 'lightgbm'"):
        judge(recipe, oos, "lightgbm", scale, {})


def test_the_bootstrap_is_calibrated_where_a_naive_test_is_not():
    horizon, runs = 12, 300
    rejected = naive = 0
    for seed in range(runs):
        steps = np.random.default_rng(seed).normal(size=1500 + horizon)
        overlapping = np.convolve(steps, np.ones(horizon), mode="valid")[:1500]
        rejected += bootstrap_mean(overlapping, block=2 * horizon, draws=300, seed=seed).p_value < 0.05
        naive += overlapping.mean() / (overlapping.std() / np.sqrt(1500)) > 1.645
    assert 0.02 <= rejected / runs <= 0.10  # nominal 5 %, standard error 1.3 points
    assert naive / runs > 0.20


def test_the_bootstrap_is_reproducible_and_finds_a_real_mean():
    values = np.random.default_rng(1).normal(0.1, 1, 3000)
    one, two = (bootstrap_mean(values, block=4, draws=500, seed=3) for _ in range(2))
    assert one == two
    assert one.p_value < 0.01
    assert one.low < values.mean() < one.high


def test_persistence_measures_how_long_neighbours_depend():
    noise = np.random.default_rng(2).normal(size=20_000)
    assert persistence(noise, longest=500) <= 3
    assert 25 <= persistence(np.convolve(noise, np.ones(30), mode="valid"), longest=500) <= 60
    assert persistence(np.ones(50), longest=10) == 1


def test_predictions_survive_their_file(recipe, tmp_path):
    oos, _ = sample(recipe, correlation=0.1, rows=100)
    write_predictions(tmp_path / "p.parquet", oos)
    again = read_predictions(tmp_path / "p.parquet")
    assert np.array_equal(again.times, oos.times)
    assert again.y_pred.keys() == oos.y_pred.keys()
    assert np.array_equal(again.y_pred["ridge"], oos.y_pred["ridge"])
    (tmp_path / "p.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(StoreError, match="materialise `walk_forward` again"):
        read_predictions(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("text", "words"),
    [("y_true,other\n1,2\n", "no column 'y_pred'"), ("y_true,y_pred\n1,up\n", "not numbers"),
     ("y_true,y_pred\n1.0,2.0\n1.0,nan\n", "not a finite number in row 1"), ("y_true,y_pred\n", "no rows|not numbers")],
)  # fmt: skip
def test_bad_score_files_are_one_sentence(tmp_path, text, words):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(SchemaError, match=words) as caught:
        read_score_file(tmp_path / "s.csv")
    assert "\n" not in str(caught.value)
    with pytest.raises(SchemaError, match="There is no file"):
        read_score_file(tmp_path / "absent.parquet")
