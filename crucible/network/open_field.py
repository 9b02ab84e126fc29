"""A topic without admission: hundreds of inferers, with one-outs in little more than linear time.

While everybody takes part in every epoch, the regret of inferer l in the network without inferer j is a difference of
two moving averages, ``A_j − B_l``: of that network's loss and of the inferer's. So n + n numbers stand for n·n regrets,
and :mod:`crucible.network.kernel_sums` does the rest. The results are those of :func:`crucible.network.epoch.step`.

In so large a field the scores are small: once their deviation is below epsilon, the mechanism pays everybody alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from crucible.errors import MechanismError
from crucible.network.epoch import EpochResult, initial_regret_after, reports_of, settled
from crucible.network.implied import implied_medians
from crucible.network.inputs import EpochInputs
from crucible.network.kernel_sums import sums_without_own
from crucible.network.layout import COMBINED, Layout, Members, layout
from crucible.network.losses import network_losses
from crucible.network.masks import has_nan
from crucible.network.networks import Synthesis, synthesise
from crucible.network.parameters import Parameters
from crucible.network.state import TopicState
from crucible.network.weights import LIFT, set_weights, weight_from_normalized_regret

SEPARABLE = 1e-9  # how far regrets may be from a difference of two averages


@dataclass(frozen=True)
class OpenFieldState:
    """A topic's state whose regrets of withheld inferers are held as two averages.

    Attributes
    ----------
    topic : TopicState
        The rest; its regrets are only those of the 2 + 2K other networks, shape (2 + 2K, n + K).
    networks, inferers : numpy.ndarray
        Shape (n,): A and B, log10 losses; A of the network without each inferer, B of each inferer.
    """

    topic: TopicState
    networks: np.ndarray
    inferers: np.ndarray

    @classmethod
    def of(cls, state: TopicState) -> OpenFieldState:
        """Return ``state`` of one scenario in this form.

        Raises
        ------
        MechanismError
            Workers came and went, or losses of withheld implied inferences are stored, so that the form does not fit.
        """
        n = len(state.inferers.names)
        rows = layout(n, len(state.forecasters.names)).one_out_inferers
        ours, others = state.regrets[rows, :n], state.regrets[rows, n:]
        if not np.isnan(others).all():
            raise MechanismError("regrets with withheld implied inferences are stored; take step instead")
        if np.isnan(ours).all():
            ours = np.full((n, n), float(state.initial_regret))
        inferers = ours[0, 0] - ours[0]
        networks = ours[:, 0] + inferers[0]
        if not np.abs(networks[:, None] - inferers - ours).max() <= SEPARABLE:
            raise MechanismError("inferers came and went, so the regrets do not separate; take step instead")
        small = np.delete(state.regrets, np.arange(rows.start, rows.stop), axis=0)
        return cls(replace(state, regrets=small), networks, inferers)


def step_open_field(
    state: OpenFieldState, inputs: EpochInputs, params: Parameters
) -> tuple[OpenFieldState, EpochResult]:
    """Return the state after an epoch in which everybody takes part, and what came of it.

    Raises
    ------
    MechanismError
        Other participants than before, missing forecasts, losses that nobody reports, protocol versions from 0.9 on, or
        what :func:`crucible.network.epoch.step` refuses.
    """
    inputs.check()
    topic = state.topic
    known = (topic.inferers.names, topic.forecasters.names, topic.reputers.names)
    if (inputs.inferers, inputs.forecasters, inputs.reputers) != known or inputs.absent is not None:
        raise MechanismError("the participants are not those of the epoch before; take step instead")
    if params.since("0.9") or params.implied_one_out_losses or has_nan(inputs.forecasts):
        raise MechanismError("an open field needs complete forecasts and the rules before 0.9; take step instead")
    places = layout(len(inputs.inferers), len(inputs.forecasters))
    synthesis = _synthesis(state, inputs, places, params)
    reports = reports_of(inputs, synthesis, params)
    losses = network_losses(reports, inputs.stakes)
    without = losses[places.one_out_inferers]
    alpha, own = params.alpha_regret, losses[places.inferers]
    networks, inferers = state.networks, state.inferers
    if synthesis.mode == "full":
        if has_nan(without) or has_nan(own):
            raise MechanismError("nobody reports the loss of some inferer, or without it; take step instead")
        networks = networks + alpha * (without - networks)
        inferers = inferers + alpha * (own - inferers)
    stored = topic.regrets
    fresh = _small_regrets(stored, topic, losses, places, alpha)
    first = initial_regret_after(topic, stored, fresh, losses, (topic.inferers, topic.forecasters), synthesis, params)
    (paid_j, paid_k, paid_m), tau, payout = settled(
        (topic.inferers, topic.forecasters, topic.reputers), topic.tau, synthesis, reports, losses, inputs, params
    )
    topic = TopicState(paid_j, paid_k, paid_m, fresh, first, losses[COMBINED], tau)
    return OpenFieldState(topic, networks, inferers), EpochResult(synthesis, losses, payout)


def _synthesis(state: OpenFieldState, inputs: EpochInputs, places: Layout, params: Parameters) -> Synthesis:
    topic, inferences, forecasts = state.topic, inputs.inferences, inputs.forecasts
    n, k = places.n, places.k
    if n == 1 or has_nan(topic.network_loss):
        return synthesise(inferences, forecasts, topic.network_loss, topic.regrets, topic.initial_regret, params)
    all_new = topic.initial_regret == 0
    members = _small_members(places)
    filled = np.where(np.isnan(topic.regrets), topic.initial_regret, topic.regrets)
    weights = set_weights(filled, members, params)
    values = np.full(places.size, np.nan)
    values[places.inferers] = inferences
    if all_new:
        implied, withheld = implied_medians(inferences, forecasts)
        small = np.full(len(weights), inferences.mean())
        without = (inferences.sum() - inferences) / (n - 1)
    else:
        implied = np.empty(k)
        withheld = np.empty((k, n))
        for f in range(k):
            regrets = topic.network_loss - forecasts[f]
            own = set_weights(regrets[None, :], Members.of(np.ones((1, n), dtype=bool)), params)[0]
            implied[f] = own @ inferences / own.sum()
            withheld[f] = _withheld(regrets, inferences, params)
        small = weights @ np.concatenate([inferences, implied])
        small /= np.maximum(weights.sum(-1), params.epsilon_safe_div)
        without = _one_outs(state, inferences, withheld, params)
    values[:2], values[places.implied] = small[:2], implied
    values[places.one_out_inferers] = without
    values[places.implied_one_outs] = withheld.ravel()
    if k > 1:
        values[places.one_out_forecasters], values[places.one_in_forecasters] = small[2 : 2 + k], small[2 + k :]
    return Synthesis("full", values, weights[COMBINED], np.asarray(all_new), places)


def _small_rows(places: Layout) -> np.ndarray:
    """Return the rows of the regret matrix that are held as they are."""
    return np.r_[0:2, places.one_out_forecasters.start : places.rows]


def _small_members(places: Layout) -> Members:
    n, k = places.n, places.k
    chosen = np.ones((2 + 2 * k, n + k), dtype=bool)
    chosen[1, n:] = False
    chosen[2 : 2 + k, n:] = ~np.eye(k, dtype=bool)
    chosen[2 + k :, n:] = np.eye(k, dtype=bool)
    return Members.of(chosen)


def _small_regrets(
    stored: np.ndarray, topic: TopicState, losses: np.ndarray, places: Layout, alpha: float
) -> np.ndarray:
    n, k = places.n, places.k
    news = losses[_small_rows(places), None] - losses[places.rows : places.reported]
    filled = np.where(np.isnan(stored), topic.initial_regret, stored)
    moved = filled + alpha * (news - filled)
    kept = np.ones(stored.shape, dtype=bool)
    kept[1, n:] = False
    kept[2 + k :, n:] = np.eye(k, dtype=bool)
    return np.where(kept & ~np.isnan(moved), moved, stored)


def _left_out(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, sum of squared deviations and largest of ``values`` (n,) without each one; n ≥ 2."""
    n = len(values)
    off = values - values.mean()
    squares = off @ off
    means = values.mean() - off / (n - 1)
    spread = squares - off * off * n / (n - 1)
    for j in np.flatnonzero(off * off > 0.25 * squares):  # too few to matter; subtraction would leave only rounding
        rest = np.delete(values, j)
        spread[j] = ((rest - rest.mean()) ** 2).sum()
    second, best = np.partition(values, -2)[-2:]
    return means, np.maximum(spread, 0.0), np.where(values == best, second, best)


def _grouped(
    b: np.ndarray, values: np.ndarray, t: np.ndarray, largest: np.ndarray, scale: np.ndarray, params: Parameters
) -> tuple[np.ndarray, np.ndarray]:
    """Return sums without the own worker (n, 2), and by how much sets are lifted since their best does badly (n,)."""
    low = params.c_norm - LIFT / params.p_norm
    lifted = largest / scale < low
    sums = np.empty((len(t), 2))
    for group, offset in ((~lifted, 0.0), (lifted, low)):
        own = np.flatnonzero(group)
        if len(own):
            at = t[own] - (largest[own] if offset else 0.0)
            sums[own] = sums_without_own(b, values, at, 1.0 / scale[own], offset, own, params)
    return sums, np.where(lifted, low - largest / scale, 0.0)


def _withheld(regrets: np.ndarray, inferences: np.ndarray, params: Parameters) -> np.ndarray:
    """Return one forecaster's implied inference without each inferer, (n,)."""
    n = len(regrets)
    _, spread, largest = _left_out(regrets)
    scale = np.sqrt(spread / max(n - 2, 1)) + params.epsilon
    sums, _ = _grouped(-regrets, inferences, np.zeros(n), largest, scale, params)
    return sums[:, 1] / sums[:, 0]


def _one_outs(state: OpenFieldState, inferences: np.ndarray, withheld: np.ndarray, params: Parameters) -> np.ndarray:
    """Return the inferences of the networks without each inferer, (n,)."""
    n, k = len(inferences), len(withheld)
    first = float(state.topic.initial_regret)  # the regret of every forecaster in these networks
    means, spread, largest = _left_out(-state.inferers)
    means, largest = means + state.networks, largest + state.networks
    if k:
        largest = np.maximum(largest, first)
        spread = spread + (n - 1) * k / (n - 1 + k) * (means - first) ** 2
    scale = np.sqrt(spread / max(n - 2 + k, 1)) + params.epsilon
    sums, lift = _grouped(state.inferers, inferences, state.networks, largest, scale, params)
    if k:
        # lifted already, so that no largest regret is needed
        at = first / scale + lift
        forecasters = weight_from_normalized_regret(at, np.full(n, np.inf), params.p_norm, params.c_norm)
        sums[:, 0] += k * forecasters
        sums[:, 1] += forecasters * withheld.sum(axis=0)
    return sums[:, 1] / np.maximum(sums[:, 0], params.epsilon_safe_div)
