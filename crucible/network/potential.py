"""The potential that maps scores to reward fractions, and its gradient, which maps regrets to weights."""

from __future__ import annotations

import numpy as np

from crucible.network.averages import refuse_nan


def phi(x: np.ndarray | float, p: float, c: float) -> np.ndarray:
    """Return the potential ``ln(1 + e^{p(x − c)})``.

    Parameters
    ----------
    x : numpy.ndarray or float
        Scores in units of their deviation; any shape.
    p, c : float
        Steepness and centre.

    Raises
    ------
    MechanismError
        NaN. Source: ``math/utils.go:189-262``.
    """
    x = np.asarray(x, dtype=float)
    refuse_nan(x=x, p=p, c=c)
    return np.logaddexp(0.0, p * (x - c))


def gradient(x: np.ndarray | float, p: float, c: float) -> np.ndarray:
    """Return the gradient of :func:`phi`, ``p / (1 + e^{−p(x − c)})``, for ``x`` of any shape; NaN raises."""
    x = np.asarray(x, dtype=float)
    refuse_nan(x=x, p=p, c=c)
    # e^709 is the largest that a float holds; a smaller gradient than its inverse is 0 anyway
    return _gradient(np.maximum(x, c - 709.0 / p), p, c)


def capped_gradient(x: np.ndarray, low: float, p: float, c: float) -> np.ndarray:
    """Return :func:`gradient` of ``x`` where it is at least ``low``, and 0 below.

    ``x``, of any shape but (), is overwritten with the result; NaN is not sought, and ``low`` is above c − 709/p.
    This is where a simulation spends its time.
    """
    kept = x >= low
    np.maximum(x, low, out=x)
    _gradient(x, p, c)
    x *= kept
    return x


def _gradient(x: np.ndarray, p: float, c: float) -> np.ndarray:
    x = np.asarray(x)
    np.subtract(c, x, out=x)
    x *= p
    np.exp(x, out=x)
    x += 1.0
    return np.divide(p, x, out=x)


def sigmoid(x: np.ndarray | float) -> np.ndarray:
    """Return ``1 / (1 + e^{−x})``: the forecasters' utility used it before protocol version 0.2.14."""
    return gradient(x, 1.0, 0.0)
