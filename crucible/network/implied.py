"""Forecast-implied inferences: what a forecaster would infer, given the losses that it expects of the inferers."""

from __future__ import annotations

import numpy as np

from crucible.network.layout import Members, layout
from crucible.network.parameters import Parameters
from crucible.network.weights import set_weights


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
    n = forecast_losses.shape[-1]
    members, empty = _elements(forecast_losses, n)
    regrets = forecasted_regrets(network_loss, forecast_losses)
    if empty is not None:
        regrets = np.nan_to_num(regrets, nan=0.0)
    weights = set_weights(regrets[..., :, None, :], members, params)
    values = np.matmul(weights, inferences[..., None, :, None])[..., 0] / weights.sum(-1)
    if empty is not None:
        values = np.where(empty[..., None], np.nan, values)
    return values[..., 0], values[..., 1:]


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


def _elements(forecast_losses: np.ndarray, n: int) -> tuple[Members, np.ndarray | None]:
    """Return the sets of elements per withheld inferer, and which forecasters have none (``None``: all is forecast)."""
    withheld = layout(n, forecast_losses.shape[-2]).withheld
    absent = np.isnan(forecast_losses)
    if not absent.any():
        return withheld, None
    spoken = ~absent
    empty = absent.all(-1)
    spoken = spoken | empty[..., None]  # any set will do: the result is dropped
    chosen = spoken[..., None, :] & (withheld.share > 0)
    left = chosen.any(-1, keepdims=True)
    return Members.of(np.where(left, chosen, spoken[..., None, :])), empty
