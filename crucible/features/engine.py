"""The one engine: a compiled feature set, run over history or over the last bars alike."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crucible.errors import DataError
from crucible.features.feature import Feature, FeatureSet
from crucible.features.frame import Frame
from crucible.features.library import feature_set
from crucible.features.macros import MACROS
from crucible.features.plan import BASE, Plan, column_of, compile_plan, select
from crucible.features.rolling import Rolling
from crucible.market.bars import to_micros
from crucible.recipe import Recipe


@dataclass(frozen=True)
class FeatureFrame:
    """Features at prediction times.

    Attributes
    ----------
    times : numpy.ndarray
        Shape (n,), ``datetime64[us]``, UTC: bar-close instants, ascending.
    close : numpy.ndarray
        Shape (n,): the close price at ``times``.
    values : numpy.ndarray
        Shape (n, k), float64; NaN where a window misses a bar.
    names : tuple of str
        The k column names.
    """

    times: np.ndarray
    close: np.ndarray
    values: np.ndarray
    names: tuple[str, ...]


def recipe_features(recipe: Recipe) -> FeatureSet:
    """Return the feature set that ``recipe`` names."""
    return feature_set(recipe.features.set, recipe.features.version)


def recipe_plan(recipe: Recipe) -> Plan:
    """Return the compiled features of ``recipe``."""
    return _plan(recipe.features.set, recipe.features.version, recipe.horizon_bars)


@lru_cache(maxsize=32)
def _plan(name: str, version: int, horizon_bars: int) -> Plan:
    return compile_plan(feature_set(name, version), horizon_bars)


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
    frame = Frame.of(bars, interval)
    if at is None:
        rows, threads = slice(0, len(frame.times)), 2
    else:
        row = frame.row_of(to_micros(at))
        if row is None:
            raise DataError(f"No bar closes at {at.isoformat()}; features exist only at bar closes.")
        rows, threads = slice(row, row + 1), 1
    with duckdb.connect(":memory:", config={"threads": threads}) as connection:
        for name, body in MACROS.items():
            connection.execute(f"CREATE MACRO {name} AS {body}")
        inner = _select(connection, plan.inner, plan.inner_sql, "frame", frame, {}, slice(0, len(frame.times)))
        windows = _windows(plan, frame, inner, threads)
        found = _select(connection, plan.outer, plan.outer_sql, "windows", frame, windows, rows)
    for feature in plan.functions:
        found[feature.name] = _call(plan, feature, frame)[rows]
    close = frame.columns["close"][rows]
    there = np.isfinite(close)
    values = np.empty((len(plan.names), int(there.sum())))  # a column at a time, and seen from the side
    for index, name in enumerate(plan.names):
        values[index] = found[name] if there.all() else found[name][there]
    return FeatureFrame(frame.times[rows][there].view("datetime64[us]"), close[there], values.T, plan.names)


def _windows(plan: Plan, frame: Frame, inner: dict[str, np.ndarray], threads: int) -> dict[str, np.ndarray]:
    rolling = Rolling(frame.first, len(frame.times))
    columns = {**frame.columns, **inner}

    def compute(name: str) -> np.ndarray:
        term = plan.terms[name]
        return term.compute(rolling, [columns[column_of(text)] for text in term.columns])

    if threads == 1:
        return {name: compute(name) for name in plan.terms}
    with ThreadPoolExecutor(threads) as pool:  # NumPy releases the interpreter's lock
        return dict(zip(plan.terms, pool.map(compute, plan.terms), strict=True))


def _select(
    connection: duckdb.DuckDBPyConnection,
    columns: dict[str, str],
    sql: str,
    relation: str,
    frame: Frame,
    extra: dict[str, np.ndarray],
    rows: slice,
) -> dict[str, np.ndarray]:
    """Run one of the two queries; which feature it was is found out only when something went wrong."""
    if not columns:
        return {}
    connection.register(relation, frame.to_arrow(BASE, extra, rows))
    try:
        table = connection.sql(sql).to_arrow_table()
    except duckdb.Error as error:
        raise _blame(connection, columns, relation, error) from error
    return {name: _numbers(table.column(index)) for index, name in enumerate(columns)}


def _blame(
    connection: duckdb.DuckDBPyConnection, columns: dict[str, str], relation: str, error: duckdb.Error
) -> DataError:
    for name, text in columns.items():
        try:
            connection.sql(select({name: text}, relation)).fetchall()
        except duckdb.Error as own:
            said = " ".join(line.strip() for line in str(own).splitlines()[:1])
            return DataError(f"Feature {name.strip(chr(34))}: {said} (in: {text})")
    return DataError(f"The features cannot be computed: {str(error).splitlines()[0]}")


def _call(plan: Plan, feature: Feature, frame: Frame) -> np.ndarray:
    assert feature.function is not None  # only these are in plan.functions
    columns = {"t": frame.times, **frame.columns}
    found = np.asarray(feature.function(columns, feature.bars(plan.horizon_bars)), dtype=np.float64)
    if found.shape != frame.times.shape:
        raise DataError(
            f"Feature {feature.name} gave {found.shape} values for {len(frame.times)} bars; it must give one per bar."
        )
    return found


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    if column.null_count:
        column = pc.fill_null(column, float("nan"))
    parts = [np.from_dlpack(chunk) for chunk in column.chunks if len(chunk)]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0), *parts])
