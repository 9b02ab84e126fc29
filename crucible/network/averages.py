"""Averages, spreads and quantiles, as the chain defines them at the edges: empty, single and missing values.

Functions take arrays and work along the last axis. NaN is refused, as the chain refuses it; where a value may be absent
there is a ``present`` mask.
"""

from __future__ import annotations

import numpy as np

from crucible.errors import MechanismError
from crucible.network.masks import every, has_nan, some

Mask = np.ndarray | None


def refuse_nan(**values: object) -> None:
    """Raise :class:`MechanismError` if one of ``values`` is or contains NaN."""
    for name, value in values.items():
        if has_nan(value) if isinstance(value, np.ndarray) else value != value:
            raise MechanismError(f"{name} contains NaN; the chain refuses it")


def present_sum(values: np.ndarray) -> np.ndarray:
    """Return the sum along the last axis; NaN takes no part."""
    total = np.add.reduce(values, -1)
    # of a single scenario the sum is one number, and NaN the only one that differs from itself
    absent = total != total if values.ndim == 1 else has_nan(total)
    return np.nansum(values, axis=-1) if absent else total


def ema(alpha: float, value: float, previous: float | None) -> float:
    """Return the exponential moving average ``alpha·value + (1 − alpha)·previous``; the first value stands for itself.

    Raises
    ------
    MechanismError
        NaN among the numbers. Source: ``math/utils.go:18``.
    """
    if previous is None:
        refuse_nan(value=value, alpha=alpha)
        return value
    refuse_nan(value=value, previous=previous, alpha=alpha)
    return previous + alpha * (value - previous)  # in this form an average at its target stays there exactly


def ema_or_first(alpha: float, values: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """Return :func:`ema` per element; NaN in ``previous`` means that there is none, NaN in ``values`` no news.

    Shapes broadcast; the result keeps ``previous`` where ``values`` is NaN.
    """
    moved = previous + alpha * (values - previous)
    if not has_nan(moved):
        return moved
    first = np.where(np.isnan(previous), values, moved)
    return np.where(np.isnan(values), previous, first)


def stddev(values: np.ndarray, present: Mask = None) -> np.ndarray:
    """Return the sample standard deviation (n − 1) along the last axis; 0 for fewer than two values.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (..., n).
    present : numpy.ndarray, optional
        Bool, shape (..., n): the values that count. All by default.

    Raises
    ------
    MechanismError
        NaN among the values that count. Source: ``math/utils.go:91``.
    """
    values = np.asarray(values, dtype=float)
    if present is None:
        refuse_nan(values=values)
        count = values.shape[-1]
        off = values - np.add.reduce(values, -1, keepdims=True) / max(count, 1)
        return np.sqrt(np.vecdot(off, off) / max(count - 1.0, 1.0))
    here, count = present.astype(float), np.add.reduce(present, -1, dtype=float)
    values = np.where(present, values, 0.0)
    refuse_nan(values=values)
    mean = np.add.reduce(values, -1) / np.maximum(count, 1.0)
    deviations = (values - mean[..., None]) * here
    return np.sqrt(np.vecdot(deviations, deviations) / np.maximum(count - 1.0, 1.0))


def median(values: np.ndarray) -> float:
    """Return the median of ``values`` (n,); 0 when empty. NaN raises MechanismError. Source: ``math/utils.go``."""
    values = np.asarray(values, dtype=float)
    refuse_nan(values=values)
    return float(np.median(values)) if values.size else 0.0


def quantile(values: np.ndarray, q: float, present: Mask = None) -> np.ndarray:
    """Return the ``q``-quantile along the last axis, interpolated linearly at position q(n − 1); 0 when empty.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (..., n).
    q : float
        From 0 to 1.
    present : numpy.ndarray, optional
        Bool, shape (..., n): the values that count. All by default.

    Raises
    ------
    MechanismError
        ``q`` outside [0, 1], or NaN. Source: ``math/utils.go:490``.
    """
    if not 0 <= q <= 1:
        raise MechanismError(f"quantile {q} does not lie between 0 and 1")
    values = np.asarray(values, dtype=float)
    if present is not None and not every(present):
        return _quantile_of_present(values, q, present)
    n = values.shape[-1]
    if n == 0:
        return np.zeros(values.shape[:-1])
    ordered = np.sort(values, axis=-1)
    refuse_nan(values=ordered[..., -1])  # where NaN is sorted to
    below = int(q * (n - 1))
    low, high = ordered[..., below], ordered[..., min(below + 1, n - 1)]
    return low + (high - low) * (q * (n - 1) - below)


def _quantile_of_present(values: np.ndarray, q: float, present: np.ndarray) -> np.ndarray:
    ordered = np.sort(np.where(present, values, np.inf), axis=-1)
    refuse_nan(values=ordered)
    count = present.sum(-1)
    last = np.maximum(count - 1, 0)
    position = q * last
    below = position.astype(int)
    low, high = (
        np.take_along_axis(ordered, place[..., None], -1)[..., 0] for place in (below, np.minimum(below + 1, last))
    )
    low, high = np.where(count == 0, 0.0, low), np.where(count == 0, 0.0, high)
    return low + (high - low) * (position - below)


def weighted_percentiles(values: np.ndarray, weights: np.ndarray, percentiles: np.ndarray) -> np.ndarray:
    """Return weighted percentiles.

    Values sit at ``(cumsum(w) − w/2) / sum(w)`` of their sorted order; between them lies a line, beyond the ends
    the end. Equal values keep their order; the chain's sort is unstable there, so that next to a tie it may differ.

    Parameters
    ----------
    values, weights : numpy.ndarray
        Shape (n,), n ≥ 1.
    percentiles : numpy.ndarray
        Shape (p,), from 0 to 100.

    Returns
    -------
    numpy.ndarray
        Shape (p,).

    Raises
    ------
    MechanismError
        NaN, different lengths, a percentile outside 0 to 100, or weights that sum to 0. Source:
        ``math/utils.go:347-430``.
    """
    values, weights, percentiles = (np.asarray(item, dtype=float) for item in (values, weights, percentiles))
    refuse_nan(values=values, weights=weights, percentiles=percentiles)
    if values.shape != weights.shape or not values.size:
        raise MechanismError(f"{values.size} values do not fit {weights.size} weights")
    if some((percentiles < 0) | (percentiles > 100)):
        raise MechanismError("a percentile lies outside 0 to 100")
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    total = weights.sum()
    if not total > 0:
        raise MechanismError("the weights sum to 0, so there is no percentile")
    positions = (np.cumsum(weights) - 0.5 * weights) / total
    return np.interp(percentiles / 100, positions, values)
