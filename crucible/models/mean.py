"""The plain mean of other models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import numpy as np

from crucible.models.model import Model


class Mean:
    """Averages the predictions of its members, which is hard to beat and needs no weights to be learnt."""

    def __init__(self, members: dict[str, Model]) -> None:
        self.members = members

    def fit(self, x: np.ndarray, y: np.ndarray) -> Self:
        """Fit every member."""
        for member in self.members.values():
            member.fit(x, y)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the members' mean prediction, shape (n,)."""
        return average([member.predict(x) for member in self.members.values()])

    def save(self, folder: Path) -> None:
        """Write ``mean.json`` and every member."""
        (folder / "mean.json").write_text(json.dumps({"members": list(self.members)}) + "\n")
        for member in self.members.values():
            member.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        from crucible.models.candidates import load_model

        names = json.loads((folder / "mean.json").read_text())["members"]
        return cls({name: load_model(name, folder) for name in names})

    def describe(self) -> dict[str, Any]:
        """Return the members' names."""
        return {"members": ", ".join(self.members)}


def average(predictions: list[np.ndarray]) -> np.ndarray:
    """Return the mean of equally long predictions; the one formula for the model and for the walk-forward."""
    return np.mean(np.stack(predictions), axis=0)
