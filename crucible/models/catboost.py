"""Gradient boosting by CatBoost, kept in its own cbm format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from crucible.recipe import CatBoostSection

if TYPE_CHECKING:
    from catboost import CatBoostRegressor


class CatBoost:
    """A CatBoost regression, deterministic for a seed; the target is scaled as in :class:`LightGBM`."""

    def __init__(self, settings: CatBoostSection, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self.scale = 1.0
        self.regressor: CatBoostRegressor | None = None

    def fit(self, x: np.ndarray, y: np.ndarray) -> Self:
        """Learn from features ``x`` (n, k) and log returns ``y`` (n,)."""
        from catboost import CatBoostRegressor

        self.scale = float(np.std(y)) or 1.0
        self.regressor = CatBoostRegressor(
            iterations=self.settings.trees,
            learning_rate=self.settings.learning_rate,
            depth=self.settings.depth,
            border_count=self.settings.borders,
            random_seed=self.seed,
            thread_count=1,
            allow_writing_files=False,
            verbose=False,
        )
        self.regressor.fit(x, y / self.scale)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return predicted log returns, shape (n,)."""
        assert self.regressor is not None, "fit or load first"
        return np.asarray(self.regressor.predict(x, thread_count=1)) * self.scale

    def save(self, folder: Path) -> None:
        """Write ``catboost.cbm`` and ``catboost.json``."""
        assert self.regressor is not None, "fit or load first"
        # a time and a random id would make equal models unequal files
        for name in ("model_guid", "train_finish_time"):
            self.regressor.get_metadata()[name] = ""
        self.regressor.save_model(str(folder / "catboost.cbm"))
        state = {"settings": self.settings.model_dump(), "seed": self.seed, "scale": self.scale}
        (folder / "catboost.json").write_text(json.dumps(state, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        from catboost import CatBoostRegressor

        state = json.loads((folder / "catboost.json").read_text())
        model = cls(CatBoostSection(**state["settings"]), state["seed"])
        model.scale = state["scale"]
        model.regressor = CatBoostRegressor().load_model(str(folder / "catboost.cbm"))
        return model

    def describe(self) -> dict[str, Any]:
        """Return the settings."""
        return {**self.settings.model_dump(), "seed": self.seed}
