"""Has a distribution moved since training? PSI and Kolmogorov-Smirnov of a recent window, judged by earlier windows.

How much a day differs from the months before depends on how long the quantity remembers: for white noise the textbook
distributions of both statistics hold, for a volatility a calm day is nothing unusual and still lies far outside them.
So the training rows themselves say what is usual: they are cut into windows as long as the recent one, each is compared
with all others, and a recent window is drift where it is further away than these. Overlapping targets, and every other
dependence between neighbours, are thereby counted as what they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crucible.errors import EvaluationError
from crucible.features.audit.drift import bin_counts, decile_edges, index_of
from crucible.monitor.levels import LEVELS
from crucible.monitor.multiple import benjamini_hochberg

FEWEST_WINDOWS = 20
"""Training rows that hold fewer windows than this do not say what is usual."""

_FEWEST_VALUES = 20
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Finding:
    """What one statistic says of one column.

    Attributes
    ----------
    column : str
        Name of the feature, or ``prediction`` or ``residual``.
    statistic : str
        ``psi`` or ``ks``.
    value, usual : float
        The statistic now, and its median over the windows of training.
    p_value, adjusted : float
        How rarely a window of training is as far away; by itself, and adjusted for all that was tested with it.
    drifted : bool
        Whether ``adjusted`` is below the level of this kind, see :mod:`crucible.monitor.levels`.
    """

    column: str
    statistic: str
    value: float
    usual: float
    p_value: float
    adjusted: float
    drifted: bool


class Reference:
    """What windows of one length are usually like, learnt from training rows.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray
        Per column, shape (n,), in time order; NaN is missing. Columns that do not vary, or are mostly missing, are
        left out.
    rows : int
        Length of a window.

    Raises
    ------
    EvaluationError
        If there are fewer than :data:`FEWEST_WINDOWS` windows.
    """

    def __init__(self, columns: Mapping[str, np.ndarray], rows: int) -> None:
        count = min((len(values) for values in columns.values()), default=0)
        if rows < 1 or count < FEWEST_WINDOWS * rows:
            raise EvaluationError(
                f"{count} training rows hold fewer than {FEWEST_WINDOWS} windows of {rows} rows; take a shorter window."
            )
        self.rows = rows
        known = {name: _Known.of(values, rows) for name, values in columns.items()}
        self._known = {name: found for name, found in known.items() if found is not None}

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that can be judged."""
        return tuple(self._known)

    def judge(self, recent: Mapping[str, np.ndarray], kind: str) -> list[Finding]:
        """Compare a recent window with what is usual, smallest p-value first.

        Parameters
        ----------
        recent : mapping of str to numpy.ndarray
            The same columns, about ``rows`` values each.
        kind : str
            Which level counts: ``features``, ``predictions`` or ``residuals``.
        """
        found = []
        for name, known in self._known.items():
            values = recent.get(name, np.empty(0))
            values = values[np.isfinite(values)]
            if len(values) < min(_FEWEST_VALUES, self.rows):
                continue
            for statistic, value in known.measure(values).items():
                found.append((name, statistic, value, known.usual[statistic]))
        p_values = np.array([usual.p_value(value) for *_, value, usual in found])
        level = LEVELS[kind].value
        rows = [
            Finding(name, statistic, value, usual.median, float(p), float(q), bool(q < level))
            for (name, statistic, value, usual), p, q in zip(found, p_values, benjamini_hochberg(p_values), strict=True)
        ]
        return sorted(rows, key=lambda item: item.p_value)


@dataclass(frozen=True)
class _Usual:
    """The logarithm of a statistic over the windows of training, taken as normal; few windows give wide tails."""

    mean: float
    spread: float
    windows: int

    @property
    def median(self) -> float:
        return math.exp(self.mean)

    def p_value(self, value: float) -> float:
        from scipy.stats import t as student

        z = (math.log(max(value, _SMALLEST)) - self.mean) / (self.spread * math.sqrt(1 + 1 / self.windows))
        return float(student.sf(z, self.windows - 1))


@dataclass(frozen=True)
class _Known:
    ordered: np.ndarray
    edges: np.ndarray
    counts: np.ndarray
    usual: dict[str, _Usual]

    @classmethod
    def of(cls, values: np.ndarray, rows: int) -> _Known | None:
        finite = values[np.isfinite(values)]
        if len(finite) < len(values) / 2 or not finite.std() > 1e-12 * max(abs(finite.mean()), 1e-300):
            return None
        ordered, edges = np.sort(finite), decile_edges(finite)
        counts = bin_counts(finite, edges)
        known = cls(ordered, edges, counts, {})
        measured: dict[str, list[float]] = {"psi": [], "ks": []}
        for start in range(len(values) % rows, len(values), rows):
            window = values[start : start + rows]
            window = window[np.isfinite(window)]
            if len(window) < rows / 2:
                continue
            # against all others: a window must not be part of what it is compared with, as the recent one is not
            share = len(finite) / (len(finite) - len(window))
            inside = bin_counts(window, edges)
            measured["psi"].append(index_of(counts - inside, inside))
            measured["ks"].append(known._distance(np.sort(window)) * share)
        if len(measured["ks"]) < FEWEST_WINDOWS:
            return None
        for name, found in measured.items():
            logs = np.log(np.maximum(found, _SMALLEST))
            if not logs.std() > 0:
                return None
            known.usual[name] = _Usual(float(logs.mean()), float(logs.std(ddof=1)), len(logs))
        return known

    def measure(self, values: np.ndarray) -> dict[str, float]:
        psi = index_of(self.counts, bin_counts(values, self.edges))
        return {"psi": psi, "ks": self._distance(np.sort(values))}

    def _distance(self, window: np.ndarray) -> float:
        """Largest difference of the two empirical distribution functions, ties included."""
        m, n = len(window), len(self.ordered)
        below = np.searchsorted(window, window, side="left") / m
        upto = np.searchsorted(window, window, side="right") / m
        above = (upto - np.searchsorted(self.ordered, window, side="right") / n).max()
        return float(max(above, (np.searchsorted(self.ordered, window, side="left") / n - below).max(), 0.0))
