"""What the emissions module is asked: topics, nonces, inferences, losses, scores, stakes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from grpclib import GRPCError, Status

from crucible.chain.answers import (
    NetworkInference,
    NetworkLosses,
    TopicInfo,
    attributed,
    network_inference,
    number,
    topic_info,
    whole,
)
from crucible.chain.protos import e
from crucible.errors import ChainError


class TopicQueries(ABC):
    """The queries about topics; :class:`~crucible.chain.client.ChainClient` is one of these."""

    async def topic(self, topic_id: int) -> TopicInfo:
        """Return a topic.

        Raises
        ------
        ChainError
            If it does not exist.
        """
        found = await self._ask("get_topic", e.GetTopicRequest(topic_id=topic_id))
        if found is None or found.topic is None:
            raise ChainError(f"Topic {topic_id} does not exist on this chain.")
        return topic_info(topic_id, found.topic)

    async def is_registered(self, topic_id: int, address: str, *, reputer: bool = False) -> bool:
        """Return whether ``address`` is a worker, or a reputer, of the topic."""
        kind = "Reputer" if reputer else "Worker"
        request = getattr(e, f"Is{kind}RegisteredInTopicIdRequest")(topic_id=topic_id, address=address)
        found = await self._ask(f"is_{kind.lower()}_registered_in_topic_id", request)
        return bool(found and found.is_registered)

    async def may_submit(self, topic_id: int, address: str, *, reputer: bool = False) -> bool:
        """Return whether the topic's whitelist lets ``address`` submit."""
        kind = "Reputer" if reputer else "Worker"
        request = getattr(e, f"CanSubmit{kind}PayloadRequest")(topic_id=topic_id, address=address)
        found = await self._ask(f"can_submit_{kind.lower()}_payload", request)
        return bool(found and getattr(found, f"can_submit_{kind.lower()}_payload"))

    async def open_nonces(self, topic_id: int) -> list[int]:
        """Return the unfulfilled worker nonces, ascending."""
        request = e.GetUnfulfilledWorkerNoncesRequest(topic_id=topic_id)
        found = await self._ask("get_unfulfilled_worker_nonces", request)
        return sorted(int(item.block_height) for item in (found.nonces.nonces if found and found.nonces else []))

    async def reputer_nonces(self, topic_id: int) -> list[int]:
        """Return the reputer nonces in flight, ascending; those whose window is not open yet among them."""
        request = e.GetUnfulfilledReputerNoncesRequest(topic_id=topic_id)
        found = await self._ask("get_unfulfilled_reputer_nonces", request)
        rows = found.nonces.nonces if found and found.nonces else []
        return sorted(int(row.reputer_nonce.block_height) for row in rows if row.reputer_nonce)

    async def inference(self, topic_id: int, nonce: int, address: str) -> str | None:
        """Return what the chain holds of ``address`` for ``nonce``, or ``None``."""
        # while the window is open the chain keeps inferences by worker; by block only once it has closed
        latest = e.GetWorkerLatestInputInferenceByTopicIdRequest(topic_id=topic_id, worker_address=address)
        found = await self._ask("get_worker_latest_input_inference_by_topic_id", latest)
        newest = found.latest_input_inference if found else None
        if newest is not None and newest.block_height == nonce and newest.values:
            return str(newest.values[0].value)
        active = await self.active_set(topic_id, nonce)
        return (active or {}).get(address)

    async def active_set(self, topic_id: int, nonce: int) -> dict[str, str] | None:
        """Return the inferences that made it into the active set, by worker; ``None`` while the window is open."""
        request = e.GetInferencesAtBlockRequest(topic_id=topic_id, block_height=nonce)
        found = await self._ask("get_inferences_at_block", request)
        if found is None or found.inferences is None:
            return None
        return {row.inferer: str(row.values[0]) for row in found.inferences.inferences if row.values}

    async def network(self, topic_id: int, nonce: int | None = None) -> NetworkInference | None:
        """Return the newest network inference, or that of ``nonce``; ``None`` where there is none."""
        if nonce is None:
            latest = e.GetLatestNetworkInferencesRequest(topic_id=topic_id)
            found = await self._ask("get_latest_network_inferences", latest)
        else:
            request = e.GetNetworkInferencesAtBlockRequest(topic_id=topic_id, block_height_last_inference=nonce)
            found = await self._ask("get_network_inferences_at_block", request)
        return network_inference(found.network_inferences) if found else None

    async def losses(self, topic_id: int, nonce: int) -> NetworkLosses | None:
        """Return the network's losses for ``nonce``, or ``None`` while there are none."""
        request = e.GetNetworkLossBundleAtBlockRequest(topic_id=topic_id, block_height=nonce)
        found = await self._ask("get_network_loss_bundle_at_block", request)
        bundle = found.loss_bundle if found else None
        if bundle is None:
            return None
        combined = number(bundle.combined_value, "the network's loss")
        return NetworkLosses(combined, attributed(bundle.inferer_values, "the loss"))

    async def score(self, topic_id: int, nonce: int, address: str, *, role: str = "inferer") -> float | None:
        """Return the score of ``address`` in a role for ``nonce``, or ``None`` as long as there is none."""
        name, kind = _SCORES[role]
        found = await self._ask(name, kind(topic_id=topic_id, block_height=nonce))
        rows = found.scores.scores if found and found.scores else []
        return next((number(row.score, "the score") for row in rows if row.address == address), None)

    async def score_ema(self, topic_id: int, address: str) -> float | None:
        """Return the moving average of the scores of ``address``, by which the active set is chosen."""
        request = e.GetInfererScoreEmaRequest(topic_id=topic_id, inferer=address)
        found = await self._ask("get_inferer_score_ema", request)
        return number(found.score.score, "the EMA score") if found and found.score else None

    async def forecasters(self, topic_id: int, nonce: int) -> set[str] | None:
        """Return whose forecasts are in the active set; ``None`` while the window is open."""
        found = await self._ask(
            "get_forecasts_at_block", e.GetForecastsAtBlockRequest(topic_id=topic_id, block_height=nonce)
        )
        return {row.forecaster for row in found.forecasts.forecasts} if found and found.forecasts else None

    async def reporters(self, topic_id: int, nonce: int) -> set[str] | None:
        """Return which reputers' losses the chain holds for ``nonce``, or ``None`` if there are none."""
        request = e.GetReputerLossBundlesAtBlockRequest(topic_id=topic_id, block_height=nonce)
        found = await self._ask("get_reputer_loss_bundles_at_block", request)
        return {row.reputer for row in found.loss_bundles} if found and found.loss_bundles else None

    async def stake(self, topic_id: int, reputer: str) -> int:
        """Return what ``reputer`` has staked on itself, uallo."""
        request = e.GetStakeFromReputerInTopicInSelfRequest(topic_id=topic_id, reputer_address=reputer)
        found = await self._ask("get_stake_from_reputer_in_topic_in_self", request)
        return whole(found.amount or "0", "the stake") if found else 0

    async def minimum_stake(self) -> int:
        """Return the stake that a reputer needs, uallo; the chain's default where the node does not tell."""
        try:
            found = await self._ask("get_params", e.GetParamsRequest())
        except ChainError:
            found = None
        text = found.params.required_minimum_stake if found and found.params else ""
        return whole(text, "the minimum stake") if text else _MINIMUM_STAKE

    async def _ask(self, method: str, request: Any) -> Any:
        """Return the answer, or ``None`` where the node has nothing."""
        return await self._call("emissions", method, request, missing=None)

    @abstractmethod
    async def _call(self, service: str, method: str, request: Any, **missing: None) -> Any:
        """Ask a node; with ``missing=None`` a NOT_FOUND answer is ``None``."""


def nothing_there(error: GRPCError) -> bool:
    """Whether an error only says that the node has no such thing."""
    return error.status is Status.NOT_FOUND


_MINIMUM_STAKE = 10_000
_SCORES = {
    "inferer": ("get_worker_inference_scores_at_block", e.GetWorkerInferenceScoresAtBlockRequest),
    "forecaster": ("get_worker_forecast_scores_at_block", e.GetWorkerForecastScoresAtBlockRequest),
    "reputer": ("get_reputers_scores_at_block", e.GetReputersScoresAtBlockRequest),
}
