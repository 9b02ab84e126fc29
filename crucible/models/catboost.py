"""Gradient boosting by CatBoost, kept in its own cbm format."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from crucible.model_settings import CatBoostSection
from crucible.models.model import HeldOut

if TYPE_CHECKING:
    from catboost import CatBoostRegressor


class CatBoost:
    """A CatBoost regression, deterministic for a seed; the target is scaled as in :class:`LightGBM`."""

    def __init__(self, settings: CatBoostSection, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self.scale = 1.0
        self.regressor: CatBoostRegressor | None = None

    def fit(
        self, x: np.ndarray, y: np.ndarray, held_out: HeldOut | None = None, weight: np.ndarray | None = None
    ) -> Self:
        """Learn from features ``x`` (n, k) and log returns ``y`` (n,); see :class:`.Model`."""
        from catboost import CatBoostRegressor

        self.scale = float(np.std(y)) or 1.0
        self.regressor = CatBoostRegressor(
            iterations=self.settings.trees,
            learning_rate=self.settings.learning_rate,
            depth=self.settings.depth,
            border_count=self.settings.borders,
            random_seed=self.seed,
            boost_from_average=False,  # the mean return is noise, see Ridge
            thread_count=1,
            allow_writing_files=False,
            verbose=False,
        )
        later: dict[str, Any] = {}
        if held_out is not None:
            later = {
                "eval_set": (np.asarray(held_out.x, dtype=np.float32), held_out.y / self.scale),
                "early_stopping_rounds": held_out.patience,
                "callbacks": [_Deadline(held_out.deadline)],
            }
        self.regressor.fit(np.asarray(x, dtype=np.float32), y / self.scale, sample_weight=weight, **later)
        return self

    @property
    def rounds(self) -> int:
        """How many trees are used."""
        assert self.regressor is not None, "fit or load first"
        return int(self.regressor.tree_count_)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return predicted log returns, shape (n,)."""
        assert self.regressor is not None, "fit or load first"
        x = np.asarray(x, dtype=np.float32)  # as it was fitted: a value on an edge stays on its side
        return np.asarray(self.regressor.predict(x, thread_count=1)) * self.scale

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """Return Shapley values by path-dependent TreeSHAP (Lundberg and Lee 2017), shape (n, k)."""
        from catboost import Pool

        assert self.regressor is not None, "fit or load first"
        pool = Pool(np.asarray(x, dtype=np.float32))
        found = self.regressor.get_feature_importance(pool, type="ShapValues", thread_count=1)
        return np.asarray(found)[:, :-1] * self.scale  # the last column is the mean prediction

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


class _Deadline:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def after_iteration(self, info: object) -> bool:
        """Return whether to go on."""
        return time.monotonic() <= self.deadline
