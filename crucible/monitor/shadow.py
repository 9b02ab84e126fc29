"""Shadow models: a bundle predicts every window and is scored, and nothing of it is submitted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa

from crucible.bar_stages import bar_store
from crucible.errors import DataError
from crucible.features.engine import FeatureFrame, compute_features, warmup_bars
from crucible.market.bars import floor_time
from crucible.market.recipe_bars import history_of, read_bars
from crucible.models.bundle import Bundle
from crucible.monitor.store import SHADOW, Forecast, monitor_store
from crucible.monitor.submissions import newest_submissions_of
from crucible.monitor.truth import value_of
from crucible.recipe import Recipe
from crucible.settings import Settings
from crucible.stage_records import utc_of

_MOST = 2000  # windows per look; what is older is of no use to a decision
FEWEST_FEATURES = 0.5
"""The share of features that must be known, as the worker has it."""


def predict_shadow(
    settings: Settings,
    recipe: Recipe,
    bundle: Bundle,
    bars: pa.Table,
    time: datetime,
    *,
    nonce: int = 0,
    version: int = 0,
) -> Forecast:
    """Let ``bundle`` predict at ``time`` from ``bars``, and keep that as a shadow forecast.

    Parameters
    ----------
    settings : Settings
        The home.
    recipe : Recipe
        Whose topic it is.
    bundle : Bundle
        The challenger, or whoever else.
    bars : pyarrow.Table
        The recipe's bars with its warm-up; those after ``time`` are not looked at.
    time : datetime
        Prediction time t, a bar-close instant, UTC.
    nonce : int, optional
        The epoch; without it one that the chain does not know is made of ``time``, and the network's answer to it will
        not be known.
    version : int, optional
        The model version.

    Raises
    ------
    DataError
        If no bar closes at ``time``, or most features are not known there.
    """
    found = _forecasts(
        settings, recipe, bundle, compute_features(bars, bundle.manifest.recipe, at=time), {time: nonce}, version
    )
    if not found:
        raise DataError(f"Too few features are known at {time.isoformat()}: bars are missing.")
    monitor_store(settings).add_forecasts(found)
    return found[0]


def catch_up(settings: Settings, recipe: Recipe, bundle: Bundle, *, version: int = 0) -> int:
    """Predict every window that ``bundle`` has not predicted so far; return how many.

    Only windows after the last label that it was trained on: earlier ones would not be live. Windows whose bars are
    missing are left out.

    Raises
    ------
    DataError
        If no bars are stored.
    """
    store = monitor_store(settings)
    done = store.predicted(recipe.name, bundle.digest, source=SHADOW)
    windows = {time: nonce for time, nonce in _windows(settings, recipe, bundle) if time.isoformat() not in done}
    if not windows:
        return 0
    trained = bundle.manifest.recipe
    need = (warmup_bars(trained) + 1) * trained.data.interval
    bars = read_bars(bar_store(settings), trained.data, min(windows) - need, max(windows))
    if not bars.num_rows:
        return 0
    # the whole stretch at once: history and live give the same features, as the parity audit proves
    frame = compute_features(bars, trained)
    return store.add_forecasts(_forecasts(settings, recipe, bundle, frame, windows, version))


def _forecasts(
    settings: Settings,
    recipe: Recipe,
    bundle: Bundle,
    frame: FeatureFrame,
    windows: Mapping[datetime, int],
    version: int,
) -> list[Forecast]:
    """Return a forecast for each window at which enough features are known for a worker to have answered."""
    rows = {
        time: row for row, at in enumerate(frame.times) if (time := utc_of(at)) in windows
        and np.isfinite(frame.values[row]).mean() >= FEWEST_FEATURES
    }  # fmt: skip
    if not rows:
        return []
    predicted = bundle.predict(frame.values[list(rows.values())])
    now = settings.clock.now().isoformat()
    return [
        Forecast(
            chain_id=settings.chain_id, topic_id=recipe.topic_id(settings.network),
            nonce=windows[time] or -int(time.timestamp()), source=SHADOW, address="", bundle=bundle.digest,
            recipe=recipe.name, model_version=version, feature_digest=bundle.manifest.feature_digest,
            predicted_for=time.isoformat(), value=value_of(recipe, float(frame.close[row]), float(log_return)),
            tx_hash="", height=0, recorded_at=now,
        )
        for (time, row), log_return in zip(rows.items(), predicted, strict=True)
        if math.isfinite(log_return)
    ]  # fmt: skip


def _windows(settings: Settings, recipe: Recipe, bundle: Bundle) -> list[tuple[datetime, int]]:
    """Return the windows that count for ``bundle``: those of the worker, or else of the topic's clock."""
    begin = datetime.fromisoformat(bundle.manifest.training.last) + recipe.topic.horizon
    rows = newest_submissions_of(settings, recipe, _MOST)
    known = {datetime.fromisoformat(row.predicted_for): row.nonce for row in rows if row.predicted_for}
    end = history_of(bar_store(settings), recipe.data)[1]
    if not known:
        time = floor_time(begin, recipe.topic.cadence) + recipe.topic.cadence
        while time <= end:
            known[time] = 0
            time += recipe.topic.cadence
    return sorted((time, nonce) for time, nonce in known.items() if begin < time <= end)[-_MOST:]
