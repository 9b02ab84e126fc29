"""Which settings a search may try, candidate by candidate, and how the ranges narrow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

_KEPT = 1 / 3  # of the complete trials: the best ones, which the next round's ranges span
_MARGIN = 0.25  # of the span, on either side


@dataclass(frozen=True)
class Range:
    """Values from ``low`` to ``high``, both included; drawn by their logarithm where ``log``."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def suggest(self, trial: optuna.Trial, name: str) -> float | int:
        """Ask ``trial`` for a value."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def around(self, values: Sequence[float]) -> Range:
        """Return the range that ``values`` span, with a margin, within this one."""
        bend = math.log if self.log else float
        back = math.exp if self.log else float
        low, high = bend(min(values)), bend(max(values))
        room = _MARGIN * max(high - low, 0.1 * (bend(self.high) - bend(self.low)))
        narrow = max(self.low, back(low - room)), min(self.high, back(high + room))
        if self.whole:
            return replace(self, low=math.floor(narrow[0]), high=math.ceil(narrow[1]))
        return replace(self, low=narrow[0], high=narrow[1])


Space = dict[str, Range]

_LEAVES: Space = {
    "learning_rate": Range(0.01, 0.2, log=True),
    "leaves": Range(4, 31, log=True, whole=True),
    "min_leaf_rows": Range(50, 2000, log=True, whole=True),
    "feature_fraction": Range(0.2, 1.0),
}

_SPACES: dict[str, Space] = {
    "ridge": {"alpha": Range(1.0, 1e5, log=True)},
    "har": {"alpha": Range(1.0, 1e5, log=True)},
    "elastic_net": {"alpha": Range(1e-4, 0.1, log=True), "share": Range(0.05, 0.95)},
    "lightgbm": _LEAVES,
    "quantile": _LEAVES,
    "catboost": {"learning_rate": Range(0.01, 0.2, log=True), "depth": Range(2, 6, whole=True)},
}


def space_of(name: str) -> Space:
    """Return the ranges of candidate ``name``."""
    return dict(_SPACES[name])


def narrowed(space: Space, complete: Sequence[tuple[dict[str, Any], float]], round_number: int) -> Space:
    """Return the ranges of a later round: where the best third of the trials so far lies.

    Parameters
    ----------
    space : dict of str to Range
        The whole ranges.
    complete : sequence of (settings, loss)
        Trials so far.
    round_number : int
        From 0; the first round has the whole ranges.
    """
    drawn = sorted((item for item in complete if item[0].keys() >= space.keys()), key=lambda item: item[1])
    if round_number == 0 or len(drawn) < 3:
        return space
    best = drawn[: max(2, round(_KEPT * len(drawn)))]
    return {name: item.around([settings[name] for settings, _ in best]) for name, item in space.items()}
