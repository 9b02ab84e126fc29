"""What the mechanism makes of a nonce.

The network's inferences when the worker window closes; losses, regrets, scores and rewards when the reputers have
spoken. All numbers come from :mod:`crucible.network`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
from allora_sdk.rpc_client.protos.emissions import v3
from allora_sdk.rpc_client.protos.emissions import v10 as e
from betterproto2 import Message

from crucible.errors import MechanismError
from crucible.localnet import bundles
from crucible.localnet.decimals import decimal_text, payable
from crucible.localnet.topic import Nonce, Topic
from crucible.network.actors import Actors
from crucible.network.epoch import EpochResult, infer, settle
from crucible.network.inputs import EpochInputs
from crucible.network.layout import layout
from crucible.network.networks import Synthesis
from crucible.network.state import TopicState

_LOG = logging.getLogger(__name__)

ACTOR_TYPES = {
    "inferer": e.ActorType.INFERER_UNSPECIFIED,
    "forecaster": e.ActorType.FORECASTER,
    "reputer": e.ActorType.REPUTER,
}


@dataclass
class Settlement:
    """What a settled nonce leaves to do.

    Attributes
    ----------
    events : list of Message
        In the chain's order.
    liquid : dict
        Inferer or forecaster -> uallo to be paid out.
    """

    events: list[Message] = field(default_factory=list)
    liquid: dict[str, int] = field(default_factory=dict)


def close_worker_window(topic: Topic, nonce: Nonce, height: int) -> list[Message]:
    """Fulfil a worker nonce at the end of block ``height`` and return the events; none without any inference."""
    nonce.closed = True
    if not nonce.inferences:
        return []
    inferers, forecasters = tuple(sorted(nonce.inferences)), tuple(sorted(nonce.forecasts))
    try:
        synthesis = infer(
            topic.mechanism, inferers, _inferences(nonce, inferers), forecasters,
            _forecasts(nonce, inferers, forecasters), topic.spec.parameters,
        )  # fmt: skip
    except MechanismError as error:
        nonce.failure = str(error)
        _LOG.warning("topic %d: nothing is inferred at nonce %d: %s", topic.spec.id, nonce.height, error)
        return []
    nonce.mode = synthesis.mode
    nonce.network = bundles.named(synthesis.values, bundles.names(inferers, forecasters))
    common = {"topic_id": topic.spec.id, "nonce_block_height": nonce.height}
    events: list[Message] = [e.EventActiveInferersSet(addresses=list(inferers), **common)]
    if forecasters:
        events.append(e.EventActiveForecastersSet(addresses=list(forecasters), **common))
    if synthesis.weights is not None:
        events += _weights(topic, nonce, synthesis.weights, inferers, forecasters)
    return [
        *events,
        bundles.event_network(topic.spec.id, nonce.height, nonce.network),
        e.EventWorkerLastCommitSet(topic_id=topic.spec.id, block_height=height, nonce=v3.Nonce(nonce.height)),
        e.EventWorkerSubmissionWindowClosed(**common),
    ]


def settle_nonce(topic: Topic, nonce: Nonce, height: int, reward: float) -> Settlement:
    """Fulfil a reputer nonce at the end of block ``height``.

    Parameters
    ----------
    reward : float
        What the topic may pay for the epoch, uallo.

    Returns
    -------
    Settlement
        Empty if nobody with stake reported. An epoch that the mechanism refuses pays nobody, as on the chain.
    """
    nonce.settled = True
    reputers = tuple(name for name in sorted(nonce.losses) if topic.stake_of(name) > 0)
    if not reputers:
        nonce.failure = "no reputer with stake reported a loss"
        return Settlement()
    inferers, forecasters = tuple(sorted(nonce.inferences)), tuple(sorted(nonce.forecasts))
    keys = bundles.names(inferers, forecasters)
    places = layout(len(inferers), len(forecasters))
    values = np.array(bundles.row(nonce.network, keys))
    synthesis = Synthesis(nonce.mode, values, None, np.zeros(()), places)
    inputs = EpochInputs(
        inferers,
        _inferences(nonce, inferers),
        forecasters,
        _forecasts(nonce, inferers, forecasters),
        reputers,
        np.array([float(topic.stake_of(name)) for name in reputers]),
        np.array([bundles.row(nonce.losses[name], keys) for name in reputers]),
        reward,
    )
    before = topic.mechanism
    try:
        topic.mechanism, result = settle(before, inputs, synthesis, topic.spec.parameters)
    except MechanismError as error:
        nonce.failure = str(error)
        _LOG.warning("topic %d: nonce %d cannot be settled: %s", topic.spec.id, nonce.height, error)
        return Settlement()
    _remember(topic, nonce, inputs, result, keys)
    settlement = Settlement(_loss_events(topic, nonce, inputs, height, before))
    settlement.events += _score_events(topic, nonce, result)
    if nonce.rewards:
        settlement.liquid = _pay(topic, nonce, settlement.events, height)
    settlement.events += [
        e.EventReputerLastCommitSet(topic_id=topic.spec.id, block_height=height, nonce=v3.Nonce(nonce.height)),
        e.EventReputerSubmissionWindowClosed(topic_id=topic.spec.id, nonce_block_height=nonce.height),
    ]
    return settlement


def _inferences(nonce: Nonce, inferers: tuple[str, ...]) -> np.ndarray:
    return np.array([float(nonce.inferences[name]) for name in inferers])


def _forecasts(nonce: Nonce, inferers: tuple[str, ...], forecasters: tuple[str, ...]) -> np.ndarray:
    rows = [[float(nonce.forecasts[k].get(j, "nan")) for j in inferers] for k in forecasters]
    return np.array(rows, dtype=float).reshape(len(forecasters), len(inferers))


def _remember(topic: Topic, nonce: Nonce, inputs: EpochInputs, result: EpochResult, keys: list[str]) -> None:
    payout = result.payout
    nonce.network_losses = bundles.named(result.losses, keys)
    nonce.scores = bundles.named(payout.inferer_scores, inputs.inferers)
    nonce.forecaster_scores = bundles.named(payout.forecaster_scores, inputs.forecasters)
    nonce.reputer_scores = bundles.named(payout.reputer_scores, inputs.reputers)
    nonce.failure = payout.reward_error
    for kind in ACTOR_TYPES:
        rewards = bundles.named(getattr(payout, f"{kind}_rewards"), getattr(inputs, f"{kind}s"))
        if rewards:
            nonce.rewards[kind] = rewards


def _weights(
    topic: Topic, nonce: Nonce, found: np.ndarray, inferers: tuple[str, ...], forecasters: tuple[str, ...]
) -> list[Message]:
    weights = [decimal_text(value) if np.isfinite(value) else "0" for value in found.tolist()]
    common = {"topic_id": topic.spec.id, "nonce_block_height": nonce.height}
    n = len(inferers)
    events: list[Message] = [
        e.EventNetworkInferenceInfererWeightsSet(addresses=list(inferers), weights=weights[:n], **common)
    ]
    if forecasters:
        events.append(
            e.EventNetworkInferenceForecasterWeightsSet(addresses=list(forecasters), weights=weights[n:], **common)
        )
    return events


def _loss_events(topic: Topic, nonce: Nonce, inputs: EpochInputs, height: int, before: TopicState) -> list[Message]:
    state, topic_id = topic.mechanism, topic.spec.id
    common = {"topic_id": topic_id, "block_height": nonce.height}
    n = len(state.inferers.names)

    def regrets(row: int, actors: Actors, first: int, names: tuple[str, ...]) -> dict[str, list[str]]:
        found = {name: state.regrets[row, first + actors.names.index(name)] for name in names}
        kept = {name: decimal_text(value) for name, value in found.items() if np.isfinite(value)}
        return {"addresses": list(kept), "regrets": list(kept.values())}

    events: list[Message] = [
        e.EventActiveReputersSet(
            topic_id=topic_id, addresses=list(inputs.reputers), nonce_block_height=nonce.height
        ),
        e.EventNetworkLossSet(
            nonce=nonce.height, bundle=bundles.event_bundle(nonce.network_losses), **common
        ),
        e.EventInfererNetworkRegretSet(**regrets(0, state.inferers, 0, inputs.inferers), **common),
        e.EventNaiveInfererNetworkRegretSet(**regrets(1, state.inferers, 0, inputs.inferers), **common),
    ]  # fmt: skip
    if inputs.forecasters:
        found = regrets(0, state.forecasters, n, inputs.forecasters)
        events.append(e.EventForecasterNetworkRegretSet(**found, **common))
    if float(state.initial_regret) != float(before.initial_regret):
        events.append(e.EventTopicInitialRegretSet(regret=decimal_text(float(state.initial_regret)), **common))
    listening = [decimal_text(state.reputers.listening[state.reputers.names.index(name)]) for name in inputs.reputers]
    events.append(
        e.EventListeningCoefficientsSet(
            actor_type=e.ActorType.REPUTER, addresses=list(inputs.reputers), coefficients=listening, **common
        )
    )  # fmt: skip
    return events


def _score_events(topic: Topic, nonce: Nonce, result: EpochResult) -> list[Message]:
    events: list[Message] = []
    task = float(result.payout.task_score)
    if nonce.rewards and nonce.forecasts and np.isfinite(task):
        events.append(
            e.EventForecastTaskScoreSet(
                topic_id=topic.spec.id, score=decimal_text(task), nonce_block_height=nonce.height
            )
        )
    for kind, scores in (
        ("inferer", nonce.scores), ("forecaster", nonce.forecaster_scores), ("reputer", nonce.reputer_scores),
    ):  # fmt: skip
        if not scores:
            continue
        common = {"actor_type": ACTOR_TYPES[kind], "topic_id": topic.spec.id}
        averages = topic.score_averages(kind)
        known = [name for name in scores if name in averages]
        events.append(
            e.EventScoresSet(
                block_height=nonce.height, addresses=list(scores), scores=[decimal_text(x) for x in scores.values()],
                **common,
            )
        )  # fmt: skip
        if known:
            events.append(
                e.EventEmaScoresSet(
                    nonce=nonce.height, addresses=known, scores=[decimal_text(averages[name]) for name in known],
                    is_active=[True] * len(known), **common,
                )
            )  # fmt: skip
    return events


def _pay(topic: Topic, nonce: Nonce, events: list[Message], height: int) -> dict[str, int]:
    """Add reputers' rewards to their stake, share them with delegators, and return what workers are paid."""
    liquid: dict[str, int] = {}
    total = sum(sum(rewards.values()) for rewards in nonce.rewards.values())
    events.append(e.EventTopicRewardsSet(topic_ids=[topic.spec.id], rewards=[decimal_text(total)]))
    for kind, rewards in nonce.rewards.items():
        for address, reward in rewards.items():
            if kind == "reputer":
                _compound(topic, address, payable(reward))
            else:
                liquid[address] = liquid.get(address, 0) + payable(reward)
        events.append(
            e.EventRewardsSettled(
                actor_type=ACTOR_TYPES[kind], topic_id=topic.spec.id, block_height=nonce.height,
                addresses=list(rewards), rewards=[decimal_text(reward) for reward in rewards.values()],
                block_height_tx=height,
            )
        )  # fmt: skip
    return liquid


def _compound(topic: Topic, reputer: str, reward: int) -> None:
    delegations = topic.delegations.get(reputer, {})
    total, left = topic.stake_of(reputer), reward
    for delegator, stake in delegations.items():
        share = reward * stake // total
        held = topic.delegate_rewards.setdefault(reputer, {})
        held[delegator] = held.get(delegator, 0) + share
        left -= share
    topic.stakes[reputer] = topic.stakes.get(reputer, 0) + left
