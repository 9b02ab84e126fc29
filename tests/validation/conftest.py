"""Out-of-sample predictions with a known amount of skill."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from crucible.recipe import Recipe
from crucible.validation.predictions import OutOfSample

ROWS = 14_400


@pytest.fixture(scope="session")
def make_oos() -> Callable[..., tuple[OutOfSample, np.ndarray]]:
    """``ridge`` correlates with the truth by ``correlation``; ``mean`` is noise as large as the truth."""

    def make(
        recipe: Recipe, *, correlation: float = 0.1, seed: int = 0, rows: int = ROWS
    ) -> tuple[OutOfSample, np.ndarray]:
        generator = np.random.default_rng(seed)
        scale = 1e-3
        signal, noise = generator.normal(size=(2, rows))
        oos = OutOfSample(
            times=np.datetime64("2026-01-01T00:05", "us") + np.arange(rows) * np.timedelta64(recipe.data.interval),
            fold=np.arange(rows) * recipe.validation.folds // rows,
            close=np.full(rows, 100.0),
            y_true=scale * (correlation * signal + np.sqrt(1 - correlation**2) * noise),
            y_pred={
                "zero": np.zeros(rows),
                "ridge": scale * correlation * signal,
                "mean": scale * generator.normal(size=rows),
            },
        )
        return oos, np.full(rows, scale)

    return make
