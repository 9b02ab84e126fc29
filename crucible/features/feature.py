"""What a feature is: a name, what it estimates and why, its windows in horizons, and one expression."""

from __future__ import annotations

import hashlib
import inspect
import math
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from crucible.errors import RecipeError
from crucible.features.aggregates import Term, parse_term


@dataclass(frozen=True)
class Window:
    """A look-back of ``horizons`` times the horizon H, but at least ``least`` and at most ``most`` bars."""

    horizons: float
    least: int
    most: int = 1_000_000

    def bars(self, horizon_bars: int) -> int:
        """Return the look-back in bars for a horizon of ``horizon_bars`` bars."""
        return min(max(math.ceil(self.horizons * horizon_bars), self.least), self.most)


@dataclass(frozen=True)
class Feature:
    """One column of the feature matrix.

    Parameters
    ----------
    name : str
        Column name.
    estimates : str
        The quantity it estimates.
    because : str
        Why that should say something about the return over the next H.
    sql : str
        A DuckDB expression over the columns ``t, open, high, low, close, volume, r, r_before, close_before`` (``r`` is
        the log return of the bar, ``_before`` means the bar before) of a frame with one row per bar interval, missing
        bars included as NULL. ``{n}`` stands for the number of bars of window ``n``; ``{n:avg(r)}`` for an aggregate
        (:data:`~crucible.features.aggregates.AGGREGATES`) over the last ``n`` bars, which is NULL if one of its values
        is missing: a gap makes a missing feature, never a wrong one. The macros of
        :data:`~crucible.features.macros.MACROS` may be used.
    windows : dict of str to Window
        The windows that are used.
    family : str
        Under which heading it is listed.
    function : callable, optional
        In place of ``sql``, where SQL cannot say it: (columns by name, bars of each window) to an array as long as
        the columns; NaN is missing. It must look back only, and no further than its windows.
    low, high : float, optional
        Between which values it always lies, for the quality checks.
    """

    name: str
    estimates: str
    because: str
    sql: str
    windows: dict[str, Window] = field(default_factory=dict)
    family: str = "other"
    function: Callable[[Mapping[str, np.ndarray], Mapping[str, int]], np.ndarray] | None = None
    low: float | None = None
    high: float | None = None

    def bars(self, horizon_bars: int) -> dict[str, int]:
        """Return the length of each window in bars."""
        return {name: window.bars(horizon_bars) for name, window in self.windows.items()}

    def compile(self, horizon_bars: int) -> tuple[str, dict[str, Term]]:
        """Return the expression over plain columns, and the aggregates that these columns hold, by column name.

        Raises
        ------
        RecipeError
            If an aggregate is none.
        """
        bars = self.bars(horizon_bars)
        text, terms = [], {}
        for literal, window, aggregate, _ in string.Formatter().parse(self.sql):
            text.append(literal)
            if window is None:
                continue
            if not aggregate:
                text.append(str(bars[window]))
                continue
            term = parse_term(self.name, aggregate, bars[window])
            column = f"w_{hashlib.sha256(str(term).encode()).hexdigest()[:12]}"
            terms[column] = term
            text.append(column)
        return "".join(text), terms

    def lookback(self, horizon_bars: int) -> int:
        """Return how many bars, the newest included, the expression may read."""
        # two more than the widest window: `r` reads the close before the window, `r_before` one more
        return max(self.bars(horizon_bars).values(), default=1) + 2

    def source(self) -> str:
        """Return the text that decides its values."""
        return inspect.getsource(self.function) if self.function else self.sql

    def __post_init__(self) -> None:
        if bool(self.sql) == (self.function is not None):
            raise RecipeError(f"Feature {self.name} needs either an SQL expression or a function.")
        if not (self.estimates.strip() and self.because.strip()):
            raise RecipeError(f"Feature {self.name} must say what it estimates, and why that should matter.")
        named = {item for _, item, _, _ in string.Formatter().parse(self.sql) if item}
        if self.sql and named != set(self.windows):
            raise RecipeError(f"Feature {self.name} declares windows {sorted(self.windows)} but uses {sorted(named)}.")


@dataclass(frozen=True)
class FeatureSet:
    """A named, versioned list of features."""

    name: str
    version: int
    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        twice = sorted({item for item in self.names if self.names.count(item) > 1})
        if twice:
            raise RecipeError(f"Feature set {self.name} names {', '.join(twice)} twice.")

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in matrix order."""
        return tuple(feature.name for feature in self.features)

    def lookback(self, horizon_bars: int) -> int:
        """Return the longest look-back of any feature, in bars."""
        return max(feature.lookback(horizon_bars) for feature in self.features)
