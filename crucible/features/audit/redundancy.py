"""Which features say nearly the same? Clusters by rank correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crucible.features.engine import FeatureFrame

NEARLY = 0.95
"""The absolute rank correlation from which two features count as near-copies."""

_ROWS = 5000


@dataclass(frozen=True)
class Cluster:
    """Features of which each is a near-copy of another one in the cluster.

    Attributes
    ----------
    features : tuple of str
        Their names, two or more.
    weakest : float
        Least absolute rank correlation between any two of them.
    """

    features: tuple[str, ...]
    weakest: float


def find_near_copies(frame: FeatureFrame, nearly: float = NEARLY) -> list[Cluster]:
    """Return the clusters of near-copies, largest first (single linkage on |Spearman's rho|)."""
    rho = rank_correlations(frame)
    names, left, clusters = frame.names, set(range(len(frame.names))), []
    while left:
        group, edge = set(), {left.pop()}
        while edge:
            one = edge.pop()
            group.add(one)
            near = {other for other in left if rho[one, other] >= nearly}
            left -= near
            edge |= near
        if len(group) > 1:
            members = sorted(group)
            clusters.append(Cluster(tuple(names[i] for i in members), float(rho[np.ix_(members, members)].min())))
    return sorted(clusters, key=lambda cluster: (-len(cluster.features), cluster.features))


def rank_correlations(frame: FeatureFrame) -> np.ndarray:
    """Return |Spearman's rho| of every pair over at most 5,000 evenly spaced complete rows, shape (k, k)."""
    values = frame.values
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < 3:
        return np.eye(len(frame.names))
    values = values[np.unique(np.linspace(0, len(values) - 1, _ROWS).astype(int))]
    ranks = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.abs(np.corrcoef(ranks, rowvar=False))
    return np.nan_to_num(found)
