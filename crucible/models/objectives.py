"""What boosting may minimise besides squared error, in units of the target's standard deviation.

Each has its gradient, and a positive number in place of the second derivative where that vanishes or turns negative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_SMOOTH = 0.1  # the kink of an absolute value is rounded off within about this
_LEAST = 0.05  # curvature: a step must not run away where the loss is flat

# CZAR (Allora research forum, topic 155): quadratic on the wrong side of zero, an arctangent up to the truth, and
# beyond it the flatter the larger the truth; alpha = 1, as advised for training. Its softening term does not depend on
# the forecast, so it is left out.
_SHIFT = 1 / np.sqrt(3)
_CZAR = 1 + _SHIFT**2
_STIFF = 2 * _SHIFT / _CZAR

# the network's ZPTAE, see crucible.validation.losses
_ALPHA, _BETA, _NORM, _GAMMA = 0.25, 2.0, 0.01, 4.0

Derivatives = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Objective:
    """A loss of (truth, forecast), both shape (n,), in standard deviations.

    Attributes
    ----------
    loss : callable
        To shape (n,).
    derivatives : callable
        To the first derivative by the forecast, and the curvature that boosting divides by, shape (n,) each.
    """

    loss: Callable[[np.ndarray, np.ndarray], np.ndarray]
    derivatives: Callable[[np.ndarray, np.ndarray], Derivatives]


def _huber(truth: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    size = np.abs(forecast - truth)
    return np.where(size <= 1, 0.5 * size**2, size - 0.5)


def _huber_derivatives(truth: np.ndarray, forecast: np.ndarray) -> Derivatives:
    error = forecast - truth
    return np.clip(error, -1.0, 1.0), np.where(np.abs(error) <= 1, 1.0, _LEAST)


def _logcosh(truth: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    size = np.abs(forecast - truth)
    return size + np.log1p(np.exp(-2 * size)) - np.log(2)


def _logcosh_derivatives(truth: np.ndarray, forecast: np.ndarray) -> Derivatives:
    slope = np.tanh(forecast - truth)
    return slope, np.maximum(1 - slope**2, _LEAST)


def _power_tanh(z: np.ndarray) -> np.ndarray:
    return z / (1 + np.abs(z) ** _BETA) ** ((1 - _ALPHA) / _BETA)


def _zptae(truth: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    apart = _power_tanh(forecast) - _power_tanh(truth)
    return np.sqrt(apart**2 + _SMOOTH**2) + (_NORM * np.abs(forecast - truth)) ** _GAMMA


def _zptae_derivatives(truth: np.ndarray, forecast: np.ndarray) -> Derivatives:
    square = 1 + forecast**2
    slope = (1 + _ALPHA * forecast**2) * square ** (-(1 - _ALPHA) / 2 - 1)  # of the power-tanh, for beta = 2
    apart = _power_tanh(forecast) - _power_tanh(truth)
    near = np.sqrt(apart**2 + _SMOOTH**2)
    error = forecast - truth
    first = apart / near * slope + _GAMMA * _NORM**_GAMMA * np.abs(error) ** (_GAMMA - 1) * np.sign(error)
    return first, np.maximum(_SMOOTH**2 / near**3 * slope**2, _LEAST)


def _czar(truth: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    a, u, _ = _czar_sides(truth, forecast)
    level = _CZAR * (np.arctan(a + _SHIFT) - np.arctan(_SHIFT))
    wrong = 0.5 * _STIFF * u**2 - u + level
    between = _CZAR * (np.arctan(a + _SHIFT) - np.arctan(u + _SHIFT))
    beyond = 0.5 * _czar_stiffness(a) * (u - a) ** 2 + _CZAR / (1 + (a + _SHIFT) ** 2) * (u - a)
    return np.select([u <= 0, u <= a], [wrong, between], beyond)


def _czar_derivatives(truth: np.ndarray, forecast: np.ndarray) -> Derivatives:
    a, u, sign = _czar_sides(truth, forecast)
    near = 1 + (u + _SHIFT) ** 2
    stiff = _czar_stiffness(a)
    first = np.select(
        [u <= 0, u <= a], [_STIFF * u - 1, -_CZAR / near], stiff * (u - a) + _CZAR / (1 + (a + _SHIFT) ** 2)
    )
    second = np.select([u <= 0, u <= a], [np.full_like(u, _STIFF), 2 * _CZAR * (u + _SHIFT) / near**2], stiff)
    return sign * first, np.maximum(second, _LEAST)


def _czar_sides(truth: np.ndarray, forecast: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the truth's size, the forecast as seen from the truth's side of zero, and that side."""
    sign = np.where(truth < 0, -1.0, 1.0)
    return np.abs(truth), sign * forecast, sign


def _czar_stiffness(a: np.ndarray) -> np.ndarray:
    """Return the curvature beyond the truth: less, the larger the truth is."""
    return np.minimum(2 * _CZAR * (a + _SHIFT) / (1 + (a + _SHIFT) ** 2) ** 2, _STIFF)


OBJECTIVES: dict[str, Objective] = {
    "huber": Objective(_huber, _huber_derivatives),
    "logcosh": Objective(_logcosh, _logcosh_derivatives),
    "zptae": Objective(_zptae, _zptae_derivatives),
    "czar": Objective(_czar, _czar_derivatives),
}
"""By the name that a recipe uses; squared error is LightGBM's own."""
