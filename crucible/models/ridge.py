"""Ridge regression on standardised features, kept as JSON coefficients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import numpy as np


class Ridge:
    """Ridge regression; scikit-learn fits it, a dot product serves it.

    Features are centred and scaled by training statistics, clipped at 5 standard deviations (one crash must not
    decide the coefficients), and a missing value counts as the mean.
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self.centre = np.empty(0)
        self.scale = np.empty(0)
        self.coefficients = np.empty(0)
        self.intercept = 0.0

    def fit(self, x: np.ndarray, y: np.ndarray) -> Self:
        """Learn from features ``x`` (n, k) and log returns ``y`` (n,)."""
        from sklearn.linear_model import Ridge as Regression

        observed = np.isfinite(x)
        count = np.maximum(observed.sum(axis=0), 1)
        filled = np.where(observed, x, 0.0)
        self.centre = filled.sum(axis=0) / count
        spread = np.sqrt(np.where(observed, (x - self.centre) ** 2, 0.0).sum(axis=0) / count)
        self.scale = np.where(spread > 0, spread, 1.0)
        regression = Regression(alpha=self.alpha).fit(self._standardise(x), y)
        self.coefficients, self.intercept = regression.coef_, float(regression.intercept_)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return predicted log returns, shape (n,)."""
        # an explicit sum, not BLAS: a row predicts the same to the bit alone or among others
        return (self._standardise(x) * self.coefficients).sum(axis=1) + self.intercept

    def _standardise(self, x: np.ndarray) -> np.ndarray:
        standard = np.clip((x - self.centre) / self.scale, -5.0, 5.0)
        return np.where(np.isfinite(standard), standard, 0.0)

    def save(self, folder: Path) -> None:
        """Write ``ridge.json``."""
        state = {
            "alpha": self.alpha,
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            "coefficients": self.coefficients.tolist(),
            "intercept": self.intercept,
        }
        (folder / "ridge.json").write_text(json.dumps(state, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``ridge.json``."""
        state = json.loads((folder / "ridge.json").read_text())
        model = cls(state["alpha"])
        model.centre, model.scale = np.array(state["centre"]), np.array(state["scale"])
        model.coefficients, model.intercept = np.array(state["coefficients"]), state["intercept"]
        return model

    def describe(self) -> dict[str, Any]:
        """Return the settings."""
        return {"alpha": self.alpha}
