"""The mean of other models, plain or weighted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from crucible.models.model import HeldOut, Model


class Mean:
    """Averages the predictions of its members, which is hard to beat.

    Parameters
    ----------
    members : dict of str to Model
        By name.
    weights : dict of str to float, optional
        From the inner search; equal by default.
    """

    name = "mean"

    def __init__(self, members: dict[str, Model], weights: dict[str, float] | None = None) -> None:
        self.members = members
        self.weights = weights or {name: 1.0 / len(members) for name in members}

    def fit(
        self, x: np.ndarray, y: np.ndarray, held_out: HeldOut | None = None, weight: np.ndarray | None = None
    ) -> Self:
        """Fit every member."""
        for member in self.members.values():
            member.fit(x, y, held_out, weight)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the members' mean prediction, shape (n,)."""
        return average({name: member.predict(x) for name, member in self.members.items()}, self.weights)

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """Return the members' weighted Shapley values, shape (n, k); they add up as the predictions do."""
        return average({name: member.contributions(x) for name, member in self.members.items()}, self.weights)

    def save(self, folder: Path) -> None:
        """Write ``<name>.json`` and every member."""
        (folder / f"{self.name}.json").write_text(json.dumps({"weights": self.weights}) + "\n")
        for member in self.members.values():
            member.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        from crucible.models.candidates import load_family

        weights = json.loads((folder / f"{cls.name}.json").read_text())["weights"]
        return cls({name: load_family(name, folder) for name in weights}, weights)

    def describe(self) -> dict[str, Any]:
        """Return the members' names and weights."""
        return {"members": ", ".join(f"{name} {weight:.3f}" for name, weight in self.weights.items())}


class Shrunk:
    """Another model's predictions times a factor: small signals are forecast too large more often than too small.

    Parameters
    ----------
    name : str
        The other one's family.
    model : Model
        It.
    factor : float
        From the inner search.
    """

    def __init__(self, name: str, model: Model, factor: float) -> None:
        self.name, self.model, self.factor = name, model, factor

    def fit(
        self, x: np.ndarray, y: np.ndarray, held_out: HeldOut | None = None, weight: np.ndarray | None = None
    ) -> Self:
        """Fit the other model."""
        self.model.fit(x, y, held_out, weight)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return its predictions times the factor, shape (n,)."""
        return self.model.predict(x) * self.factor

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """Return its Shapley values times the factor, shape (n, k)."""
        return self.model.contributions(x) * self.factor

    def save(self, folder: Path) -> None:
        """Write ``shrunk.json`` and the other model."""
        (folder / "shrunk.json").write_text(json.dumps({"name": self.name, "factor": self.factor}) + "\n")
        self.model.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        from crucible.models.candidates import load_family

        state = json.loads((folder / "shrunk.json").read_text())
        return cls(state["name"], load_family(state["name"], folder), state["factor"])

    def describe(self) -> dict[str, Any]:
        """Return the other model's settings and the factor."""
        return {**self.model.describe(), "shrink": self.factor}


class Weighted(Mean):
    """Averages with weights that the members earned in the inner search."""

    name = "weighted"


class Stacked(Mean):
    """Adds its members up with weights from a regression of the truth on them, on the inner tests."""

    name = "stacked"


def average(predictions: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """Return the weighted mean of equally shaped predictions; the one formula for model and walk-forward."""
    return np.sum(np.stack([predictions[name] * weight for name, weight in weights.items()]), axis=0)
