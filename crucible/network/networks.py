"""Inference synthesis: the combined, naive, one-out and one-in networks of an epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crucible.network.averages import weighted_percentiles
from crucible.network.implied import implied_inferences, implied_medians
from crucible.network.layout import COMBINED, NAIVE, Layout, Members, layout
from crucible.network.masks import every, has_nan, some
from crucible.network.parameters import Parameters
from crucible.network.weights import mad_scale, set_weights

PERCENTILES = np.array([2.28, 15.87, 50.0, 84.13, 97.72])  # the median and one and two standard deviations around it


@dataclass(frozen=True)
class Synthesis:
    """What the network infers in one epoch; leading axes are scenarios.

    Attributes
    ----------
    mode : str
        ``single`` (one inferer), ``median`` (no network loss so far) or ``full``.
    values : numpy.ndarray
        Shape (..., layout.size), topic units: every inference in the order of :class:`Layout`; NaN where there is none.
    weights : numpy.ndarray or None
        Shape (..., n + K): of the workers in the combined network; only in mode ``full``.
    all_new : numpy.ndarray
        Bool, shape (...,): whether the plain mean was taken, as long as the topic's initial regret is 0.
    layout : Layout
        Places in ``values``.
    """

    mode: str
    values: np.ndarray
    weights: np.ndarray | None
    all_new: np.ndarray
    layout: Layout

    def confidence_interval(self) -> np.ndarray:
        """Return the percentiles 2.28, 15.87, 50, 84.13, 97.72 of the workers' values (5,); of one scenario only.

        Next to equal values the chain's may differ, since its sort is unstable.
        """
        if self.weights is None:
            return np.full(len(PERCENTILES), np.nan)
        values = self.values[self.layout.inferers.start : self.layout.implied.stop]
        here = ~np.isnan(values)
        return weighted_percentiles(values[here], self.weights[here], PERCENTILES)


def synthesise(
    inferences: np.ndarray,
    forecast_losses: np.ndarray,
    network_loss: np.ndarray,
    regrets: np.ndarray,
    initial_regret: np.ndarray,
    params: Parameters,
) -> Synthesis:
    """Return everything that the network infers in one epoch.

    Parameters
    ----------
    inferences : numpy.ndarray
        Shape (..., n), topic units; NaN for who takes no part in a scenario, where two others do.
    forecast_losses : numpy.ndarray
        Shape (..., K, n), log10; NaN where a forecaster says nothing.
    network_loss : numpy.ndarray
        Shape (...,), log10: the combined loss of the last completed epoch; NaN in all scenarios if there is none.
    regrets : numpy.ndarray
        Shape (..., networks, workers), in the order of :class:`Layout`; no NaN where the network has the worker.
    initial_regret : numpy.ndarray
        Shape (...,): the topic's; exactly 0 means that all workers are new.
    params : Parameters
        Of the topic.

    Returns
    -------
    Synthesis
        Source: ``network_inferences.go:26-58`` and ``network_inference_builder.go``.
    """
    k, n = forecast_losses.shape[-2:]
    places = layout(n, k)
    values = np.full((*inferences.shape[:-1], places.size), np.nan)
    values[..., places.inferers] = inferences
    all_new = np.asarray(initial_regret) == 0
    if n == 1:
        values[..., :2] = inferences
        return Synthesis("single", values, None, all_new, places)
    if some(np.isnan(network_loss)):
        values[..., COMBINED] = (np.nanmedian if has_nan(inferences) else np.median)(inferences, axis=-1)
        values[..., NAIVE] = 0.0
        return Synthesis("median", values, None, all_new, places)
    absent = np.isnan(inferences)
    anybody_absent = some(absent)
    if anybody_absent:
        inferences = np.where(absent, 0.0, inferences)
    implied, withheld = _implied(inferences, forecast_losses, network_loss, all_new, params)
    members = places.members
    left = np.isnan(implied)
    anybody_left = some(left)
    if anybody_left or anybody_absent:
        members = _without(places, absent, left)
    weights = set_weights(regrets, members, params, _shared_scale(regrets, members, params))
    any_new = some(all_new)
    if any_new and every(all_new):
        rows = np.empty((*inferences.shape[:-1], places.rows))
    else:
        spoken = np.nan_to_num(implied) if anybody_left else implied
        rows = np.matmul(weights, np.concatenate([inferences, spoken], axis=-1)[..., None])[..., 0]
        if k:
            # where an inferer is withheld, the implied inferences are made without it
            ours = weights[..., places.one_out_inferers, :]
            instead = np.nan_to_num(withheld) if anybody_left else withheld
            rows[..., places.one_out_inferers] += np.vecdot(
                ours[..., n:], np.swapaxes(instead - spoken[..., None], -1, -2)
            )
        rows /= np.maximum(np.add.reduce(weights, -1), params.epsilon_safe_div)
    if any_new:
        rows = np.where(all_new[..., None], _means(inferences, members, places), rows)
    values[..., : places.rows] = rows
    values[..., places.implied] = implied
    values[..., places.implied_one_outs] = withheld.reshape(*withheld.shape[:-2], k * n)
    if anybody_left or k == 1:
        _blank_needless(values, left, places)
    if anybody_absent:
        for rows_of_inferers in (places.one_out_inferers, places.implied_one_outs):
            part = values[..., rows_of_inferers]
            part[np.broadcast_to(np.tile(absent, part.shape[-1] // n), part.shape)] = np.nan
    return Synthesis("full", values, weights[..., COMBINED, :], all_new, places)


def _implied(
    inferences: np.ndarray, forecasts: np.ndarray, network_loss: np.ndarray, all_new: np.ndarray, params: Parameters
) -> tuple[np.ndarray, np.ndarray]:
    if not forecasts.shape[-2]:
        return forecasts[..., 0], forecasts
    mixed = some(all_new)
    if mixed and every(all_new):
        return implied_medians(inferences, forecasts)
    implied, withheld = implied_inferences(inferences, forecasts, network_loss, params)
    if mixed:
        median, same = implied_medians(inferences, forecasts)
        implied = np.where(all_new[..., None], median, implied)
        withheld = np.where(all_new[..., None, None], same, withheld)
    return implied, withheld


def _without(places: Layout, absent: np.ndarray, left: np.ndarray) -> Members:
    """Return the members of every network without inferers ``absent`` (..., n) and forecasters ``left`` (..., K)."""
    here = ~np.concatenate([absent, left], axis=-1)
    return Members.of((places.members.share > 0) & here[..., None, :])


def _shared_scale(regrets: np.ndarray, members: Members, params: Parameters) -> np.ndarray | None:
    """Return the combined network's scale for all networks, as versions from 0.9 on take it; else ``None``."""
    if not params.since("0.9"):
        return None
    combined = np.where(members.share[..., COMBINED, :] > 0, regrets[..., COMBINED, :], np.nan)
    if params.since("0.16"):
        return mad_scale(combined, params.epsilon)[..., None]
    return np.nanstd(combined, axis=-1, ddof=1)[..., None] + params.epsilon


def _means(inferences: np.ndarray, members: Members, places: Layout) -> np.ndarray:
    """Return the plain mean of every network's inferers (..., rows); forecasters do not count."""
    share = members.share[..., : places.n]
    return np.matmul(share, inferences[..., None])[..., 0] / share.sum(-1)


def _blank_needless(values: np.ndarray, left: np.ndarray, places: Layout) -> None:
    """Set to NaN the one-out and one-in networks that the chain does not make: of a single or absent forecaster."""
    gone = left | ((~left).sum(-1, keepdims=True) <= 1)
    for rows in (places.one_out_forecasters, places.one_in_forecasters):
        values[..., rows] = np.where(gone, np.nan, values[..., rows])
