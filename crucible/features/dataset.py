"""Features joined with their target, by time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from crucible.errors import DataError, EvaluationError
from crucible.features.engine import FeatureFrame, compute_features, warmup_bars
from crucible.features.target import targets
from crucible.recipe import Recipe


@dataclass(frozen=True)
class Dataset:
    """What a model is fitted and tested on; every row has a complete target.

    Attributes
    ----------
    times : numpy.ndarray
        Shape (n,), ``datetime64[us]``, UTC: prediction times t, ascending.
    close : numpy.ndarray
        Shape (n,): close price at t.
    x : numpy.ndarray
        Shape (n, k), float64, C order: features at t; NaN where a window misses a bar.
    y : numpy.ndarray
        Shape (n,): ``ln(close(t + H) / close(t))``. Its label interval is [t, t + H].
    names : tuple of str
        The k feature names.
    """

    times: np.ndarray
    close: np.ndarray
    x: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]


def build_dataset(bars: pa.Table, recipe: Recipe, frame: FeatureFrame | None = None) -> Dataset:
    """Compute features and target, and keep the rows that have a target and at least one window of history.

    Parameters
    ----------
    bars : pyarrow.Table
        Closed bars in ``BAR_SCHEMA``, ascending.
    recipe : Recipe
        Which features and horizon.
    frame : FeatureFrame, optional
        The features over the same bars, where they are known already.

    Raises
    ------
    DataError
        If there are fewer bars than the warm-up (how many lack), or a feature is infinite (which, and where).
    EvaluationError
        If no row is left.
    """
    need = warmup_bars(recipe)
    if bars.num_rows <= need:
        raise DataError(
            f"{bars.num_rows} bars of {recipe.data.symbol} are stored, and the features of {recipe.name} look back "
            f"{need}: {need + 1 - bars.num_rows} more are needed."
        )
    frame = frame or compute_features(bars, recipe)
    for name, values in frame.columns.items():
        if np.isinf(values).any():
            at = frame.times[int(np.argmax(np.isinf(values)))]
            raise DataError(f"Feature {name} is infinite at {at}Z; a division by nothing must be missing: use ratio().")
    y = target(bars, recipe)
    # a row whose every window is incomplete carries only the clock; it would teach a model nothing about the market
    keep = np.isfinite(y) & (np.isfinite(frame.values).mean(axis=1) > 0.5)
    if not keep.any():
        raise EvaluationError(f"{bars.num_rows} bars of {recipe.data.symbol} give no row with features and a target.")
    return Dataset(
        times=frame.times[keep],
        close=frame.close[keep],
        x=np.ascontiguousarray(frame.values[keep]),
        y=y[keep],
        names=frame.names,
    )


def target(bars: pa.Table, recipe: Recipe) -> np.ndarray:
    """Return ``ln(close(t + H) / close(t))`` for every bar, shape (n,); NaN where the later bar is missing."""
    return targets(bars, recipe.data.interval, [recipe.topic.horizon])[0].values
