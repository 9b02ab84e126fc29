"""The one engine: a feature set compiled to one DuckDB query, run over history or over the last bars alike."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa

from crucible.errors import DataError
from crucible.features.feature import FeatureSet
from crucible.features.library import feature_set
from crucible.recipe import Recipe

_QUERY = """
WITH span AS (SELECT min(open_time) AS first, max(open_time) AS last FROM bars),
grid AS (SELECT unnest(generate_series(first, last, INTERVAL {seconds} SECOND)) AS open_time FROM span),
frame AS (
    SELECT grid.open_time + INTERVAL {seconds} SECOND AS t, open, high, low, close, volume
    FROM grid LEFT JOIN bars USING (open_time)
),
returns AS (SELECT *, ln(close / lag(close) OVER (ORDER BY t)) AS r FROM frame),
base AS (SELECT *, lag(r) OVER (ORDER BY t) AS r_before FROM returns),
feature AS (
    SELECT t, close,
{columns}
    FROM base
)
SELECT * FROM feature WHERE close IS NOT NULL{at} ORDER BY t
"""


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


def compile_sql(features: FeatureSet, horizon_bars: int, interval: timedelta, *, at: bool = False) -> str:
    """Return the query over a relation ``bars`` that computes ``features``.

    Parameters
    ----------
    features : FeatureSet
        What to compute.
    horizon_bars : int
        The horizon H in bars.
    interval : timedelta
        Length of a bar.
    at : bool
        Whether to keep only the prediction time given as ``$at``. Nothing else differs between history and live.
    """
    columns = ",\n".join(
        f"        CAST({item.compile(horizon_bars)} AS DOUBLE) AS {item.name}" for item in features.features
    )
    clause = " AND t = $at" if at else ""
    return _QUERY.format(seconds=int(interval.total_seconds()), columns=columns, at=clause)


def recipe_features(recipe: Recipe) -> FeatureSet:
    """Return the feature set that ``recipe`` names."""
    return feature_set(recipe.features.set, recipe.features.version)


def feature_digest(recipe: Recipe) -> str:
    """Return the SHA-256 (hex) of the query that computes the recipe's features: equal text, equal numbers."""
    sql = compile_sql(recipe_features(recipe), recipe.horizon_bars, recipe.data.interval)
    return hashlib.sha256(sql.encode()).hexdigest()


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
        If there are no bars, or no bar closes at ``at``.
    """
    if bars.num_rows == 0:
        raise DataError("There are no bars to compute features from.")
    features = recipe_features(recipe)
    sql = compile_sql(features, recipe.horizon_bars, recipe.data.interval, at=at is not None)
    parameters = {"at": at.astimezone(UTC).replace(tzinfo=None)} if at is not None else {}
    with duckdb.connect(":memory:", config={"threads": 1 if at is not None else 2}) as connection:
        connection.register("bars", naive_utc(bars))
        columns = connection.execute(sql, parameters).fetchnumpy()
    if at is not None and len(columns["t"]) == 0:
        raise DataError(f"No bar closes at {at.isoformat()}; features exist only at bar closes.")
    return FeatureFrame(
        times=columns["t"].astype("datetime64[us]"),
        close=_floats(columns["close"]),
        values=np.column_stack([_floats(columns[name]) for name in features.names]),
        names=features.names,
    )


def naive_utc(bars: pa.Table) -> pa.Table:
    """Return the bars with ``open_time`` as a timestamp without zone, UTC, which is how every query here sees time."""
    index = bars.schema.get_field_index("open_time")
    return bars.set_column(index, "open_time", bars["open_time"].cast(pa.timestamp("us")))


def _floats(column: np.ndarray | np.ma.MaskedArray) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan)
