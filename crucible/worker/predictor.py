"""From a bundle and fresh bars to the value that a topic asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from crucible.errors import BundleError, GapError, StaleError
from crucible.features.engine import compute_features, warmup_bars
from crucible.features.target import to_price
from crucible.market.bars import floor_time
from crucible.market.feed import LiveFeed, require_fresh
from crucible.market.peers import join_peers
from crucible.market.recipe_bars import made_of
from crucible.models.bundle import Bundle
from crucible.network.loss_methods import LOSSES
from crucible.recipe import Recipe
from crucible.worker.sanity import require_sane_return

_FEWEST_FEATURES = 0.5
_SMALLEST_LOSS = 1e-18  # a perfect forecast has no logarithm
_HORIZONS = 24  # how many of them the simple rungs look back at


@dataclass(frozen=True)
class Prediction:
    """A forecast.

    Attributes
    ----------
    value : float
        In the topic's units: a price, or a log return.
    time : datetime
        The prediction time t: the close of the newest bar, UTC.
    log_return : float
        What the model said.
    close : float
        The newest close.
    scale : float
        Standard deviation of log returns over the horizon, from the bars that the features saw; 0 if unknown.
    """

    value: float
    time: datetime
    log_return: float
    close: float = 0.0
    scale: float = 0.0


def stored_warmup(recipe: Recipe) -> int:
    """Return how many stored bars, counted back from any instant, hold the warm-up of the newest prediction time."""
    return (warmup_bars(recipe) + 1) * recipe.data.parts


class Predictor:
    """Predicts with one bundle."""

    def __init__(self, bundle: Bundle, feeds: Sequence[LiveFeed]) -> None:
        self.bundle = bundle
        self._feeds = feeds  # one per symbol, in the order of the recipe's members

    def predict(self, now: datetime, rung: str = "champion") -> Prediction:
        """Take the warm-up bars, compute the features and predict.

        Parameters
        ----------
        now : datetime
            The present; only bars that have closed by then count.
        rung : str
            ``linear``, ``drift`` and ``zero`` take the place of the model; anything else is the model.

        Raises
        ------
        StaleError
            If the newest bar, of the own symbol or of a peer, is older than the recipe allows.
        GapError
            If so many bars are missing that most features are.
        SourceError
            If the exchange does not answer.
        Withheld
            If the answer makes no sense.
        """
        recipe = self.bundle.manifest.recipe
        data = recipe.data
        simple = _SIMPLE.get(rung)
        members = data.members[:1] if simple else data.members
        bars, *peers = (
            made_of(feed.closed(now, stored_warmup(recipe)), member).bars
            for feed, member in zip(self._feeds, members, strict=not simple)
        )
        for table in (bars, *peers):
            require_fresh(table, data.interval, now, recipe.deploy.max_staleness)
        time: datetime = bars["open_time"][-1].as_py() + data.interval
        closes = np.log(bars["close"].to_numpy())
        close = float(np.exp(closes[-1]))
        if simple:
            predicted = simple(closes[-_HORIZONS * recipe.horizon_bars - 1 :], recipe.horizon_bars)
        else:
            bars = join_peers(bars, dict(zip(data.peers, peers, strict=True)))
            predicted, close = self._model(bars, time)
        steps = np.diff(closes)
        scale = float(steps.std() * math.sqrt(recipe.horizon_bars)) if len(steps) > 1 else 0.0
        require_sane_return(predicted)
        value = to_price(close, predicted) if recipe.topic.target == "price" else predicted
        return Prediction(value, time.astimezone(UTC), predicted, close, scale)

    def losses(self, at: datetime, values: Mapping[str, float], method: str, now: datetime) -> dict[str, float]:
        """Return how well each of ``values`` foretold what has happened since, by the recipe's own bars.

        Parameters
        ----------
        at : datetime
            The time of the epoch's block, aware; the truth is that of the newest bar closed by then and of the one
            that closed a horizon later.
        values : mapping
            What was foretold, in the topic's units.
        method : str
            The topic's loss method.
        now : datetime
            The present.

        Returns
        -------
        dict of str to float
            Log10 losses; a perfect value counts as 1e-18.

        Raises
        ------
        GapError
            If one of the two bars is missing.
        StaleError
            If the horizon is not over.
        """
        recipe = self.bundle.manifest.recipe
        interval, horizon = recipe.data.interval, recipe.topic.horizon
        start = floor_time(at - recipe.data.offset, interval) + recipe.data.offset
        if start + horizon > now:
            raise StaleError(f"The truth of {at.isoformat()} is known at {(start + horizon).isoformat()} only.")
        count = stored_warmup(recipe) + (now - start) // recipe.data.stored + 1
        bars = made_of(self._feeds[0].closed(now, count), recipe.data.members[0]).bars
        closes = {opened + interval: close for opened, close in
                  zip(bars["open_time"].to_pylist(), bars["close"].to_pylist(), strict=True)}  # fmt: skip
        if start not in closes or start + horizon not in closes:
            raise GapError(f"The bars that tell the truth of {at.isoformat()} are missing.")
        before, after = closes[start], closes[start + horizon]
        known = np.log([close for time, close in closes.items() if time <= start])
        scale = float(np.diff(known).std() * math.sqrt(recipe.horizon_bars)) if len(known) > 2 else 1.0
        truth = after if recipe.topic.target == "price" else math.log(after / before)
        scale *= after if recipe.topic.target == "price" else 1.0
        if method not in LOSSES:
            raise BundleError(f"The loss method {method!r} is not known.")
        found = LOSSES[method](
            np.full(len(values), truth),
            np.array(list(values.values()), dtype=float),
            np.full(len(values), scale or 1.0),
        )
        return dict(zip(values, np.log10(np.maximum(found, _SMALLEST_LOSS)).tolist(), strict=True))

    def _model(self, bars: pa.Table, time: datetime) -> tuple[float, float]:
        frame = compute_features(bars, self.bundle.manifest.recipe, at=time)
        known = float(np.isfinite(frame.values[0]).mean())
        if known < _FEWEST_FEATURES:
            raise GapError(
                f"Only {known:.0%} of the features are known at {time.isoformat()}: too many bars are missing."
            )
        return float(self.bundle.predict(frame.values)[0]), float(frame.close[0])


def _drift(closes: np.ndarray, horizon: int) -> float:
    """Return the mean log return per bar, over the horizon."""
    return float(closes[-1] - closes[0]) / max(len(closes) - 1, 1) * horizon


def _linear(closes: np.ndarray, horizon: int) -> float:
    """Return the next horizon's return by least squares from the one before it, without an intercept."""
    returns = np.diff(closes[::-horizon][::-1])  # counted back from the newest close
    if len(returns) < 3:
        return 0.0
    before, after = returns[:-1], returns[1:]
    power = float(before @ before)
    return float(returns[-1]) * float(before @ after) / power if power > 0 else 0.0


_SIMPLE: dict[str, Callable[[np.ndarray, int], float]] = {
    "linear": _linear,
    "drift": _drift,
    "zero": lambda closes, horizon: 0.0,
}
"""Rungs that need bars and no model: from log closes and the horizon in bars to a log return."""
