import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from crucible.errors import BundleError, RecipeError, StoreError
from crucible.features.dataset import build_dataset
from crucible.models.bundle import Training, load_bundle, write_bundle
from crucible.models.candidates import build_model, load_model
from crucible.models.quantile import Quantile
from crucible.recipe import parse_recipe

NAMES = ["zero", "last_value", "ridge", "lightgbm", "catboost", "quantile", "mean"]


@pytest.fixture(scope="module")
def recipe(recipe_text):
    text = recipe_text.replace('"catboost",', '"catboost", "quantile",').replace(
        "[models.catboost]",
        "[models.quantile]\ntrees = 20\nlearning_rate = 0.1\nleaves = 8\nmin_leaf_rows = 50\n"
        "feature_fraction = 0.5\nbins = 63\n\n[models.catboost]",
    )
    return parse_recipe(text, "recipe")


@pytest.fixture(scope="module")
def dataset(make_bars, recipe):
    return build_dataset(make_bars(1500, seed=5), recipe)


@pytest.fixture(scope="module")
def training(dataset):
    return Training(bars_digest="0" * 64, rows=len(dataset.y), first=str(dataset.times[0]), last=str(dataset.times[-1]))


@pytest.mark.parametrize("name", NAMES)
def test_a_model_survives_its_files_to_the_bit_and_refits_to_the_bit(name, dataset, recipe, tmp_path):
    model = build_model(name, recipe, dataset.names).fit(dataset.x, dataset.y)
    predicted = model.predict(dataset.x)
    assert predicted.shape == dataset.y.shape
    assert np.isfinite(predicted).all()
    model.save(tmp_path)
    assert np.array_equal(load_model(name, tmp_path).predict(dataset.x), predicted)
    assert np.array_equal(
        build_model(name, recipe, dataset.names).fit(dataset.x, dataset.y).predict(dataset.x), predicted
    )
    json.dumps(model.describe())


@pytest.mark.parametrize("name", NAMES)
def test_one_row_predicts_the_same_alone_and_a_missing_feature_is_no_failure(name, dataset, recipe):
    model = build_model(name, recipe, dataset.names).fit(dataset.x, dataset.y)
    assert model.predict(dataset.x[700:701])[0] == model.predict(dataset.x)[700]
    assert np.isfinite(model.predict(np.full((1, dataset.x.shape[1]), np.nan)))


def test_learners_find_a_planted_relation(recipe):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(4000, 5))
    y = 1e-3 * (0.5 * x[:, 2] + generator.normal(size=4000))
    for name in ("ridge", "lightgbm", "catboost", "quantile"):
        model = build_model(name, recipe, tuple("abcde")).fit(x[:3000], y[:3000])
        assert np.corrcoef(model.predict(x[3000:]), y[3000:])[0, 1] > 0.35, name
        moved = np.abs(model.contributions(x[3000:])).mean(axis=0)
        assert moved.argmax() == 2, name
        assert moved[2] > 0.6 * moved.sum(), name


@pytest.mark.parametrize("name", NAMES)
def test_contributions_add_up_to_the_predictions_but_for_a_constant(name, dataset, recipe):
    model = build_model(name, recipe, dataset.names).fit(dataset.x, dataset.y)
    rest = model.predict(dataset.x) - model.contributions(dataset.x).sum(axis=1)
    assert np.ptp(rest) < 1e-9
    assert model.contributions(dataset.x[:3]).shape == (3, dataset.x.shape[1])


def test_quantiles_cover_what_they_say_and_ignore_wild_returns(recipe):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(6000, 3))
    y = 1e-3 * (0.4 * x[:, 0] + generator.standard_t(2, size=6000))
    settings = recipe.models.quantile.model_copy(update={"trees": 60, "min_leaf_rows": 200})
    model = Quantile(settings, 0).fit(x[:4000], y[:4000])
    low, middle, high = model.quantiles(x[4000:]).T
    assert np.all(low <= middle)
    assert np.all(middle <= high)
    assert np.mean((y[4000:] > low) & (y[4000:] < high)) == pytest.approx(0.5, abs=0.06)  # trees overfit a little
    wild = y[:4000].copy()
    wild[:5] = 5.0
    again = Quantile(settings, 0).fit(x[:4000], wild)
    # the trees' units grow with the wild values, but not what they predict
    assert np.corrcoef(again.predict(x[4000:]), 1e-3 * 0.4 * x[4000:, 0])[0, 1] > 0.7


def test_a_bundle_is_named_by_its_content_and_equal_input_gives_an_equal_digest(dataset, recipe, training, tmp_path):
    def write(folder):
        model = build_model("mean", recipe, dataset.names).fit(dataset.x, dataset.y)
        return write_bundle(folder, recipe, "mean", dataset.names, training, model)

    one, other = write(tmp_path / "a"), write(tmp_path / "b")
    assert one.digest == other.digest == one.path.name
    assert write(tmp_path / "a").digest == one.digest
    assert [path.name for path in (tmp_path / "a").iterdir()] == [one.digest]
    assert one.manifest.recipe == recipe
    assert {path.suffix for path in one.path.iterdir()} <= {".json", ".txt", ".cbm"}
    again = load_bundle(one.path, one.digest)
    assert np.array_equal(again.predict(dataset.x), other.predict(dataset.x))
    with pytest.raises(BundleError, match="needs 23 features"):
        again.predict(dataset.x[:, :5])


def test_every_alteration_of_a_bundle_is_refused(dataset, recipe, training, tmp_path):
    model = build_model("lightgbm", recipe, dataset.names).fit(dataset.x, dataset.y)
    bundle = write_bundle(tmp_path, recipe, "lightgbm", dataset.names, training, model)

    def refused(words):
        with pytest.raises(BundleError, match=words) as caught:
            load_bundle(bundle.path, bundle.digest)
        assert "\n" not in str(caught.value)

    text = (bundle.path / "lightgbm.txt").read_text()
    (bundle.path / "lightgbm.txt").write_text(text.replace("0.", "1.", 1))
    refused("was altered")
    (bundle.path / "lightgbm.txt").write_text(text)
    (bundle.path / "extra.json").write_text("{}")
    refused("exactly the files of its manifest: extra.json")
    (bundle.path / "extra.json").unlink()
    manifest = (bundle.path / "manifest.json").read_text()
    (bundle.path / "manifest.json").write_text(manifest.replace('"lightgbm"', '"catboost"'))
    refused("was asked for")
    (bundle.path / "manifest.json").write_text("{}")
    with pytest.raises(BundleError, match="is damaged"):
        load_bundle(bundle.path)
    (bundle.path / "manifest.json").unlink()
    refused("is not a bundle")


def test_a_file_that_could_carry_code_is_refused_though_the_manifest_vouches_for_it(
    dataset, recipe, training, tmp_path
):
    bundle = write_bundle(tmp_path, recipe, "zero", dataset.names, training, build_model("zero", recipe, dataset.names))
    (bundle.path / "model.pkl").write_bytes(b"code")
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    manifest["files"]["model.pkl"] = hashlib.sha256(b"code").hexdigest()
    (bundle.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"model\.pkl is of a kind that a bundle may not hold"):
        load_bundle(bundle.path)


def test_a_bundle_trained_on_other_features_is_refused(dataset, recipe, training, tmp_path):
    bundle = write_bundle(tmp_path, recipe, "zero", dataset.names, training, build_model("zero", recipe, dataset.names))
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    manifest["feature_digest"] = "f" * 64
    (bundle.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="computes differently; retrain"):
        load_bundle(bundle.path)


def test_a_refused_disk_leaves_no_half_bundle(dataset, recipe, training, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        write_bundle(tmp_path / "file", recipe, "zero", dataset.names, training, build_model("zero", recipe, ()))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_candidate_without_settings_is_refused(recipe_text):
    text = recipe_text[: recipe_text.index("[models.catboost]")] + recipe_text[recipe_text.index("[search]") :]
    bare = parse_recipe(text.replace('"catboost", ', ""), "r")
    with pytest.raises(RecipeError, match="no settings, or no features, for candidate 'catboost'"):
        build_model("catboost", bare, ("return_1",))


def test_serving_imports_no_laboratory():
    script = (
        "import sys, crucible.models.bundle, crucible.features.engine;"
        "bad = {'mlflow', 'great_expectations', 'dagster', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules);"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
