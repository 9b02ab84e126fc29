"""One epoch of a topic: ``state, result = step(state, inputs, params)``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from crucible.errors import MechanismError
from crucible.network.actors import Actors
from crucible.network.inputs import EpochInputs
from crucible.network.layout import COMBINED
from crucible.network.losses import network_losses
from crucible.network.masks import some
from crucible.network.networks import Synthesis, synthesise
from crucible.network.parameters import Parameters
from crucible.network.payout import NO_SCORES, Payout, paid_reputers, paid_workers, worker_scores
from crucible.network.regrets import filled_regrets, initial_regret, is_experienced, updated_regrets
from crucible.network.state import TopicState


@dataclass(frozen=True)
class EpochResult:
    """What came of an epoch; arrays are in the order of its inputs, leading axes are scenarios.

    Attributes
    ----------
    synthesis : Synthesis
        All inferences of the network.
    losses : numpy.ndarray
        Shape (..., layout.reported or layout.size), log10: the network losses.
    payout : Payout
        Scores, fractions, entropies and rewards.
    """

    synthesis: Synthesis
    losses: np.ndarray
    payout: Payout

    @property
    def combined(self) -> np.ndarray:
        """The network inference, shape (...,), topic units."""
        return self.synthesis.values[..., COMBINED]


def step(state: TopicState, inputs: EpochInputs, params: Parameters) -> tuple[TopicState, EpochResult]:
    """Return the topic's state after an epoch, and what came of it.

    Parameters
    ----------
    state : TopicState
        Left as it is.
    inputs : EpochInputs
        Of the epoch's active participants; everybody else's numbers stay frozen.
    params : Parameters
        Of module and topic.

    Returns
    -------
    TopicState, EpochResult
        The first epoch of a topic pays nobody: its result has a ``reward_error``, as the chain has.

    Raises
    ------
    MechanismError
        Inputs from which the chain could not compute the epoch either.
    """
    inputs.check()
    state = state.enrolled(inputs.inferers, inputs.forecasters, inputs.reputers)
    at_j, at_k = state.inferers.places(inputs.inferers), state.forecasters.places(inputs.forecasters)
    at_m = state.reputers.places(inputs.reputers)
    grid = state.grid(at_j, at_k)
    stored = state.regrets if grid is None else state.regrets[grid]
    filled = filled_regrets(stored, state.initial_regret)
    synthesis = synthesise(
        inputs.inferences, inputs.forecasts, state.network_loss, filled, state.initial_regret, params
    )
    reports = _reports(inputs, synthesis, params)
    losses = network_losses(reports, inputs.stakes)
    if some(np.isnan(losses[..., :2])):
        raise MechanismError("no reputer reports the loss of the combined or of the naive network")
    fresh = updated_regrets(stored, filled, losses, synthesis.layout, params.alpha_regret)
    inferers, forecasters = state.inferers.taken(at_j), state.forecasters.taken(at_k)
    regret_of_new = _initial_regret(state, stored, fresh, losses, (inferers, forecasters), synthesis, params)

    reputers, reputing = paid_reputers(state.reputers.taken(at_m), reports, inputs.stakes, params)
    scores = worker_scores(synthesis, losses)
    inferers, forecasters, tau, payout = paid_workers(
        inferers, forecasters, state.tau, scores, losses, reputing, inputs.topic_reward, params
    )
    if grid is None:
        regrets = fresh
    else:
        regrets = state.regrets.copy()
        regrets[grid] = fresh
    state = replace(
        state,
        inferers=state.inferers.put(at_j, inferers),
        forecasters=state.forecasters.put(at_k, forecasters),
        reputers=state.reputers.put(at_m, reputers),
        regrets=regrets,
        initial_regret=regret_of_new,
        network_loss=losses[..., COMBINED],
        tau=tau,
    )
    return state, EpochResult(synthesis, losses, payout)


def _reports(inputs: EpochInputs, synthesis: Synthesis, params: Parameters) -> np.ndarray:
    places = synthesis.layout
    reports = inputs.losses if isinstance(inputs.losses, np.ndarray) else inputs.losses(synthesis)
    if reports.shape[-2] != len(inputs.reputers) or reports.shape[-1] not in (places.reported, places.size):
        raise MechanismError(
            f"losses have the shape {reports.shape}; it must end in ({len(inputs.reputers)}, {places.reported} or "
            f"{places.size})"
        )
    width = places.size if params.implied_one_out_losses else places.reported
    reports = reports[..., :width]
    # a loss of what the network did not infer is dropped
    absent = np.isnan(synthesis.values[..., : reports.shape[-1]])
    if some(absent):
        reports = np.where(absent[..., None, :], np.nan, reports)
    if some(np.isinf(reports)):
        raise MechanismError("a reported loss is infinite")
    return reports


def _initial_regret(
    state: TopicState,
    stored: np.ndarray,
    fresh: np.ndarray,
    losses: np.ndarray,
    workers: tuple[Actors, Actors],
    synthesis: Synthesis,
    params: Parameters,
) -> np.ndarray:
    places = synthesis.layout
    inclusions = np.concatenate([actors.inclusions for actors in workers], axis=-1)
    here = is_experienced(inclusions, params.alpha_regret, is_new=np.isnan(stored[..., COMBINED, :]))
    here = here & ~np.isnan(losses[..., places.rows : places.reported])
    return initial_regret(fresh[..., COMBINED, :], here, state.initial_regret, params)


__all__ = ["NO_SCORES", "EpochResult", "step"]
