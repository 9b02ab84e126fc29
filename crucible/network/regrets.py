"""Regrets: by how much a network would rather have had a worker. Positive means better than the network."""

from __future__ import annotations

import numpy as np

from crucible.network.averages import ema, quantile, stddev
from crucible.network.layout import Layout
from crucible.network.masks import every
from crucible.network.parameters import Parameters


def regret_update(loss: float, worker_loss: float, previous: float, alpha: float) -> float:
    """Return one regret's next value, ``EMA(loss − worker_loss)``; all log10. Source: ``network_regrets.go``."""
    return ema(alpha, loss - worker_loss, previous)


def filled_regrets(stored: np.ndarray, initial_regret: np.ndarray) -> np.ndarray:
    """Return ``stored`` (..., networks, workers) with the topic's initial regret where there is none (NaN)."""
    return np.where(np.isnan(stored), np.asarray(initial_regret)[..., None, None], stored)


def updated_regrets(
    stored: np.ndarray, filled: np.ndarray, losses: np.ndarray, places: Layout, alpha: float
) -> np.ndarray:
    """Return all nine families of regrets after an epoch.

    The regret of worker w in network x moves towards ``L_x − L_w``; in the network without inferer j, a forecaster's
    loss is that of its inference without j. The average is taken from the initial regret where nothing is stored.
    Regrets whose losses are missing stay as they are.

    Parameters
    ----------
    stored, filled : numpy.ndarray
        Shape (..., networks, workers): before the epoch, without and with :func:`filled_regrets`.
    losses : numpy.ndarray
        Shape (..., layout.reported or layout.size), log10: the network losses.
    places : Layout
        Of this epoch.
    alpha : float
        ``alpha_regret`` of the topic.

    Returns
    -------
    numpy.ndarray
        Shape (..., networks, workers). Source: ``network_regrets.go:75-380``.
    """
    workers = losses[..., places.rows : places.reported]
    news = losses[..., : places.rows, None] - workers[..., None, :]
    n, k = places.n, places.k
    if k:
        if losses.shape[-1] == places.size:
            withheld = losses[..., places.implied_one_outs].reshape(*losses.shape[:-1], k, n)
            news[..., places.one_out_inferers, n:] = losses[..., places.one_out_inferers, None] - np.swapaxes(
                withheld, -1, -2
            )
        else:
            news[..., places.one_out_inferers, n:] = np.nan
    moved = news - filled
    moved *= alpha
    moved += filled
    return np.where(places.kept & ~np.isnan(moved), moved, stored)


def is_experienced(inclusions: np.ndarray | int, alpha: float, *, is_new: np.ndarray | bool) -> np.ndarray:
    """Return whether workers count for the initial regret: a stored regret, and 1/alpha inclusions or more."""
    return (np.asarray(inclusions) >= 1 / alpha) & ~np.asarray(is_new)


def initial_regret(
    regrets: np.ndarray, experienced: np.ndarray, unchanged: np.ndarray | float, params: Parameters
) -> np.ndarray:
    """Return the regret that the topic gives to new workers.

    ``quantile_{q0}(R) + (c_norm − d0/p_norm)·(σ(R) + epsilon)`` over the experienced workers.

    Parameters
    ----------
    regrets : numpy.ndarray
        Shape (..., workers): in the combined network, after the epoch.
    experienced : numpy.ndarray
        Bool, shape (..., workers).
    unchanged : numpy.ndarray or float
        Shape (...,): what to keep where fewer than ``min_experienced`` workers are.
    params : Parameters
        Of the topic.

    Returns
    -------
    numpy.ndarray
        Shape (...,). Source: ``network_regrets.go:360-485``.
    """
    few = np.add.reduce(experienced, -1, dtype=int) < params.min_experienced
    if every(few):
        return np.asarray(unchanged, dtype=float)
    low = quantile(regrets, params.initial_regret_quantile, experienced)
    spread = stddev(regrets, experienced) + params.epsilon
    fresh = low + (params.c_norm - params.p_norm_safe_div / params.p_norm) * spread
    return np.where(few, unchanged, fresh)
