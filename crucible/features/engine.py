"""The one engine: a compiled feature set, run over history or over the last bars alike."""

from __future__ import annotations

import atexit
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa

from crucible.errors import DataError
from crucible.features.feature import Feature, FeatureSet, Window
from crucible.features.frame import Frame
from crucible.features.library import feature_set
from crucible.features.module import module_digest, module_features
from crucible.features.plan import Plan, compile_plan
from crucible.features.session import Session
from crucible.market.bars import to_micros
from crucible.recipe import FeatureSection, Recipe

_SEGMENT = 1 << 17  # rows: seventy columns of this length pass through the cache piece by piece
_THREADS = 2
_KEPT = 4


@dataclass(frozen=True)
class FeatureFrame:
    """Features at prediction times.

    Attributes
    ----------
    times : numpy.ndarray
        Shape (n,), ``datetime64[us]``, UTC: bar-close instants, ascending.
    close : numpy.ndarray
        Shape (n,): the close price at ``times``.
    columns : dict of str to numpy.ndarray
        The k features, each of shape (n,), float64; NaN where a window misses a bar.
    """

    times: np.ndarray
    close: np.ndarray
    columns: dict[str, np.ndarray]

    @property
    def names(self) -> tuple[str, ...]:
        """The k column names."""
        return tuple(self.columns)

    @cached_property
    def values(self) -> np.ndarray:
        """All features as one matrix, shape (n, k), C order; made when it is first asked for."""
        return np.column_stack(list(self.columns.values()))


def recipe_features(recipe: Recipe) -> FeatureSet:
    """Return the feature set that ``recipe`` names, and its own features after it.

    Raises
    ------
    RecipeError
        If there is no such set, a name is taken, or an own feature is none.
    """
    return _features(recipe.features, recipe.data.peers)


def recipe_plan(recipe: Recipe) -> Plan:
    """Return the compiled features of ``recipe``."""
    module = module_digest(recipe.features.module) if recipe.features.module else ""
    return _plan(recipe.features.model_dump_json(), recipe.data.peers, recipe.horizon_bars, module)


@lru_cache(maxsize=32)
def _plan(section: str, peers: tuple[str, ...], horizon_bars: int, module: str) -> Plan:
    # `module` is part of the key only: a file that has been edited since is read anew
    return compile_plan(_features(FeatureSection.model_validate_json(section), peers), horizon_bars)


def _features(section: FeatureSection, peers: tuple[str, ...]) -> FeatureSet:
    base = feature_set(section.set, section.version)
    theirs = module_features(section.module) if section.module else ()
    own = tuple(
        Feature(
            item.name, item.estimates, item.because, item.sql,
            {name: Window(window.horizons, window.least) for name, window in item.windows.items()},
            "own", low=item.low, high=item.high,
        )
        for item in section.own
    )  # fmt: skip
    features = (*base.features, *theirs, *own)
    return FeatureSet(base.name, base.version, features).with_peers(peers)


def feature_digest(recipe: Recipe) -> str:
    """Return the SHA-256 (hex) of what computes the recipe's features: equal text, equal numbers."""
    seconds = int(recipe.data.interval.total_seconds())
    return hashlib.sha256(f"{seconds}\n{recipe_plan(recipe).text}".encode()).hexdigest()


def warmup_bars(recipe: Recipe) -> int:
    """Return how many closed bars are needed to compute the features of the newest one."""
    return recipe_features(recipe).lookback(recipe.horizon_bars)


def compute_features(bars: pa.Table, recipe: Recipe, at: datetime | None = None) -> FeatureFrame:
    """Compute the recipe's features.

    Parameters
    ----------
    bars : pyarrow.Table
        Closed bars in ``BAR_SCHEMA``, ascending.
    recipe : Recipe
        Which features, horizon and interval.
    at : datetime, optional
        Compute only this prediction time (a bar-close instant, aware); by default every one.

    Raises
    ------
    DataError
        If there are no bars, or no bar closes at ``at``, or a feature cannot be computed; with its name.
    """
    return compute_plan(bars, recipe_plan(recipe), recipe.data.interval, at)


def compute_plan(bars: pa.Table, plan: Plan, interval: timedelta, at: datetime | None = None) -> FeatureFrame:
    """Compute a plan over bars of length ``interval``; see :func:`compute_features`."""
    frame = Frame.of(bars, interval, plan.peers)
    if at is None:
        return _history(plan, frame)
    row = frame.row_of(to_micros(at))
    if row is None:
        raise DataError(f"No bar closes at {at.isoformat()}; features exist only at bar closes.")
    part = frame.part(max(row + 1 - plan.lookback, 0), row + 1)
    session = _warm_session(plan.text, plan)
    with session.lock:
        found = session.compute(part, len(part.times) - 1)
    columns = {name: found[name] for name in plan.names}
    return FeatureFrame(part.times[-1:].view("datetime64[us]"), part.columns["close"][-1:], columns)


def _history(plan: Plan, frame: Frame) -> FeatureFrame:
    """Compute every row, a segment at a time: what fits the cache is several times as fast, and bits do not change."""
    rows = len(frame.times)
    columns = {name: np.empty(rows) for name in plan.names}

    def work(lows: range) -> None:
        session = Session(plan)
        for low in lows:
            start, high = max(low - plan.lookback, 0), min(low + _SEGMENT, rows)
            session.compute(
                frame.part(start, high), low - start, {name: values[low:high] for name, values in columns.items()}
            )

    with ThreadPoolExecutor(_THREADS) as pool:  # DuckDB and NumPy release the interpreter's lock
        shares = [range(index * _SEGMENT, rows, _THREADS * _SEGMENT) for index in range(_THREADS)]
        for done in [pool.submit(work, share) for share in shares if share]:
            done.result()
    close = frame.columns["close"]
    there = np.isfinite(close)
    if not there.all():
        columns = {name: values[there] for name, values in columns.items()}
    return FeatureFrame(frame.times[there].view("datetime64[us]"), close[there], columns)


class _Warm:
    """The sessions that stay open, by the text of their plan: a worker has one or two."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sessions: dict[str, Session] = {}
        atexit.register(self.close)  # before the interpreter takes DuckDB's module apart

    def close(self) -> None:
        for session in self.sessions.values():
            session.close()
        self.sessions.clear()


_WARM = _Warm()


def _warm_session(text: str, plan: Plan) -> Session:
    with _WARM.lock:
        if text not in _WARM.sessions:
            while len(_WARM.sessions) >= _KEPT:
                del _WARM.sessions[next(iter(_WARM.sessions))]  # closed when whoever still computes lets go of it
            _WARM.sessions[text] = Session(plan)
        return _WARM.sessions[text]
