"""Gradient boosting by LightGBM, kept in its own text format."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from crucible.errors import EvaluationError
from crucible.model_settings import LightGBMSection
from crucible.models.model import HeldOut
from crucible.models.objectives import OBJECTIVES, Derivatives, Objective

if TYPE_CHECKING:
    import lightgbm
    from lightgbm import Booster


class LightGBM:
    """A LightGBM regression, deterministic for a seed.

    The target is divided by its standard deviation while fitting: log returns of five minutes are so small that
    LightGBM's own constants would otherwise act as regularisers. With ``quantile`` it predicts that one, whatever the
    settings' objective.
    """

    def __init__(self, settings: LightGBMSection, seed: int, quantile: float | None = None) -> None:
        self.settings = settings
        self.seed = seed
        self.quantile = quantile
        self.scale = 1.0
        self.booster: Booster | None = None

    def fit(
        self, x: np.ndarray, y: np.ndarray, held_out: HeldOut | None = None, weight: np.ndarray | None = None
    ) -> Self:
        """Learn from features ``x`` (n, k) and log returns ``y`` (n,); see :class:`.Model`."""
        import lightgbm

        self.scale = float(np.std(y)) or 1.0
        own = OBJECTIVES.get(self.settings.objective) if self.quantile is None else None
        builtin = (
            "quantile"
            if self.quantile is not None
            else {"sqe": "regression", "abse": "regression_l1"}.get(self.settings.objective)
        )
        parameters = {
            "objective": _derivatives(own) if own else builtin,
            **({} if self.quantile is None else {"alpha": self.quantile}),
            "learning_rate": self.settings.learning_rate,
            "num_leaves": self.settings.leaves,
            "min_data_in_leaf": self.settings.min_leaf_rows,
            "feature_fraction": self.settings.feature_fraction,
            "max_bin": self.settings.bins,
            "seed": self.seed,
            "boost_from_average": False,  # the mean return is noise, see Ridge
            "deterministic": True,
            "force_col_wise": True,
            # one thread per fit: folds run side by side, and OpenMP's spinning threads ruin each other
            "num_threads": 1,
            "verbosity": -1,
        }
        # bin edges come from these rows alone
        data = lightgbm.Dataset(np.asarray(x, dtype=np.float32), y / self.scale, weight=weight)
        callbacks: list[Callable[..., None]] = []
        later = []
        if held_out is not None:
            later = [data.create_valid(np.asarray(held_out.x, dtype=np.float32), held_out.y / self.scale)]
            callbacks = [lightgbm.early_stopping(held_out.patience, verbose=False), _until(held_out.deadline)]
        self.booster = lightgbm.train(
            parameters, data, num_boost_round=self.settings.trees, valid_sets=later, callbacks=callbacks,
            feval=_mean_loss(own) if own else None,
        )  # fmt: skip
        return self

    @property
    def rounds(self) -> int:
        """How many trees are used."""
        assert self.booster is not None, "fit or load first"
        return self.booster.best_iteration if self.booster.best_iteration > 0 else self.booster.num_trees()

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return predicted log returns, shape (n,)."""
        assert self.booster is not None, "fit or load first"
        x = np.asarray(x, dtype=np.float32)  # as it was fitted: a value on an edge stays on its side
        return np.asarray(self.booster.predict(x, num_threads=1)) * self.scale

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """Return Shapley values by path-dependent TreeSHAP (Lundberg and Lee 2017), shape (n, k)."""
        assert self.booster is not None, "fit or load first"
        found = self.booster.predict(np.asarray(x, dtype=np.float32), pred_contrib=True, num_threads=1)
        return np.asarray(found)[:, :-1] * self.scale  # the last column is the mean prediction

    def save(self, folder: Path, stem: str = "lightgbm") -> None:
        """Write ``<stem>.txt`` and ``<stem>.json``."""
        assert self.booster is not None, "fit or load first"
        self.booster.save_model(folder / f"{stem}.txt")
        state = {
            "settings": self.settings.model_dump(), "seed": self.seed, "scale": self.scale, "quantile": self.quantile
        }  # fmt: skip
        (folder / f"{stem}.json").write_text(json.dumps(state, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path, stem: str = "lightgbm") -> Self:
        """Read what :meth:`save` wrote."""
        import lightgbm

        state = json.loads((folder / f"{stem}.json").read_text())
        model = cls(LightGBMSection(**state["settings"]), state["seed"], state.get("quantile"))
        model.scale = state["scale"]
        model.booster = lightgbm.Booster(model_file=str(folder / f"{stem}.txt"))
        return model

    def describe(self) -> dict[str, Any]:
        """Return the settings."""
        return {**self.settings.model_dump(), "seed": self.seed}


def _derivatives(objective: Objective) -> Callable[..., Derivatives]:
    def derivatives(forecast: np.ndarray, data: lightgbm.Dataset) -> Derivatives:
        first, second = objective.derivatives(data.get_label(), forecast)
        weight = data.get_weight()
        return (first, second) if weight is None else (first * weight, second * weight)

    return derivatives


def _mean_loss(objective: Objective) -> Callable[..., tuple[str, float, bool]]:
    return lambda forecast, data: ("loss", float(objective.loss(data.get_label(), forecast).mean()), False)


def _until(deadline: float) -> Callable[..., None]:
    def check(environment: object) -> None:
        if time.monotonic() > deadline:
            raise EvaluationError("The fit took longer than its deadline.")

    return check
