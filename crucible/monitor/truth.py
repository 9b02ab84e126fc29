"""What came of a forecast, from stored bars: the return over its horizon, the scale known at its time, the regime."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from crucible.features.dataset import target
from crucible.features.target import to_price
from crucible.market.recipe_bars import read_bars
from crucible.market.store import BarStore
from crucible.recipe import Recipe
from crucible.validation.fits import known_scale
from crucible.validation.losses import topic_loss

REGIMES = ("calm", "normal", "turbulent")
"""Thirds by the volatility known at the prediction time; a fact holds the position in this list."""

_MEMORIES = 4  # after four times its memory an exponential average has forgotten where it began


@dataclass(frozen=True)
class Outcome:
    """What is known of one prediction time t, once ``t + H`` is over.

    Attributes
    ----------
    log_return : float
        ``ln(close(t + H) / close(t))``.
    close : float
        Price at t.
    scale : float
        Standard deviation of the target as known at t.
    regime : str
        One of :data:`REGIMES`.
    """

    log_return: float
    close: float
    scale: float
    regime: str


def outcomes(store: BarStore, recipe: Recipe, times: Iterable[datetime]) -> dict[datetime, Outcome]:
    """Return the outcome of each prediction time that stored bars can tell; the others are left out.

    Parameters
    ----------
    store : BarStore
        The bars.
    recipe : Recipe
        Its bars, target and horizon.
    times : iterable of datetime
        Prediction times, UTC.
    """
    wanted = sorted(set(times))
    if not wanted:
        return {}
    data, horizon = recipe.data, recipe.topic.horizon
    memory = _MEMORIES * max(50 * recipe.horizon_bars, 500) * data.interval
    bars = read_bars(store, data, wanted[0] - memory, wanted[-1] + horizon)
    if not bars.num_rows:
        return {}
    y = target(bars, recipe)
    opened = bars["open_time"].to_numpy().astype("datetime64[us]")
    closed = opened + np.timedelta64(data.interval)
    scale, close = known_scale(y, recipe.horizon_bars), bars["close"].to_numpy()
    before = scale[closed <= _bare(wanted[0])]
    low, high = np.quantile(before if len(before) else scale, [1 / 3, 2 / 3])
    found = {}
    for time in wanted:
        row = int(np.searchsorted(closed, _bare(time)))
        if row < len(closed) and closed[row] == _bare(time) and math.isfinite(y[row]):
            regime = REGIMES[int(scale[row] > low) + int(scale[row] > high)]
            found[time] = Outcome(float(y[row]), float(close[row]), float(scale[row]), regime)
    return found


def loss_of(recipe: Recipe, outcome: Outcome, value: float) -> float:
    """Return the topic's own loss of ``value``, which is in the topic's units."""
    predicted = log_return_of(recipe, outcome.close, value)
    true, own, close, scale = (
        np.array([item]) for item in (outcome.log_return, predicted, outcome.close, outcome.scale)
    )
    return float(topic_loss(recipe, true, own, close, scale)[0])


def log_return_of(recipe: Recipe, close: float, value: float) -> float:
    """Return a value in the topic's units as a log return from ``close``; NaN for a price that is none."""
    if recipe.topic.target != "price":
        return value
    return math.log(value / close) if value > 0 and close > 0 else math.nan


def value_of(recipe: Recipe, close: float, log_return: float) -> float:
    """Return a log return from ``close`` in the topic's units."""
    return to_price(close, log_return) if recipe.topic.target == "price" else log_return


def _bare(time: datetime) -> np.datetime64:
    return np.datetime64(int(time.timestamp() * 1e6), "us")
