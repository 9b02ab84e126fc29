"""A feature set compiled: elementwise SQL, aggregates over windows, and elementwise SQL again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crucible.errors import DataError
from crucible.features.aggregates import Term
from crucible.features.feature import Feature, FeatureSet
from crucible.features.frame import base_columns
from crucible.features.macros import MACROS


@dataclass(frozen=True)
class Plan:
    """How a feature set is computed; the same for history and for live.

    Attributes
    ----------
    inner : dict of str to str
        Elementwise expressions that are aggregated, by the name of their column.
    terms : dict of str to Term
        Aggregates, by the name of their column; their arguments name columns of the frame or of ``inner``.
    outer : dict of str to str
        What each feature makes of frame and aggregates.
    functions : tuple of Feature
        Features that are Python functions.
    horizon_bars : int
        For which H the windows were sized.
    names : tuple of str
        The features, in matrix order.
    lookback : int
        How many bars, the newest included, any of them reads.
    peers : tuple of str
        Prefixes of the other symbols' columns.
    base : tuple of str
        Columns of the frame that are read.
    """

    inner: dict[str, str]
    terms: dict[str, Term]
    outer: dict[str, str]
    functions: tuple[Feature, ...]
    horizon_bars: int
    names: tuple[str, ...]
    lookback: int
    peers: tuple[str, ...]
    base: tuple[str, ...]

    @property
    def inner_sql(self) -> str:
        """The first query: what is aggregated; empty if nothing but columns of the frame."""
        return select(self.inner, "frame") if self.inner else ""

    @property
    def outer_sql(self) -> str:
        """The second query: the features; empty if all are functions."""
        return select(self.outer, "windows") if self.outer else ""

    @property
    def text(self) -> str:
        """All that decides the values, as one text: equal texts, equal numbers."""
        terms = "\n".join(f"--   {column} = {term}" for column, term in sorted(self.terms.items()))
        macros = "\n".join(f"-- macro {name} = {body}" for name, body in sorted(MACROS.items()))
        functions = "\n".join(
            f"-- {item.name} over {item.bars(self.horizon_bars)}:\n{item.source()}" for item in self.functions
        )
        parts = (macros, "-- 1. per bar", self.inner_sql, "-- 2. over windows", terms, "-- 3. features", self.outer_sql)
        return "\n".join(part for part in (*parts, functions) if part) + "\n"

    def users_of(self, column: str) -> list[str]:
        """Return the features that a column of ``inner`` or ``outer`` belongs to."""
        if column in self.outer:
            return [column]
        terms = [name for name, term in self.terms.items() if column in map(self.column_of, term.columns)]
        return [name for name, text in self.outer.items() if any(term in text for term in terms)]

    def column_of(self, expression: str) -> str:
        """Return in which column an expression that is aggregated can be found."""
        return expression if expression in self.base else _column(expression)

    def call(self, feature: Feature, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Return what a feature that is a function makes of the columns.

        Raises
        ------
        DataError
            If it fails, or does not give one number per bar; with its name.
        """
        assert feature.function is not None  # only these are in `functions`
        try:
            found = np.asarray(feature.function(columns, feature.bars(self.horizon_bars)), dtype=np.float64)
        except Exception as error:  # somebody else's code may raise anything; the feature must be named
            raise DataError(f"Feature {feature.name}: {type(error).__name__}: {error}") from error
        if found.shape != columns["t"].shape:
            raise DataError(
                f"Feature {feature.name} gave values of shape {found.shape} for {len(columns['t'])} bars; "
                "it must give one per bar."
            )
        return found


def compile_plan(features: FeatureSet, horizon_bars: int) -> Plan:
    """Return the plan of ``features`` for a horizon of ``horizon_bars`` bars; equal parts are computed once.

    Raises
    ------
    RecipeError
        If a feature names an aggregate that there is not.
    """
    base = base_columns(features.peers)
    inner: dict[str, str] = {}
    terms: dict[str, Term] = {}
    outer: dict[str, str] = {}
    for feature in features.features:
        if feature.function:
            continue
        outer[feature.name], wanted = feature.compile(horizon_bars)
        for column, term in wanted.items():
            terms[column] = term
            inner |= {_column(text): text for text in term.columns if text not in base}
    functions = tuple(feature for feature in features.features if feature.function)
    lookback = features.lookback(horizon_bars)
    return Plan(inner, terms, outer, functions, horizon_bars, features.names, lookback, features.peers, base)


def _column(expression: str) -> str:
    return '"' + expression.replace('"', '""') + '"'


def select(columns: dict[str, str], relation: str) -> str:
    """Return the query of elementwise expressions, by the name of their column, over ``relation``."""
    rows = ",\n".join(f"       CAST({text} AS DOUBLE) AS {name}" for name, text in columns.items())
    return f"SELECT\n{rows}\nFROM {relation}"
