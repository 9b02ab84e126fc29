"""The inner search: the same whoever works on it, resumed, and not stopped by what fails."""

import json
from dataclasses import replace

import numpy as np
import pytest
from crashing import dies, hangs

from crucible.errors import EvaluationError
from crucible.features.dataset import build_dataset
from crucible.models.candidates import build_model
from crucible.recipe import Recipe
from crucible.validation import trial
from crucible.validation.ensembles import ensemble_weights
from crucible.validation.fits import Crew, SharedRows, known_scale, rows_of
from crucible.validation.search import search
from crucible.validation.spaces import Range, narrowed, space_of
from crucible.validation.splits import Stages, inner_folds
from crucible.validation.suites import Market, make_bars, suite_recipe


def small(**search_values):
    values = suite_recipe(8, 6000).model_dump(mode="json")
    values["search"] |= {"trials": 6, "folds": 2, "rounds": 2, **search_values}
    values["models"]["candidates"] = ["zero", "drift", "ridge", "har", "lightgbm", "mean", "weighted", "stacked"]
    values["models"]["har"] = {"alpha": 100.0}
    values["models"]["lightgbm"] |= {"trees": 15}
    return Recipe.model_validate(values)


@pytest.fixture(scope="module")
def scene():
    recipe = small()
    dataset = build_dataset(make_bars(Market("walk", 8, 0.2, 3, 6000)), recipe)
    stages = Stages.of(recipe, dataset.times)
    return recipe, dataset, rows_of(dataset, recipe), inner_folds(recipe, dataset.times, stages.inner)


@pytest.fixture(scope="module")
def found(scene):
    recipe, _, rows, folds = scene
    return search(rows, recipe, folds)


def test_every_candidate_is_scored_and_every_trial_counted(scene, found):
    recipe, *_ = scene
    assert set(found.scores) == set(recipe.models.candidates)
    assert found.scores["zero"] == 1.0
    assert found.trials == 18
    assert found.failed == 0
    assert found.pruned > 0
    assert found.chosen in ("mean", *found.beats_ensemble)
    assert found.scores["ridge"] < 1  # a signal of 0.2 shows
    assert 1 <= found.settings["lightgbm"]["trees"] <= 15
    assert sum(found.settings["weighted"]["weights"].values()) == pytest.approx(1)
    assert 0 <= found.overfitting <= 1
    assert json.loads(json.dumps(found.to_json()))["chosen"] == found.chosen


def test_two_processes_find_what_one_finds(scene, found, tmp_path):
    recipe, _, rows, folds = scene
    shared = SharedRows.write(tmp_path, rows)
    assert np.array_equal(shared.open().x, rows.x, equal_nan=True)
    again = search(shared, recipe, folds, crew=Crew(2))
    assert again.to_json() == found.to_json()
    assert {path.suffix for path in tmp_path.iterdir()} == {".bin"}


def test_an_interrupted_search_goes_on_and_ends_the_same(scene, found, tmp_path):
    recipe, _, rows, folds = scene

    class Interrupted(Exception):
        pass

    def stop(done, total):
        if done >= 8:
            raise Interrupted

    with pytest.raises(Interrupted):
        search(rows, recipe, folds, storage=tmp_path / "search.db", progress=stop)
    told = []
    again = search(rows, recipe, folds, storage=tmp_path / "search.db", progress=lambda done, total: told.append(done))
    assert told[0] == 6  # the first candidate's six trials are not run again
    assert again.to_json() == found.to_json()


def test_a_trial_that_fails_costs_only_itself(scene, monkeypatch):
    recipe, _, rows, folds = scene
    real, calls = trial.build_model, []

    def sometimes(name, *arguments, **options):
        if name == "ridge":
            calls.append(name)
            if len(calls) in (3, 4):
                raise RuntimeError("the solver gave up")
        return real(name, *arguments, **options)

    monkeypatch.setattr(trial, "build_model", sometimes)
    result = search(rows, recipe, folds)
    assert result.failed >= 1
    assert result.trials == 18
    monkeypatch.setattr(trial, "build_model", lambda *a, **o: (_ for _ in ()).throw(ValueError("no such solver")))
    with pytest.raises(EvaluationError, match="Every trial of ridge failed; the last one: ValueError: no such solver"):
        search(rows, recipe, folds)


def test_predictions_and_truths_that_make_no_sense_fail_the_trial(scene):
    recipe, _, rows, folds = scene
    flat = replace(rows, y=np.zeros_like(rows.y))
    outcome = trial.run_trial(flat, recipe, "ridge", {}, folds, ())
    assert (outcome.state, "the truth never moves" in outcome.reason) == ("failed", True)
    wild = replace(rows, y=np.where(np.arange(len(rows.y)) == folds[0].train[5], np.inf, rows.y))
    assert trial.run_trial(wild, recipe, "ridge", {}, folds, ()).state == "failed"


def test_a_trial_over_its_deadline_fails(scene):
    _, _, rows, folds = scene
    hasty = small(deadline="1s")
    clock = iter([0.0, *[1e9] * 10_000])
    original = trial.time.monotonic
    trial.time.monotonic = lambda: next(clock)
    try:
        assert "deadline" in trial.run_trial(rows, hasty, "lightgbm", {}, folds, ()).reason
    finally:
        trial.time.monotonic = original


def test_a_process_that_dies_or_hangs_costs_only_its_job():
    assert Crew(2).attempt(dies, [(0,), (1,), (2,)], 20.0) == [0, "its process died", 2]
    assert Crew(2).attempt(hangs, [(0,), (1,), (2,)], 5.0) == [0, "it hung", 2]


def test_ranges_narrow_to_the_best_third():
    space = {"alpha": Range(1.0, 1e4, log=True), "depth": Range(2, 6, whole=True)}
    trials = [({"alpha": 10.0**k, "depth": 2 + k % 5}, abs(k - 2)) for k in range(5)] * 2
    assert narrowed(space, trials, 0) is space
    later = narrowed(space, trials, 1)
    assert 1.0 < later["alpha"].low < 100 < later["alpha"].high < 1e4
    assert later["depth"].whole
    assert set(space_of("lightgbm")) == {"learning_rate", "leaves", "min_leaf_rows", "feature_fraction"}


def test_the_known_scale_sees_no_future():
    y = np.random.default_rng(0).normal(size=3000) * np.repeat([1.0, 3.0], 1500)
    scale = known_scale(y, 12)
    changed = y.copy()
    changed[2000:] *= 7
    assert np.array_equal(known_scale(changed, 12)[:2012], scale[:2012])
    assert scale[1400] == pytest.approx(1.0, rel=0.2)
    assert scale[2900] == pytest.approx(3.0, rel=0.3)


def test_a_shrunk_candidate_is_kept_and_read_back(scene, found, tmp_path):
    from crucible.models.candidates import load_model

    recipe, dataset, rows, _ = scene
    for name in ("ridge", "har", "lightgbm", "mean", "weighted", "stacked"):
        folder = tmp_path / name
        folder.mkdir()
        model = build_model(name, recipe, rows.names, found.settings).fit(dataset.x[:2000], dataset.y[:2000])
        model.save(folder)
        predicted = model.predict(dataset.x[2000:2100])
        assert np.array_equal(load_model(name, folder).predict(dataset.x[2000:2100]), predicted)
        plain = build_model(name, recipe, rows.names, {
            key: {k: v for k, v in value.items() if k != "shrink"} for key, value in found.settings.items()
        }).fit(dataset.x[:2000], dataset.y[:2000])  # fmt: skip
        assert np.allclose(predicted, found.settings[name]["shrink"] * plain.predict(dataset.x[2000:2100]))


def test_stacking_finds_who_adds_something():
    generator = np.random.default_rng(2)
    a, b, noise = generator.normal(size=(3, 4000))
    truth = 0.8 * a + 0.3 * b + generator.normal(size=4000)
    predicted = {"a": [a[:2000], a[2000:]], "b": [b[:2000], b[2000:]], "noise": [-noise[:2000], -noise[2000:]]}
    scores = {"a": 0.6, "b": 0.9, "noise": 1.1}
    weights = ensemble_weights("stacked", scores, predicted, truth, np.ones(4000))
    assert weights["a"] == pytest.approx(0.8, abs=0.05)
    assert weights["b"] == pytest.approx(0.3, abs=0.05)
    assert weights["noise"] < 0.05
    earned = ensemble_weights("weighted", scores, predicted, truth, np.ones(4000))
    assert earned["a"] > earned["b"] > earned["noise"] > 0
    assert ensemble_weights("mean", scores, predicted, truth, np.ones(4000)) == dict.fromkeys(predicted, 1 / 3)
    against = {"x": [-truth]}
    assert ensemble_weights("stacked", {"x": 2.0}, against, truth, np.ones(4000)) == {"x": 1.0}
