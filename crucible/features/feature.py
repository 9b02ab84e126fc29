"""What a feature is: a name, what it estimates and why, its windows in horizons, and one SQL expression."""

from __future__ import annotations

import math
import string
from dataclasses import dataclass

from crucible.errors import RecipeError


@dataclass(frozen=True)
class Window:
    """A look-back of ``horizons`` times the horizon H, but at least ``least`` bars."""

    horizons: float
    least: int

    def bars(self, horizon_bars: int) -> int:
        """Return the look-back in bars for a horizon of ``horizon_bars`` bars."""
        return max(math.ceil(self.horizons * horizon_bars), self.least)


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
        A DuckDB expression over the columns ``t, open, high, low, close, volume, r, r_before`` (``r`` is the log return
        of the bar, ``r_before`` that of the bar before) of a frame with one row per bar interval, missing bars
        included as NULL. ``{n}`` stands for the number of bars of window ``n``; ``{n:avg(r)}`` for an aggregate over
        the last ``n`` bars, which is NULL if any of their returns is missing: a gap makes a missing feature, never a
        wrong one.
    windows : dict of str to Window
        The windows that ``sql`` names.
    """

    name: str
    estimates: str
    because: str
    sql: str
    windows: dict[str, Window]

    def compile(self, horizon_bars: int) -> str:
        """Return the expression with every window replaced by its number of bars."""
        parts = []
        for literal, window, aggregate, _ in string.Formatter().parse(self.sql):
            parts.append(literal)
            if window is None:
                continue
            bars = self.windows[window].bars(horizon_bars)
            if not aggregate:
                parts.append(str(bars))
                continue
            over = f"OVER (ORDER BY t ROWS BETWEEN {bars - 1} PRECEDING AND CURRENT ROW)"
            parts.append(f"(CASE WHEN count(r) {over} = {bars} THEN {aggregate} {over} END)")
        return "".join(parts)

    def lookback(self, horizon_bars: int) -> int:
        """Return how many bars, the newest included, the expression may read."""
        # two more than the widest window: `r` reads the close before the window, `r_before` one more
        return max((window.bars(horizon_bars) for window in self.windows.values()), default=1) + 2

    def __post_init__(self) -> None:
        named = {field for _, field, _, _ in string.Formatter().parse(self.sql) if field}
        if named != set(self.windows):
            raise RecipeError(f"Feature {self.name} declares windows {sorted(self.windows)} but uses {sorted(named)}.")


@dataclass(frozen=True)
class FeatureSet:
    """A named, versioned list of features."""

    name: str
    version: int
    features: tuple[Feature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in matrix order."""
        return tuple(feature.name for feature in self.features)

    def lookback(self, horizon_bars: int) -> int:
        """Return the longest look-back of any feature, in bars."""
        return max(feature.lookback(horizon_bars) for feature in self.features)
