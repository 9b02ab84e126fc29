"""The protocol that every model family follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np


class Model(Protocol):
    """Predicts the log return over the next H from a feature matrix.

    A model never raises on NaN features: a missing window is a fact of markets, not a fault of the caller.
    """

    def fit(self, x: np.ndarray, y: np.ndarray) -> Self:
        """Learn from features ``x`` (n, k) and log returns ``y`` (n,); return itself."""
        ...

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return predicted log returns (n,) for features ``x`` (n, k)."""
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
