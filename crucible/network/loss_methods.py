"""The network's loss methods, vectorised: equal to the SDK's scalar functions to 1e-12."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crucible.errors import EvaluationError

Loss = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

_HUBER_DELTA = 1.0
_BCE_EPSILON = 1e-15
_POISSON_EPSILON = 1e-7
_ZPTAE_ALPHA, _ZPTAE_BETA, _ZPTAE_NORM, _ZPTAE_GAMMA = 0.25, 2.0, 0.01, 4.0


def sqe(truth: np.ndarray, predicted: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Squared error."""
    return (truth - predicted) ** 2


def abse(truth: np.ndarray, predicted: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Absolute error."""
    return np.abs(truth - predicted)


def huber(truth: np.ndarray, predicted: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Quadratic up to 1, linear beyond."""
    size = np.abs(truth - predicted)
    return np.where(size <= _HUBER_DELTA, 0.5 * size**2, _HUBER_DELTA * (size - 0.5 * _HUBER_DELTA))


def logcosh(truth: np.ndarray, predicted: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Logarithm of the hyperbolic cosine of the error, in a form that does not overflow."""
    size = np.abs(truth - predicted)
    return size + np.log1p(np.exp(-2 * size)) - np.log(2)


def bce(truth: np.ndarray, predicted: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Binary cross-entropy; both must lie in [0, 1]."""
    _require((truth >= 0) & (truth <= 1) & (predicted >= 0) & (predicted <= 1), "bce needs values from 0 to 1")
    p = np.clip(predicted, _BCE_EPSILON, 1 - _BCE_EPSILON)
    return np.maximum(-(truth * np.log(p) + (1 - truth) * np.log(1 - p)), 0.0)


def poisson(truth: np.ndarray, predicted: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Poisson loss; neither may be negative."""
    _require((truth >= 0) & (predicted >= 0), "poisson needs values of at least 0")
    p = np.maximum(predicted, _POISSON_EPSILON)
    return p - truth * np.log(p)


def ztae(truth: np.ndarray, predicted: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Absolute error of the hyperbolic tangents of both, in units of ``scale``."""
    return np.abs(np.tanh(truth / scale) - np.tanh(predicted / scale))


def zptae(truth: np.ndarray, predicted: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Absolute error of power-tanh transforms in units of ``scale``, plus a small term that grows with the error."""
    z_true, z_pred = truth / scale, predicted / scale
    return np.abs(_power_tanh(z_true) - _power_tanh(z_pred)) + (_ZPTAE_NORM * np.abs(z_pred - z_true)) ** _ZPTAE_GAMMA


def _power_tanh(z: np.ndarray) -> np.ndarray:
    return z / (1 + np.abs(z) ** _ZPTAE_BETA) ** ((1 - _ZPTAE_ALPHA) / _ZPTAE_BETA)


LOSSES: dict[str, Loss] = {
    "sqe": sqe,
    "abse": abse,
    "huber": huber,
    "logcosh": logcosh,
    "bce": bce,
    "poisson": poisson,
    "ztae": ztae,
    "zptae": zptae,
}
"""Loss methods by their on-chain name; each takes (truth, predicted, scale) and returns an array of their shape."""


def _require(condition: np.ndarray, sentence: str) -> None:
    if not condition.all():
        raise EvaluationError(f"The loss {sentence}; this topic's values are not of that kind.")
