"""Have the features moved since training? The population stability index of recent values against earlier ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crucible.features.engine import FeatureFrame

MOVED = 0.25
"""The index from which a distribution counts as another one; below 0.1 it is the same (as credit scoring has it)."""

_BINS = 10


@dataclass(frozen=True)
class Drift:
    """How far one feature's recent values are from earlier ones.

    Attributes
    ----------
    feature : str
        Its name.
    index : float
        Population stability index over deciles of the earlier values; NaN where either side has too few values.
    missing_before, missing_now : float
        Share of values that are missing.
    """

    feature: str
    index: float
    missing_before: float
    missing_now: float

    @property
    def moved(self) -> bool:
        """Whether the distribution is another one."""
        return bool(self.index > MOVED)


def measure_drift(frame: FeatureFrame, recent: int) -> list[Drift]:
    """Return the drift of every feature: the newest ``recent`` rows against all before."""
    found = []
    for name, values in frame.columns.items():
        before, now = values[:-recent], values[-recent:]
        found.append(Drift(name, stability(before, now), _missing(before), _missing(now)))
    return found


def stability(before: np.ndarray, now: np.ndarray) -> float:
    """Return the population stability index: sum over bins of (p - q) ln(p / q)."""
    before, now = before[np.isfinite(before)], now[np.isfinite(now)]
    if len(before) < 20 * _BINS or len(now) < 2 * _BINS:
        return float("nan")
    edges = decile_edges(before)
    return index_of(bin_counts(before, edges), bin_counts(now, edges))


def decile_edges(values: np.ndarray) -> np.ndarray:
    """Return the distinct inner deciles of finite ``values``, ascending; fewer than nine where values repeat."""
    return np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1]))


def bin_counts(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return how many finite ``values`` lie between each pair of ``edges``, shape (len(edges) + 1,)."""
    return np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)


def index_of(before: np.ndarray, now: np.ndarray) -> float:
    """Return the population stability index of two rows of counts over the same bins."""
    # half a count keeps an empty bin from being infinitely surprising
    p, q = before + 0.5, now + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())


def _missing(values: np.ndarray) -> float:
    return float(np.isnan(values).mean()) if len(values) else 1.0
