"""What a feature is: a name, what it estimates and why, its windows in horizons, and one expression."""

from __future__ import annotations

import hashlib
import inspect
import math
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

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
    across : str
        Empty for a feature of the own symbol. ``peer``: it is computed once for each of the recipe's peers; ``{peer}``
        in its name, and the columns ``peer_open, peer_r, ...`` in its expression, stand for that peer's. ``peers``:
        it looks at all of them at once, by the columns ``peers_r`` (mean of their ``r``), ``peers_up`` (share of them
        that rose) and ``spread_r`` (standard deviation of ``r`` over them and the own symbol).
    function : callable, optional
        In place of ``sql``, where SQL cannot say it: (columns by name, bars of each window) to an array as long as
        the columns; NaN is missing. It must look back only, and no further than its windows.
    code : str
        What stands for the function's text where that is more than its own lines: the hash of its module.
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
    across: Literal["", "peer", "peers"] = ""
    code: str = ""

    def of_peer(self, peer: str) -> Feature:
        """Return the feature for one peer, by the prefix of its columns."""
        return replace(
            self, name=self.name.replace("{peer}", peer), sql=re.sub(r"\bpeer_", f"{peer}_", self.sql),
            estimates=self.estimates.replace("{peer}", peer.upper()), across="peers",
        )  # fmt: skip

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
        return self.sql or self.code or inspect.getsource(self.function)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        if self.across == "peer" and (not self.sql or "{peer}" not in self.name):
            raise RecipeError(
                f"Feature {self.name} is one per peer: it needs {{peer}} in its name, and an SQL expression."
            )
        if bool(self.sql) == (self.function is not None):
            raise RecipeError(f"Feature {self.name} needs either an SQL expression or a function.")
        if not (self.estimates.strip() and self.because.strip()):
            raise RecipeError(f"Feature {self.name} must say what it estimates, and why that should matter.")
        named = {item for _, item, _, _ in string.Formatter().parse(self.sql) if item}
        if self.sql and named != set(self.windows):
            raise RecipeError(f"Feature {self.name} declares windows {sorted(self.windows)} but uses {sorted(named)}.")


@dataclass(frozen=True)
class FeatureSet:
    """A named, versioned list of features.

    Attributes
    ----------
    name : str
        By which recipes ask for it.
    version : int
        A set never changes; another list is another version.
    features : tuple of Feature
        In matrix order.
    peers : tuple of str
        The prefixes of the other symbols' columns, where any feature looks across.
    """

    name: str
    version: int
    features: tuple[Feature, ...]
    peers: tuple[str, ...] = ()

    def with_peers(self, symbols: Sequence[str]) -> FeatureSet:
        """Return the set for a recipe with these peers (``ETHUSDT``): features of each peer are there once for each.

        Raises
        ------
        RecipeError
            If features look across and there is no peer.
        """
        across = [feature.name for feature in self.features if feature.across]
        if across and not symbols:
            raise RecipeError(f'Feature {across[0]} looks at other symbols: name them, data.peers = ["ETHUSDT"].')
        peers = tuple(symbol.lower() for symbol in symbols)
        features = [
            item
            for feature in self.features
            for item in ([feature.of_peer(peer) for peer in peers] if feature.across == "peer" else [feature])
        ]
        return FeatureSet(self.name, self.version, tuple(features), peers)

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
