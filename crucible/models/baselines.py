"""The baselines that any model must beat: nothing changes, the last move repeats, and the mean move goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from crucible.models.model import HeldOut


@dataclass(frozen=True)
class Zero:
    """Predicts no change."""

    def fit(
        self, x: np.ndarray, y: np.ndarray, held_out: HeldOut | None = None, weight: np.ndarray | None = None
    ) -> Self:
        """Do nothing."""
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return zeros, shape (n,)."""
        return np.zeros(len(x))

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """Return zeros, shape (n, k)."""
        return np.zeros(x.shape)

    def save(self, folder: Path) -> None:
        """Write nothing but a marker, since there is nothing to remember."""
        (folder / "zero.json").write_text("{}\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the model."""
        return cls()

    def describe(self) -> dict[str, Any]:
        """Return no settings."""
        return {}


@dataclass(frozen=True)
class LastValue:
    """Predicts that the return over the last H repeats.

    Parameters
    ----------
    column : int
        Index of the feature ``return_1``.
    """

    column: int

    def fit(
        self, x: np.ndarray, y: np.ndarray, held_out: HeldOut | None = None, weight: np.ndarray | None = None
    ) -> Self:
        """Do nothing."""
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the last return, or 0 where it is missing; shape (n,)."""
        return np.nan_to_num(x[:, self.column], nan=0.0)

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """Return the last return in its own column, shape (n, k)."""
        found = np.zeros(x.shape)
        found[:, self.column] = self.predict(x)
        return found

    def save(self, folder: Path) -> None:
        """Write ``last_value.json``."""
        (folder / "last_value.json").write_text(json.dumps({"column": self.column}) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``last_value.json``."""
        return cls(**json.loads((folder / "last_value.json").read_text()))

    def describe(self) -> dict[str, Any]:
        """Return the column that is repeated."""
        return {"column": self.column}


class Drift:
    """Predicts the mean return of the training rows."""

    def __init__(self, mean: float = 0.0) -> None:
        self.mean = mean

    def fit(
        self, x: np.ndarray, y: np.ndarray, held_out: HeldOut | None = None, weight: np.ndarray | None = None
    ) -> Self:
        """Take the mean of ``y``."""
        self.mean = float(np.average(y, weights=weight))
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return that mean for every row, shape (n,)."""
        return np.full(len(x), self.mean)

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """Return zeros, shape (n, k): no feature is looked at."""
        return np.zeros(x.shape)

    def save(self, folder: Path) -> None:
        """Write ``drift.json``."""
        (folder / "drift.json").write_text(json.dumps({"mean": self.mean}) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``drift.json``."""
        return cls(**json.loads((folder / "drift.json").read_text()))

    def describe(self) -> dict[str, Any]:
        """Return no settings."""
        return {}
