"""The laboratory against plainer ways of doing the same; prints JSON.

100 features, 50,000 rows, 8 outer windows, 40 trials over 5 inner folds, with LightGBM, CatBoost and ridge. The search
is also run unpruned at the libraries' defaults, and the outer fits one after the other. Then features, search and
verdict of the recipe ``btc_usd_5min`` on real bars (``CRUCIBLE_SHARED``), twice: nothing has changed the second time.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from crucible.bar_stages import bar_store
from crucible.features.dataset import Dataset
from crucible.lab_stages import build_features, evaluate, walk_forward
from crucible.market.files import read_bar_file
from crucible.market.recipe_bars import series_of
from crucible.recipe import Recipe, find_recipe
from crucible.settings import Settings
from crucible.validation.fits import Crew, SharedRows, fit_and_predict, rows_of
from crucible.validation.laboratory import predict_outer
from crucible.validation.losses import topic_loss
from crucible.validation.splits import Stages, inner_folds
from crucible.validation.suites import suite_recipe
from crucible.validation.walk_forward import run_walk_forward

ROWS, FEATURES, HORIZON = 50_000, 100, 8


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON (it always does)")
    parser.add_argument("--defaults", type=int, default=3, help="trials of the unpruned search that are timed (of 40)")
    options = parser.parse_args()
    recipe, dataset = _recipe(), _dataset()
    with tempfile.TemporaryDirectory(prefix="crucible-lab-") as folder:
        source = SharedRows.write(Path(folder), rows_of(dataset, recipe))
        found = _run(recipe, dataset, source, options.defaults)
    with tempfile.TemporaryDirectory(prefix="crucible-lab-") as folder:
        print(json.dumps({**found, **_repeat(Path(folder))}, indent=2))


def _run(recipe: Recipe, dataset: Dataset, source: SharedRows, defaults: int) -> dict[str, Any]:
    stages, crew = Stages.of(recipe, dataset.times), Crew(os.cpu_count() or 1)
    started = time.perf_counter()
    searched, outer = predict_outer(source, dataset, recipe, stages, crew=crew)
    whole = time.perf_counter() - started

    started = time.perf_counter()
    side_by_side = run_walk_forward(source, dataset, recipe, stages.outer, searched.settings, crew=crew)
    parallel = time.perf_counter() - started
    started = time.perf_counter()
    one_by_one = run_walk_forward(source, dataset, recipe, stages.outer, searched.settings)
    sequential = time.perf_counter() - started
    same = all(np.array_equal(side_by_side.oos.y_pred[n], one_by_one.oos.y_pred[n]) for n in one_by_one.oos.y_pred)

    plain_seconds, plain_loss = _at_defaults(recipe, dataset, source, stages, defaults)
    loss = topic_loss(recipe, outer.oos.y_true, outer.oos.y_pred[searched.chosen], outer.oos.close, outer.scale).mean()
    return {
        "cores": os.cpu_count(),
        "laboratory_seconds": round(whole, 1),
        "trials": searched.trials,
        "pruned": searched.pruned,
        "failed": searched.failed,
        "outer_fits_side_by_side_seconds": round(parallel, 1),
        "outer_fits_one_by_one_seconds": round(sequential, 1),
        "side_by_side_is_faster_by": round(sequential / parallel, 2),
        "identical": same,
        "unpruned_at_defaults_seconds": round(plain_seconds, 1),
        "unpruned_trials_timed_per_candidate": defaults,
        "faster_than_unpruned_by": round(plain_seconds / whole, 2),
        "outer_loss": float(loss),
        "outer_loss_at_defaults": plain_loss,
    }


def _repeat(home: Path) -> dict[str, Any]:
    """Return how long the stages take for the first time, and again."""
    import_module("mlflow")  # seconds, and paid once per process
    shared = Path(os.environ.get("CRUCIBLE_SHARED", "../shared"))
    settings = Settings.load({"CRUCIBLE_HOME": str(home)})
    recipe = find_recipe(settings.recipes, "btc_usd_5min")
    bars = read_bar_file(shared / "data/BTCUSDT_5m_binance.parquet", "BTCUSDT", timedelta(minutes=5), allow_gaps=True)
    bar_store(settings).write(series_of(recipe.data), bars)
    took = []
    for _ in range(2):
        started = time.perf_counter()
        build_features(settings, recipe)
        walk_forward(settings, recipe)
        evaluate(settings, recipe)
        took.append(time.perf_counter() - started)
    return {
        "stages_seconds": round(took[0], 2),
        "stages_again_seconds": round(took[1], 2),
        "again_takes_percent": round(100 * took[1] / took[0], 1),
    }


def _at_defaults(
    recipe: Recipe, dataset: Dataset, source: SharedRows, stages: Stages, count: int
) -> tuple[float, float]:
    """Return how long the same search takes without pruning or early stopping, at library defaults, and its loss.

    The libraries' own threads, 255 bins, 100 trees of 31 leaves (LightGBM) and 1,000 of depth 6 (CatBoost). ``count``
    trials of each are timed and scaled to all of them; the outer windows are all run.
    """
    import catboost
    import lightgbm

    rows = source.open()
    x = np.asarray(rows.x)
    folds = inner_folds(recipe, dataset.times, stages.inner)
    makers = {
        "lightgbm": lambda: lightgbm.LGBMRegressor(verbosity=-1),
        "catboost": lambda: catboost.CatBoostRegressor(verbose=False, allow_writing_files=False),
    }
    total, predictions = 0.0, []
    for make in makers.values():
        started = time.perf_counter()
        for _ in range(count):
            for fold in folds:
                make().fit(x[fold.train], rows.y[fold.train]).predict(x[fold.test])
        total += (time.perf_counter() - started) / count * recipe.search.trials
    started = time.perf_counter()
    for fold in stages.outer:
        made = [make().fit(x[fold.train], rows.y[fold.train]).predict(x[fold.test]) for make in makers.values()]
        ridge = fit_and_predict(source, recipe, "ridge", {}, fold.train, fold.test)
        predictions.append(np.mean([*made, ridge], axis=0))
    total += time.perf_counter() - started
    tests = np.concatenate([fold.test for fold in stages.outer])
    y, close, scale = rows.y[tests], rows.close[tests], rows.scale[tests]
    return total, float(topic_loss(recipe, y, np.concatenate(predictions), close, scale).mean())


def _recipe() -> Recipe:
    values = suite_recipe(HORIZON, ROWS + 1).model_dump(mode="json")
    values["models"] = {
        "candidates": ["zero", "ridge", "lightgbm", "catboost", "mean"],
        "ridge": {"alpha": 1000.0},
        "lightgbm": {"trees": 200, "learning_rate": 0.05, "leaves": 15, "min_leaf_rows": 200, "feature_fraction": 0.5,
                     "bins": 63},
        "catboost": {"trees": 200, "learning_rate": 0.05, "depth": 4, "borders": 32},
    }  # fmt: skip
    values["search"] |= {"trials": 40, "folds": 5, "rounds": 4, "deadline": "2m"}
    values["validation"] |= {"folds": 8, "test": f"{3500 * 300}s", "deployment": f"{5000 * 300}s",
                             "min_train": f"{15000 * 300}s"}  # fmt: skip
    return Recipe.model_validate(values)


def _dataset() -> Dataset:
    """Return rows with three features that say something, and many that do not."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, FEATURES))
    noise = np.convolve(generator.normal(size=ROWS + HORIZON - 1), np.ones(HORIZON), "valid") / np.sqrt(HORIZON)
    y = 1e-3 * (0.06 * x[:, 0] + 0.04 * np.tanh(x[:, 1] * x[:, 2]) + noise)
    times = np.datetime64("2024-01-01", "us") + np.arange(1, ROWS + 1) * np.timedelta64(300, "s")
    return Dataset(times, np.full(ROWS, 100.0), x, y, tuple(f"f{index}" for index in range(FEATURES)))


if __name__ == "__main__":
    main()
