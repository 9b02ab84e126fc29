"""An empty MLflow store per test, and what is put into it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crucible.models.bundle import Bundle, Training, write_bundle
from crucible.models.candidates import build_model
from crucible.recipe import Recipe
from crucible.registry.tracking import CandidateRun, EvaluationRun
from crucible.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def settings(template_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    found = Settings(home=tmp_path / "home", recipes=ROOT / "recipes")
    found.mlruns.mkdir(parents=True)
    shutil.copy(template_store, found.mlruns / "mlflow.db")
    # whatever is written below the working directory instead of the home shows up in `tmp_path / "elsewhere"`
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return found


@pytest.fixture
def evaluation(recipe: Recipe, tmp_path: Path) -> EvaluationRun:
    table = tmp_path / "predictions.parquet"
    table.write_bytes(b"PAR1")
    candidates = {
        name: CandidateRun(
            params={"alpha": index, "trees": 100},
            folds=[{"fold_loss": 1.0 + fold, "fold_pearson_r": 0.1 * fold} for fold in range(5)],
            metrics={"topic_loss": 2.0, "directional_accuracy": 0.52},
            plots={"equity": PNG + name.encode()},
            files={"predictions.parquet": b"PAR1" + name.encode()},
        )
        for index, name in enumerate(("zero", "last_value", "ridge", "lightgbm", "catboost", "mean"))
    }
    return EvaluationRun(
        experiment=recipe.name,
        tags={"evaluation": "e1", "recipe_digest": recipe.digest, "bars_digest": "b" * 64, "feature_digest": "f" * 64},
        params={"topic.horizon": "5m"},
        metrics={"directional_accuracy": 0.53, "mape": float("inf")},
        dataset={"name": "bars", "digest": "d" * 32, "source": "bars.parquet", "schema": "{}",
                 "profile": '{"num_rows": 9}'},
        files=[table],
        texts={"report.md": "# Report\n"},
        plots={"equity": PNG},
        candidates=candidates,
    )  # fmt: skip


@pytest.fixture
def make_bundle(settings: Settings, recipe: Recipe) -> Callable[..., Bundle]:
    """A real bundle; another ``seed`` gives another digest."""

    def make(seed: int = 0, candidate: str = "mean") -> Bundle:
        generator = np.random.default_rng(seed)
        names = tuple("abcde")
        x = generator.normal(size=(400, 5))
        y = 1e-3 * (x[:, 0] + generator.normal(size=400))
        model = build_model(candidate, recipe, names).fit(x, y)
        training = Training(bars_digest="b" * 64, rows=400, first="2026-01-01", last="2026-01-02")
        return write_bundle(settings.bundles, recipe, candidate, names, training, model)

    return make
