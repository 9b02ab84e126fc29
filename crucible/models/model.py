"""The protocol that every model family follows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np


@dataclass(frozen=True)
class HeldOut:
    """Rows that a growing model may look at to know when to stop.

    Attributes
    ----------
    x : numpy.ndarray
        Shape (m, k): features.
    y : numpy.ndarray
        Shape (m,): log returns.
    patience : int
        How many rounds without improvement end the fit.
    deadline : float
        ``time.monotonic()`` after which the fit is given up.
    """

    x: np.ndarray
    y: np.ndarray
    patience: int
    deadline: float


class Model(Protocol):
    """Predicts the log return over the next H from a feature matrix.

    A model never raises on NaN features: a missing window is a fact of markets, not a fault of the caller.
    """

    def fit(
        self, x: np.ndarray, y: np.ndarray, held_out: HeldOut | None = None, weight: np.ndarray | None = None
    ) -> Self:
        """Learn from features ``x`` (n, k) and log returns ``y`` (n,); return itself.

        A model that grows (boosting) stops where ``held_out`` rows, which come after ``x``, no longer improve. Rows
        count by ``weight`` (n,), which has a mean of 1; equally by default.
        """
        ...

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return predicted log returns (n,) for features ``x`` (n, k)."""
        ...

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """Return by how much each feature moves each prediction, shape (n, k): Shapley values, in log returns."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model into an existing folder, in non-executable formats only."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the model that :meth:`save` wrote into ``folder``."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the settings, as plain values, for an experiment tracker."""
        ...
