"""Features from a user's own Python file beside the recipes."""

import numpy as np
import pytest

from crucible.errors import BundleError, RecipeError
from crucible.features.engine import compute_features, feature_digest, recipe_features, recipe_plan
from crucible.features.library import CORE
from crucible.models.bundle import Training, load_bundle, write_bundle
from crucible.models.candidates import build_model
from crucible.recipe import parse_recipe

CODE = '''
import numpy as np

from crucible.features.feature import Feature, Window

SCALE = 2.0


def entropy(columns, windows):
    """Share of rises over the window, as entropy: SQL could, but this is a test."""
    n = windows["n"]
    up = np.where(np.isnan(columns["r"]), np.nan, columns["r"] > 0)
    out = np.full(len(up), np.nan)
    if len(up) >= n:
        share = np.lib.stride_tricks.sliding_window_view(up, n).mean(axis=1)
        out[n - 1 :] = -SCALE * np.where((share > 0) & (share < 1), share * np.log(share), 0.0)
    return out


FEATURES = (
    Feature("entropy", "disorder of the signs", "order is a trend", "", {"n": Window(3, 12)}, "mine", function=entropy),
    Feature("twice", "twice the return", "a test", "2 * r", family="mine"),
)
'''


@pytest.fixture
def recipe_of(recipe_text, tmp_path, monkeypatch):
    monkeypatch.setenv("CRUCIBLE_RECIPES", str(tmp_path))

    def make(code):
        (tmp_path / "mine.py").write_text(code)
        return parse_recipe(recipe_text.replace("version = 2\n", 'version = 2\nmodule = "mine"\n', 1), "r")

    return make


def test_a_file_beside_the_recipes_adds_features(recipe_of, make_bars):
    recipe = recipe_of(CODE)
    assert recipe_features(recipe).names == (*CORE.names, "entropy", "twice")
    bars = make_bars(300, seed=1)
    found = compute_features(bars, recipe)
    close = bars["close"].to_numpy()
    r = np.diff(np.log(close))
    share = (r[88:100] > 0).mean()
    assert found.columns["entropy"][100] == pytest.approx(-2 * share * np.log(share))
    assert found.columns["twice"][100] == pytest.approx(2 * r[99])
    live = compute_features(bars.slice(200, 100), recipe, at=bars["open_time"][299].as_py() + recipe.data.interval)
    assert live.columns["entropy"][0] == found.columns["entropy"][299]


def test_an_edited_file_is_another_feature_and_refuses_old_bundles(recipe_of, tmp_path):
    recipe = recipe_of(CODE)
    before, text = feature_digest(recipe), recipe_plan(recipe).text
    assert "sha256 " in text
    names = recipe_features(recipe).names
    training = Training(bars_digest="0" * 64, rows=1, first="t", last="t")
    bundle = write_bundle(tmp_path / "bundles", recipe, "zero", names, training, build_model("zero", recipe, names))
    assert {file.suffix for file in bundle.path.iterdir()} == {".json"}  # the code stays where it is
    recipe_of(CODE.replace("SCALE = 2.0", "SCALE = 3.0"))  # a constant that no function's own lines show
    assert feature_digest(recipe) != before
    with pytest.raises(BundleError, match=r"trained on features that .* computes differently"):
        load_bundle(bundle.path)
    recipe_of(CODE)
    assert load_bundle(bundle.path).digest == bundle.digest


def test_faults_are_one_sentence_with_the_place(recipe_of, tmp_path):
    for code, words in (
        ("x = 1\n", "must hold FEATURES"),
        ("FEATURES = (1,)\n", "must hold FEATURES"),
        ("\n\nFEATURES = (\n", r"mine.py, line 3: SyntaxError"),
        ("import numpy\nFEATURES = numpy.nothing\n", "mine.py, line 2: AttributeError"),
        (CODE.replace('"twice", "twice', '"rsi", "twice'), "names rsi twice"),
        (CODE.replace("2 * r", ""), "line 22: RecipeError: Feature twice needs either"),
    ):
        with pytest.raises(RecipeError, match=words):
            recipe_features(recipe_of(code))
    recipe = recipe_of(CODE)
    (tmp_path / "mine.py").unlink()
    with pytest.raises(RecipeError, match=r"features.module: .*mine.py cannot be read: No such file"):
        recipe_plan(recipe)
