"""Targets: what is predicted, joined by time, with the interval that each label looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
import pyarrow as pa

from crucible.features.frame import Frame
from crucible.features.rolling import Rolling

Quantity = Literal["log_return", "volatility"]


@dataclass(frozen=True)
class Target:
    """A quantity over the next H, at every bar.

    Attributes
    ----------
    quantity : str
        ``log_return``: ``ln(close(t + H) / close(t))``; ``volatility``: the square root of the mean squared return of
        the bars in (t, t + H].
    horizon : timedelta
        H.
    values : numpy.ndarray
        Shape (n,), one per bar; NaN where the later bar, or for a volatility any bar in between, is missing.
    label_end : numpy.ndarray
        Shape (n,), ``datetime64[us]``, UTC: the label of prediction time t looks at (t, label_end]; a training row
        whose label reaches into a test block is purged.
    """

    quantity: Quantity
    horizon: timedelta
    values: np.ndarray
    label_end: np.ndarray


def targets(
    bars: pa.Table, interval: timedelta, horizons: Sequence[timedelta], quantity: Quantity = "log_return"
) -> list[Target]:
    """Return the target at every bar, for each horizon; joined by time, never by row offset.

    Parameters
    ----------
    bars : pyarrow.Table
        ``BAR_SCHEMA``, ascending; bars may be missing, and then the targets that need them are.
    interval : timedelta
        Length of a bar.
    horizons : sequence of timedelta
        Multiples of ``interval``.
    quantity : str
        Which quantity.

    Raises
    ------
    DataError
        If there are no bars.
    ValueError
        If a horizon is no multiple of the bar.
    """
    frame = Frame.of(bars, interval)
    there = np.isfinite(frame.columns["close"])
    found = []
    for horizon in horizons:
        if horizon % interval:
            raise ValueError(f"a horizon of {horizon} is no multiple of the bar, {interval}")
        steps = horizon // interval
        values = _log_return(frame, steps) if quantity == "log_return" else _volatility(frame, steps)
        ends = frame.times[there].view("datetime64[us]") + np.timedelta64(horizon)
        found.append(Target(quantity, horizon, values[there], ends))
    return found


def to_price(close: float, log_return: float) -> float:
    """Return the price that a log return from ``close`` leads to; the one place where the two are converted."""
    return float(close * np.exp(log_return))


def _log_return(frame: Frame, steps: int) -> np.ndarray:
    close = frame.columns["close"]
    out = np.full(len(close), np.nan)
    out[: len(close) - steps] = np.log(close[steps:] / close[: len(close) - steps])
    return out


def _volatility(frame: Frame, steps: int) -> np.ndarray:
    squared = frame.columns["r"] ** 2
    mean = Rolling(frame.first, len(squared)).sum("r * r", squared, steps) / steps
    out = np.full(len(mean), np.nan)
    out[: len(mean) - steps] = np.sqrt(mean[steps:])
    return out
