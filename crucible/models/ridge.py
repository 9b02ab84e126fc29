"""Linear regressions on standardised features, kept as JSON coefficients: ridge and elastic net."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, Self

import numpy as np

from crucible.models.model import HeldOut


class Ridge:
    """Ridge regression; scikit-learn fits it, a dot product serves it.

    With ``share`` above 0, that share of the penalty is on absolute coefficients (elastic net), which drops features.
    ``columns`` restricts it to some features, by their index. Features are centred and scaled by training statistics,
    clipped at 5 standard deviations (one crash must not decide the coefficients), and a missing value counts as the
    mean. There is no intercept: a mean return that is estimated from overlapping targets is mostly noise, and as large
    as the signals that markets have; the candidate ``drift`` is there for those who believe in one.
    """

    name = "ridge"

    def __init__(self, alpha: float, share: float = 0.0, columns: list[int] | None = None) -> None:
        self.alpha = alpha
        self.share = share
        self.columns = columns
        self.centre = np.empty(0)
        self.scale = np.empty(0)
        self.coefficients = np.empty(0)

    def fit(
        self, x: np.ndarray, y: np.ndarray, held_out: HeldOut | None = None, weight: np.ndarray | None = None
    ) -> Self:
        """Learn from features ``x`` (n, k) and log returns ``y`` (n,)."""
        from sklearn.linear_model import ElasticNet
        from sklearn.linear_model import Ridge as Regression

        x = self._chosen(x)
        observed = np.isfinite(x)
        count = np.maximum(observed.sum(axis=0), 1)
        filled = np.where(observed, x, 0.0)
        self.centre = filled.sum(axis=0) / count
        spread = np.sqrt(np.where(observed, (x - self.centre) ** 2, 0.0).sum(axis=0) / count)
        self.scale = np.where(spread > 0, spread, 1.0)
        standard = self._standardise(x)
        # in units of the target's deviation, so that a penalty means the same whatever the horizon
        unit = float(np.std(y)) or 1.0
        if self.share:
            regression = ElasticNet(alpha=self.alpha, l1_ratio=self.share, fit_intercept=False, max_iter=500, tol=1e-3)
        else:
            regression = Regression(alpha=self.alpha, fit_intercept=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "did not converge": the descent is cut short on purpose, and judged
            regression.fit(standard, y / unit, sample_weight=weight)
        self.coefficients = regression.coef_ * unit
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return predicted log returns, shape (n,)."""
        # an explicit sum, not BLAS: a row predicts the same to the bit alone or among others
        return (self._standardise(self._chosen(x)) * self.coefficients).sum(axis=1)

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """Return each feature's term of the sum, shape (n, k); those that are not used have none."""
        terms = self._standardise(self._chosen(x)) * self.coefficients
        if self.columns is None:
            return terms
        found = np.zeros(x.shape)
        found[:, self.columns] = terms
        return found

    def _chosen(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x if self.columns is None else x[:, self.columns], dtype=np.float64)

    def _standardise(self, x: np.ndarray) -> np.ndarray:
        standard = np.clip((x - self.centre) / self.scale, -5.0, 5.0)
        return np.where(np.isfinite(standard), standard, 0.0)

    def save(self, folder: Path) -> None:
        """Write ``<name>.json``."""
        state = {
            "alpha": self.alpha,
            "share": self.share,
            "columns": self.columns,
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            "coefficients": self.coefficients.tolist(),
        }
        (folder / f"{self.name}.json").write_text(json.dumps(state, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``<name>.json``."""
        state = json.loads((folder / f"{cls.name}.json").read_text())
        model = cls(state["alpha"], state["share"], state["columns"])
        model.centre, model.scale = np.array(state["centre"]), np.array(state["scale"])
        model.coefficients = np.array(state["coefficients"])
        return model

    def describe(self) -> dict[str, Any]:
        """Return the settings."""
        return {"alpha": self.alpha} | ({"share": self.share} if self.share else {})


class ElasticNet(Ridge):
    """The same with a penalty on absolute coefficients, too."""

    name = "elastic_net"


class Har(Ridge):
    """Ridge on returns and volatilities of several look-backs only (after Corsi 2009)."""

    name = "har"
