"""From regrets to the weights with which inferences are combined."""

from __future__ import annotations

import numpy as np

from crucible.errors import MechanismError
from crucible.network.averages import refuse_nan
from crucible.network.layout import Members
from crucible.network.masks import some
from crucible.network.parameters import Parameters
from crucible.network.potential import capped_gradient

# in units of 1/p around the centre c: above CAP the gradient is flat, at LIFT the best of a set that does badly
# is put, and what then lies below CUT counts nothing
CAP, LIFT, CUT = 6.75, 8.25, 17.25
MAD_TO_SIGMA = 1.4826  # the median absolute deviation of a normal distribution, inverted


def weight_from_normalized_regret(
    regret: np.ndarray | float, max_regret: np.ndarray | float, p: float, c: float
) -> np.ndarray:
    """Return the weight of normalised regrets.

    Parameters
    ----------
    regret, max_regret : numpy.ndarray or float
        Regrets in units of their set's scale, and the largest of the set; shapes broadcast. −∞ weighs nothing.
    p, c : float
        Steepness and centre of the gradient.

    Returns
    -------
    numpy.ndarray
        Between p·e^{−8.25} (roughly) for the best and 0 for those far below it.

    Raises
    ------
    MechanismError
        NaN. Source: ``weight.go:325-391``.
    """
    regrets, largest = np.broadcast_arrays(np.asarray(regret, dtype=float), np.asarray(max_regret, dtype=float))
    refuse_nan(regret=regrets, max_regret=largest, p=p, c=c)
    return _weights(regrets[..., None].copy(), largest[..., None], p, c)[..., 0]


def _weights(x: np.ndarray, max_regret: np.ndarray, p: float, c: float) -> np.ndarray:
    """Return the weights of ``x`` (..., w), which is overwritten, with the largest of each set, (..., 1)."""
    high, low, cut = c + CAP / p, c - LIFT / p, c - CUT / p
    lifted = max_regret < low
    np.minimum(x, high, out=x)  # leaves the lifted as they are: they lie below
    if some(lifted):
        rows = lifted[..., 0]
        x[rows] = x[rows] - max_regret[rows] + low
    return capped_gradient(x, cut, p, c)


def ratio_weights(regret: np.ndarray, max_regret: np.ndarray | float, p: float, c: float) -> np.ndarray:
    """Return the weights of protocol version 0.9: the best of a set weighs 1, and nobody is cut off.

    ``(1 + e^{−p(max − c)}) / (1 + e^{−p(regret − c)})``; shapes broadcast. Source: pull request 747.
    """
    top = np.logaddexp(0.0, -p * (np.asarray(max_regret, dtype=float) - c))
    return np.exp(top - np.logaddexp(0.0, -p * (np.asarray(regret, dtype=float) - c)))


def deviation(regrets: np.ndarray, members: Members) -> np.ndarray:
    """Return the sample standard deviation of each set's regrets, shape (..., sets); 0 for a set of one.

    ``regrets`` (..., sets, workers), or shapes that broadcast to it, may hold anything finite outside the sets.
    """
    mean = np.vecdot(regrets, members.share) / members.count
    apart = regrets - mean[..., None]
    apart *= members.share
    return np.sqrt(np.vecdot(apart, apart) / np.maximum(members.count - 1.0, 1.0))


def mad_scale(regrets: np.ndarray, epsilon: float) -> np.ndarray:
    """Return ``1.4826·MAD + epsilon`` along the last axis, the scale of protocol version 0.16; NaN counts as absent."""
    centre = np.nanmedian(regrets, axis=-1, keepdims=True)
    return MAD_TO_SIGMA * np.nanmedian(np.abs(regrets - centre), axis=-1) + epsilon


def set_weights(
    regrets: np.ndarray, members: Members, params: Parameters, scale: np.ndarray | None = None
) -> np.ndarray:
    """Return the weights of every worker in every set.

    Each set is normalised by its own deviation plus epsilon, unless a ``scale`` is given.

    Parameters
    ----------
    regrets : numpy.ndarray
        Finite, shape (..., sets, workers) or broadcasting to it.
    members : Members
        Who belongs to each set.
    params : Parameters
        ``p_norm``, ``c_norm``, ``epsilon`` and the version.
    scale : numpy.ndarray, optional
        Shape (..., sets) or broadcasting to it: shared by several sets, as versions from 0.9 on do.

    Returns
    -------
    numpy.ndarray
        Shape (..., sets, workers); 0 outside the sets. Source: ``weight.go:28-130``.
    """
    if scale is None:
        scale = deviation(regrets, members) + params.epsilon
    normalised = regrets / scale[..., None]
    normalised += members.penalty
    return normalised_weights(normalised, np.maximum.reduce(normalised, -1)[..., None], params)


def normalised_weights(normalised: np.ndarray, largest: np.ndarray, params: Parameters) -> np.ndarray:
    """Return the weights of ``normalised`` regrets, by the rule of the version; they are overwritten.

    Shapes (..., sets, workers), and (..., sets, 1) for the largest of each set; −∞ weighs nothing.
    """
    if params.since("0.9"):
        return ratio_weights(normalised, largest, params.p_norm, params.c_norm)
    return _weights(normalised, largest, params.p_norm, params.c_norm)


def normalize_weights(weights: np.ndarray) -> np.ndarray:
    """Return ``weights`` (n,) divided by their sum.

    Raises
    ------
    MechanismError
        No weights, NaN, a negative weight, or weights that are all 0.
    """
    weights = np.asarray(weights, dtype=float)
    refuse_nan(weights=weights)
    if some(weights < 0):
        raise MechanismError("a weight is negative")
    total = weights.sum()
    if not total > 0:
        raise MechanismError("the sum of the weights is 0, so they cannot be normalised")
    return weights / total


def weighted_inference(values: np.ndarray, weights: np.ndarray | None, epsilon_safe_div: float) -> np.ndarray:
    """Return the weighted mean of ``values``; their plain mean where ``weights`` is ``None``, as when all are new.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (n,), or (n, labels) for the inferences of several labels of protocol version 0.17.
    weights : numpy.ndarray or None
        Shape (n,), not negative.
    epsilon_safe_div : float
        The sum of the weights counts for at least this much, so that weights of 0 give 0.

    Raises
    ------
    MechanismError
        NaN or a negative weight. Source: ``weight.go:150-232``.
    """
    values = np.asarray(values, dtype=float)
    refuse_nan(values=values)
    if weights is None:
        return values.mean(axis=0)
    weights = np.asarray(weights, dtype=float)
    refuse_nan(weights=weights)
    if some(weights < 0):
        raise MechanismError("a weight is negative")
    return weights @ values / max(float(weights.sum()), epsilon_safe_div)
