"""Sums of weights over many workers for many sets at once, by interpolating between a few of the sets.

A set is a pair (t, u) of numbers, and worker l weighs ``w((t − b_l)·u + offset)`` in it: t is what the set's network
lost, b what the worker lost, and 1/u the set's scale. Sets that lie close together have sums that vary smoothly, and
so a polynomial through a grid of Chebyshev nodes gives them all to rounding. Where that does not hold, terms are added
one by one: workers at the cap or the cut of the weight, and sets far away from the others.
"""

from __future__ import annotations

import numpy as np

from crucible.network.parameters import Parameters
from crucible.network.potential import capped_gradient
from crucible.network.weights import CAP, CUT

NODES = 24  # more would cost more than they save
ACCURACY = 32.0  # natural logarithm of the inverse of the truncation error
OWN_SHARE = 0.05  # sets in which the excluded worker weighs more are summed directly


def sums_without_own(
    b: np.ndarray, values: np.ndarray, t: np.ndarray, u: np.ndarray, offset: float, own: np.ndarray, params: Parameters
) -> np.ndarray:
    """Return, for every set, the weights' sum and the weighted sum of ``values``, without the set's own worker.

    Parameters
    ----------
    b, values : numpy.ndarray
        Shape (n,): of the workers.
    t, u : numpy.ndarray
        Shape (q,): of the sets; u positive.
    offset : float
        Added to what the weight is taken of. Values above the cap weigh as the cap.
    own : numpy.ndarray
        Int, shape (q,): the worker that a set does not count.
    params : Parameters
        ``p_norm``, ``c_norm``.

    Returns
    -------
    numpy.ndarray
        Shape (q, 2); relative error about 1e-13.
    """
    payload = np.stack([np.ones(b.shape), values], axis=-1)
    result = np.empty((len(t), 2))
    direct = np.ones(len(t), dtype=bool)
    if len(t) > 2 * NODES:
        far = _far(t) | _far(u)
        near = np.flatnonzero(~far)
        found = _interpolated(b, payload, t[near], u[near], offset, params)
        if found is not None:
            weights = _weights(((t - b[own]) * u + offset)[near], params)
            mine = weights[:, None] * payload[own[near]]
            good = weights < OWN_SHARE * found[:, 0]
            result[near[good]] = (found - mine)[good]
            direct[near[good]] = False
    rest = np.flatnonzero(direct)
    for place in range(0, len(rest), 256):
        some = rest[place : place + 256]
        weights = _weights((t[some, None] - b) * u[some, None] + offset, params)
        weights[np.arange(len(some)), own[some]] = 0.0
        result[some] = weights @ payload
    return result


def _weights(x: np.ndarray, params: Parameters) -> np.ndarray:
    p, c = params.p_norm, params.c_norm
    np.minimum(x, c + CAP / p, out=x)
    return capped_gradient(x, c - CUT / p, p, c)


def _far(values: np.ndarray) -> np.ndarray:
    """Return which of ``values`` lie so far out that a grid over all would be coarse."""
    ordered = np.sort(values)
    low, high = ordered[len(values) // 20], ordered[-1 - len(values) // 20]
    reach = 1.5 * (high - low) + 1e-12 * abs(low)
    return (values < low - reach) | (values > high + reach)


def _interpolated(
    b: np.ndarray, payload: np.ndarray, t: np.ndarray, u: np.ndarray, offset: float, params: Parameters
) -> np.ndarray | None:
    """Return sums over all workers (q, 2), or ``None`` if the sets lie too far apart for a grid."""
    p, c = params.p_norm, params.c_norm
    t_range, u_range = (t.min(), t.max()), (u.min(), u.max())
    corners = np.array([(end - b) * scale + offset for end in t_range for scale in u_range])
    low, high = corners.min(axis=0), corners.max(axis=0)
    rounding = 1e-12 * (1.0 + np.abs(corners).max(axis=0))
    low, high = low - rounding, high + rounding
    top, cut = c + CAP / p, c - CUT / p
    smooth = (low >= cut) & (high <= top)
    capped = low > top
    edge = ~smooth & ~capped & (high >= cut)
    half_t = 0.5 * (t_range[1] - t_range[0]) * u_range[1]
    half_u = 0.5 * (u_range[1] - u_range[0]) * max(np.abs(end - b[smooth]).max(initial=0.0) for end in t_range)
    count_t, count_u = _nodes(half_t, p), _nodes(half_u, p)
    if count_t * count_u * np.count_nonzero(smooth) > 0.2 * len(t) * len(b) or max(count_t, count_u) > NODES:
        return None
    if np.count_nonzero(edge) > 0.3 * len(b):
        return None
    grid_t, grid_u = _chebyshev(*t_range, count_t), _chebyshev(*u_range, count_u)
    at = _weights((grid_t[:, None, None] - b[smooth]) * grid_u[None, :, None] + offset, params) @ payload[smooth]
    in_u = _basis(grid_u, u) @ np.swapaxes(at, 0, 1).reshape(count_u, 2 * count_t)
    total = (_basis(grid_t, t)[:, :, None] * in_u.reshape(len(t), count_t, 2)).sum(axis=1)
    if capped.any():
        total += _weights(np.full(1, top), params) * payload[capped].sum(axis=0)
    if edge.any():
        total += _weights((t[:, None] - b[edge]) * u[:, None] + offset, params) @ payload[edge]
    return total


def _nodes(half_width: float, p: float) -> int:
    """Return how many nodes resolve the gradient over a half-width: its poles lie π/p off the real line."""
    if half_width == 0:
        return 1
    ratio = np.pi / p / half_width
    return int(np.ceil(ACCURACY / np.log(ratio + np.sqrt(1.0 + ratio * ratio)))) + 1


def _chebyshev(low: float, high: float, count: int) -> np.ndarray:
    angles = (2 * np.arange(count) + 1) * np.pi / (2 * count)
    return 0.5 * (low + high) + 0.5 * (high - low) * np.cos(angles)


def _basis(nodes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the Lagrange polynomials of Chebyshev ``nodes`` (c,) at ``points`` (q,): shape (q, c)."""
    count = len(nodes)
    if count == 1:
        return np.ones((len(points), 1))
    places = np.arange(count)
    signs = np.where(places % 2, -1.0, 1.0) * np.sin((2 * places + 1) * np.pi / (2 * count))
    away = points[:, None] - nodes
    hit = away == 0
    away[hit] = 1.0
    terms = signs / away
    rows = hit.any(axis=1)
    terms[rows] = hit[rows]
    return terms / terms.sum(axis=1, keepdims=True)
