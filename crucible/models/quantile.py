"""Gradient boosting of quantiles by LightGBM: a forecast that single wild returns do not move."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from crucible.errors import EvaluationError
from crucible.model_settings import LightGBMSection, QuantileSection
from crucible.models.lightgbm import LightGBM
from crucible.models.model import HeldOut

LEVELS = {"low": 0.25, "middle": 0.5, "high": 0.75}
"""The quantiles that are learnt, by the name of their files' folder."""

_WEIGHTS = {"low": 0.25, "middle": 0.5, "high": 0.25}


class Quantile:
    """Predicts Tukey's trimean, (Q1 + 2 Q2 + Q3) / 4, of three quantile regressions.

    The mean of returns with fat tails is decided by few of them; the trimean is not, and costs little where tails are
    thin (Koenker and Bassett 1978).
    """

    def __init__(self, settings: QuantileSection, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        own = LightGBMSection(**settings.model_dump())
        self.members = {name: LightGBM(own, seed, quantile=level) for name, level in LEVELS.items()}

    def fit(
        self, x: np.ndarray, y: np.ndarray, held_out: HeldOut | None = None, weight: np.ndarray | None = None
    ) -> Self:
        """Learn from features ``x`` (n, k) and log returns ``y`` (n,); see :class:`.Model`."""
        for member in self.members.values():
            member.fit(x, y, held_out, weight)
        return self

    @property
    def rounds(self) -> int:
        """How many trees the median uses."""
        return self.members["middle"].rounds

    def quantiles(self, x: np.ndarray) -> np.ndarray:
        """Return the predicted quantiles, ascending, shape (n, 3)."""
        return np.sort(np.column_stack([member.predict(x) for member in self.members.values()]), axis=1)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the trimean, shape (n,)."""
        return np.sum([self.members[name].predict(x) * weight for name, weight in _WEIGHTS.items()], axis=0)

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """Return the trimean of Shapley values, shape (n, k)."""
        return np.sum([self.members[name].contributions(x) * weight for name, weight in _WEIGHTS.items()], axis=0)

    def save(self, folder: Path) -> None:
        """Write LightGBM's two files per quantile, each with its level in the name."""
        for name, member in self.members.items():
            member.save(folder, stem=f"quantile_{name}")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        members = {name: LightGBM.load(folder, stem=f"quantile_{name}") for name in LEVELS}
        middle = members["middle"]
        if any(members[name].quantile != level for name, level in LEVELS.items()):
            raise EvaluationError(f"{folder} holds other quantiles than those of this version.")
        fields = middle.settings.model_dump(include=set(QuantileSection.model_fields))
        model = cls(QuantileSection(**fields), middle.seed)
        model.members = members
        return model

    def describe(self) -> dict[str, Any]:
        """Return the settings."""
        return {**self.settings.model_dump(), "seed": self.seed}
