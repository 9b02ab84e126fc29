"""Forecast-implied inferences: what a forecaster would infer, given the losses that it expects of the inferers."""

from __future__ import annotations

import numpy as np

from crucible.network.layout import Members, layout
from crucible.network.masks import some
from crucible.network.parameters import Parameters
from crucible.network.weights import normalised_weights


def forecasted_regrets(network_loss: np.ndarray | float, forecast_losses: np.ndarray) -> np.ndarray:
    """Return ``network_loss − forecast_losses``.

    Shapes (...,) and (..., K, n), log10; NaN where there is no forecast. ``network_loss`` is the combined loss of the
    last completed epoch.
    """
    return np.asarray(network_loss, dtype=float)[..., None, None] - forecast_losses


def implied_inferences(
    inferences: np.ndarray, forecast_losses: np.ndarray, network_loss: np.ndarray | float, params: Parameters
) -> tuple[np.ndarray, np.ndarray]:
    """Return the implied inference of every forecaster, with all inferers and with each one withheld.

    Weights are normalised over the elements of one forecast. A forecaster whose only element is the withheld inferer
    keeps it: the chain hands on the full set of inferences.

    Parameters
    ----------
    inferences : numpy.ndarray
        Shape (..., n).
    forecast_losses : numpy.ndarray
        Shape (..., K, n), log10; NaN where a forecaster says nothing.
    network_loss : numpy.ndarray or float
        Shape (...,), log10: the combined loss of the last completed epoch.
    params : Parameters
        ``p_norm``, ``c_norm``, ``epsilon``.

    Returns
    -------
    implied : numpy.ndarray
        Shape (..., K); NaN for a forecaster without elements, which leaves the epoch.
    withheld : numpy.ndarray
        Shape (..., K, n): without inferer j. Source: ``forecast_implied.go:35-202``.
    """
    members, spoken, empty = _elements(forecast_losses)
    regrets = forecasted_regrets(network_loss, forecast_losses)
    if spoken is not None:
        regrets = np.where(spoken, regrets, 0.0)
    scale, largest = _spread(regrets, members, spoken)
    scale += params.epsilon
    normalised = regrets[..., None, :] / scale[..., None]
    normalised += members.penalty
    weights = normalised_weights(normalised, (largest / scale)[..., None], params)
    inferred = np.ones((*inferences.shape, 2))
    inferred[..., 0] = inferences
    sums = np.matmul(weights, inferred if inferred.ndim == 2 else inferred[..., None, :, :])
    values = sums[..., 0] / sums[..., 1]
    if empty is not None:
        values = np.where(empty[..., None], np.nan, values)
    return values[..., 0], values[..., 1:]


def _spread(regrets: np.ndarray, members: Members, spoken: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the deviation and the largest regret of each set of elements, shape (..., K, n + 1).

    The sets differ by one element, so sums over them are products with the matrix of members: no sum is made by
    subtracting an element, and a middle one is taken off first, so that an outlier leaves no rounding behind.
    """
    n = regrets.shape[-1]
    middle = np.partition(regrets, n // 2, axis=-1)[..., n // 2, None]
    off = regrets - middle
    if members.share.ndim == 2:
        share = members.share.T
        first, second = np.matmul(off, share), np.matmul(off * off, share)
    else:
        first = np.vecdot(off[..., None, :], members.share)
        second = np.vecdot((off * off)[..., None, :], members.share)
    variance = (second - first * first / members.count) / np.maximum(members.count - 1.0, 1.0)
    present = regrets if spoken is None else np.where(spoken, regrets, -np.inf)
    if members.share.ndim == 2:
        return np.sqrt(np.maximum(variance, 0.0)), _largest_without(present)
    return np.sqrt(np.maximum(variance, 0.0)), (present[..., None, :] + members.penalty).max(-1)


def _largest_without(values: np.ndarray) -> np.ndarray:
    """Return the largest of ``values`` (..., n), n ≥ 2, and the largest without each one: shape (..., n + 1)."""
    top = np.partition(values, -2, axis=-1)[..., -2:]
    best, second = top[..., 1, None], top[..., 0, None]
    return np.concatenate([best, np.where(values == best, second, best)], axis=-1)


def implied_medians(inferences: np.ndarray, forecast_losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return implied inferences while all workers are new: medians of the inferences that a forecast speaks of.

    Shapes as in :func:`implied_inferences`; a withheld inferer stays in the median, as on the chain.
    """
    spoken = np.where(np.isnan(forecast_losses), np.nan, inferences[..., None, :])
    ordered = np.sort(spoken, axis=-1)  # NaN goes to the end
    count = (~np.isnan(spoken)).sum(-1)
    last = np.maximum(count - 1, 0)
    low = np.take_along_axis(ordered, (last // 2)[..., None], -1)
    high = np.take_along_axis(ordered, ((last + 1) // 2)[..., None], -1)
    middle = (low + high) / 2
    return middle[..., 0], np.broadcast_to(middle, forecast_losses.shape)


def _elements(forecast_losses: np.ndarray) -> tuple[Members, np.ndarray | None, np.ndarray | None]:
    """Return the sets of elements per withheld inferer, who is forecast, and which forecasters forecast nobody.

    The last two are ``None`` where all is forecast.
    """
    k, n = forecast_losses.shape[-2:]
    withheld = layout(n, k).withheld
    absent = np.isnan(forecast_losses)
    if not some(absent):
        return withheld, None, None
    spoken = ~absent
    empty = absent.all(-1)
    any_set = spoken | empty[..., None]  # of an empty forecast the result is dropped
    chosen = any_set[..., None, :] & (withheld.share > 0)
    left = chosen.any(-1, keepdims=True)
    return Members.of(np.where(left, chosen, any_set[..., None, :])), any_set, empty
