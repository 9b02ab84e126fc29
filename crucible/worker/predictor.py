"""From a bundle and fresh bars to the value that a topic asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from crucible.errors import BundleError, GapError
from crucible.features.engine import compute_features, warmup_bars
from crucible.features.target import to_price
from crucible.market.feed import LiveFeed, require_fresh
from crucible.market.peers import join_peers
from crucible.market.recipe_bars import made_of
from crucible.models.bundle import Bundle
from crucible.recipe import Recipe

_LARGEST_RETURN = 0.5
_FEWEST_FEATURES = 0.5


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
    """

    value: float
    time: datetime
    log_return: float


def stored_warmup(recipe: Recipe) -> int:
    """Return how many stored bars, counted back from any instant, hold the warm-up of the newest prediction time."""
    return (warmup_bars(recipe) + 1) * recipe.data.parts


class Predictor:
    """Predicts with one bundle."""

    def __init__(self, bundle: Bundle, feeds: Sequence[LiveFeed]) -> None:
        self.bundle = bundle
        self._feeds = feeds  # one per symbol, in the order of the recipe's members

    def predict(self, now: datetime) -> Prediction:
        """Take the warm-up bars, compute the features and predict.

        Parameters
        ----------
        now : datetime
            The present; only bars that have closed by then count.

        Raises
        ------
        StaleError
            If the newest bar, of the own symbol or of a peer, is older than the recipe allows.
        GapError
            If so many bars are missing that most features are.
        SourceError
            If the exchange does not answer.
        BundleError
            If the model's answer makes no sense.
        """
        recipe = self.bundle.manifest.recipe
        data = recipe.data
        bars, *peers = (
            made_of(feed.closed(now, stored_warmup(recipe)), member).bars
            for feed, member in zip(self._feeds, data.members, strict=True)
        )
        for table in (bars, *peers):
            require_fresh(table, data.interval, now, recipe.deploy.max_staleness)
        bars = join_peers(bars, dict(zip(data.peers, peers, strict=True)))
        time: datetime = bars["open_time"][-1].as_py() + data.interval
        frame = compute_features(bars, recipe, at=time)
        known = float(np.isfinite(frame.values[0]).mean())
        if known < _FEWEST_FEATURES:
            raise GapError(
                f"Only {known:.0%} of the features are known at {time.isoformat()}: too many bars are missing."
            )
        predicted = float(self.bundle.predict(frame.values)[0])
        if not math.isfinite(predicted) or abs(predicted) > _LARGEST_RETURN:
            raise BundleError(f"The model predicts a log return of {predicted}, which cannot be meant.")
        value = to_price(float(frame.close[0]), predicted) if recipe.topic.target == "price" else predicted
        return Prediction(value, time.astimezone(UTC), predicted)
