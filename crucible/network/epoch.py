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
from crucible.network.payout import Payout, paid_reputers, paid_workers, worker_scores
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
    inferences, forecasts = inputs.inferences, inputs.forecasts
    if inputs.absent is not None:
        inferences = np.where(inputs.absent, np.nan, inferences)
        forecasts = np.where(inputs.absent[..., None, :], np.nan, forecasts)
    synthesis = synthesise(inferences, forecasts, state.network_loss, filled, state.initial_regret, params)
    reports = reports_of(inputs, synthesis, params)
    losses = network_losses(reports, inputs.stakes)
    fresh = updated_regrets(stored, filled, losses, synthesis.layout, params.alpha_regret)
    actors = (state.inferers.taken(at_j), state.forecasters.taken(at_k), state.reputers.taken(at_m))
    regret_of_new = initial_regret_after(state, stored, fresh, losses, actors[:2], synthesis, params)
    (inferers, forecasters, reputers), tau, payout = settled(
        actors, state.tau, synthesis, reports, losses, inputs, params
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


def reports_of(inputs: EpochInputs, synthesis: Synthesis, params: Parameters) -> np.ndarray:
    """Return the losses that reputers report (..., M, x), without those of what the network did not infer.

    Raises
    ------
    MechanismError
        A shape that does not fit, an infinite loss, or nobody who reports the combined or the naive network.
    """
    places = synthesis.layout
    reports = inputs.losses if isinstance(inputs.losses, np.ndarray) else inputs.losses(synthesis)
    if reports.shape[-2] != len(inputs.reputers) or reports.shape[-1] not in (places.reported, places.size):
        raise MechanismError(
            f"losses have the shape {reports.shape}; it must end in ({len(inputs.reputers)}, {places.reported} or "
            f"{places.size})"
        )
    width = places.size if params.implied_one_out_losses else places.reported
    reports = reports[..., :width]
    absent = np.isnan(synthesis.values[..., : reports.shape[-1]])
    if some(absent):
        reports = np.where(absent[..., None, :], np.nan, reports)
    if some(np.isinf(reports)):
        raise MechanismError("a reported loss is infinite")
    if some(np.isnan(reports[..., :2]).all(-2)):
        raise MechanismError("no reputer reports the loss of the combined or of the naive network")
    return reports


def settled(
    actors: tuple[Actors, Actors, Actors],
    tau: np.ndarray,
    synthesis: Synthesis,
    reports: np.ndarray,
    losses: np.ndarray,
    inputs: EpochInputs,
    params: Parameters,
) -> tuple[tuple[Actors, Actors, Actors], np.ndarray, Payout]:
    """Return inferers, forecasters and reputers after an epoch, tau, and what everybody is paid.

    ``reports`` (..., M, x) are the reputers' losses, ``losses`` (..., x) the network's; all log10.
    """
    reputers, reputing = paid_reputers(actors[2], reports, inputs.stakes, params)
    inferers, forecasters, tau, payout = paid_workers(
        actors[0], actors[1], tau, worker_scores(synthesis, losses), losses, reputing, inputs.topic_reward, params
    )
    return (inferers, forecasters, reputers), tau, payout


def initial_regret_after(
    state: TopicState,
    stored: np.ndarray,
    fresh: np.ndarray,
    losses: np.ndarray,
    workers: tuple[Actors, Actors],
    synthesis: Synthesis,
    params: Parameters,
) -> np.ndarray:
    """Return the topic's initial regret after an epoch, shape (...,).

    ``stored`` and ``fresh`` are regrets (..., networks, workers) before and after it; the combined network's count.
    """
    places = synthesis.layout
    inclusions = np.concatenate([actors.inclusions for actors in workers], axis=-1)
    here = is_experienced(inclusions, params.alpha_regret, is_new=np.isnan(stored[..., COMBINED, :]))
    here = here & ~np.isnan(losses[..., places.rows : places.reported])
    return initial_regret(fresh[..., COMBINED, :], here, state.initial_regret, params)
