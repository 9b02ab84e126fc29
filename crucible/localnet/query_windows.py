"""Queries about nonces, windows, and what was submitted and inferred for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allora_sdk.rpc_client.protos.emissions import v3
from allora_sdk.rpc_client.protos.emissions import v10 as e
from grpclib import GRPCError, Status

from crucible.localnet.bundles import loss_bundle, network_bundle
from crucible.localnet.query_base import Queries
from crucible.localnet.topic import Nonce, Topic


class WindowQueries(Queries):
    """Nonces, windows, inferences, forecasts, losses."""

    def methods(self) -> dict[str, Callable[[Any], Any]]:
        """Return the methods by name."""
        return {
            "GetUnfulfilledWorkerNonces": lambda r: e.GetUnfulfilledWorkerNoncesResponse(
                nonces=_nonces(self._waiting(r))
            ),
            "GetOpenWorkerSubmissionWindows": lambda r: e.GetOpenWorkerSubmissionWindowsResponse(
                nonces=_nonces(self._open(r, "worker"))
            ),
            "GetUnfulfilledReputerNonces": lambda r: e.GetUnfulfilledReputerNoncesResponse(
                nonces=_reputer_nonces(self.topic(r).reputer_nonces())
            ),
            "GetOpenReputerSubmissionWindows": lambda r: e.GetOpenReputerSubmissionWindowsResponse(
                nonces=_reputer_nonces(self._open(r, "reputer"))
            ),
            "IsWorkerNonceUnfulfilled": lambda r: e.IsWorkerNonceUnfulfilledResponse(
                is_worker_nonce_unfulfilled=r.block_height in self._waiting(r)
            ),
            "IsReputerNonceUnfulfilled": lambda r: e.IsReputerNonceUnfulfilledResponse(
                is_reputer_nonce_unfulfilled=r.block_height in self.topic(r).reputer_nonces()
            ),
            "GetWorkerSubmissionWindowStatus": self.worker_status,
            "GetReputerSubmissionWindowStatus": self.reputer_status,
            "GetInferencesAtBlock": self.inferences_at_block,
            "GetLatestTopicInferences": self.latest_inferences,
            "GetForecastsAtBlock": self.forecasts_at_block,
            "GetWorkerLatestInputInferenceByTopicId": self.latest_input_inference,
            "GetLatestNetworkInferences": self.latest_network,
            "GetNetworkInferencesAtBlock": self.network_at_block,
            "GetNetworkLossBundleAtBlock": self.network_loss_at_block,
            "GetReputerLossBundlesAtBlock": self.reputer_losses_at_block,
            "GetTopicLastWorkerCommitInfo": lambda r: e.GetTopicLastWorkerCommitInfoResponse(
                last_commit=self._commit(r, "worker")
            ),
            "GetTopicLastReputerCommitInfo": lambda r: e.GetTopicLastReputerCommitInfoResponse(
                last_commit=self._commit(r, "reputer")
            ),
            "GetTopicRewardNonce": lambda r: e.GetTopicRewardNonceResponse(nonce=self._rewarded(r)),
        }

    def _waiting(self, request: Any) -> list[int]:
        return [height for height in self.topic(request).worker_nonces() if height <= self.core.seen_height]

    def _open(self, request: Any, kind: str) -> list[int]:
        topic, following = self.topic(request), self.core.seen_height + 1
        if kind == "worker":
            return [height for height in self._waiting(request) if topic.worker_window_open(height, following)]
        return [height for height in topic.reputer_nonces() if topic.reputer_window_open(height, following)]

    def worker_status(self, request: Any) -> e.GetWorkerSubmissionWindowStatusResponse:
        """Return whether a worker window is open, from when to when, and whether one may submit."""
        topic = self.topic(request)
        nonce = max(self._open(request, "worker"), default=0)
        following = topic.epoch_last_ended + topic.spec.epoch_length
        return e.GetWorkerSubmissionWindowStatusResponse(
            is_open=bool(nonce),
            current_nonce_block_height=nonce,
            window_start_block=nonce,
            window_end_block=topic.spec.worker_end(nonce) if nonce else 0,
            next_window_start_block=following,
            next_window_end_block=topic.spec.worker_end(following),
            is_registered=request.address in topic.workers,
            is_whitelisted=self.core.whitelists.may_work(topic, request.address),
            is_topic_active=topic.runs,
        )

    def reputer_status(self, request: Any) -> e.GetReputerSubmissionWindowStatusResponse:
        """Return whether a reputer window is open, from when to when, and whether one may submit."""
        topic, spec = self.topic(request), self.topic(request).spec
        nonce = max(self._open(request, "reputer"), default=0)
        later = [height for height in topic.reputer_nonces() if height > nonce] or [topic.epoch_last_ended]
        return e.GetReputerSubmissionWindowStatusResponse(
            is_open=bool(nonce),
            current_nonce_block_height=nonce,
            window_start_block=spec.reputer_start(nonce) if nonce else 0,
            window_end_block=spec.reputer_end(nonce) if nonce else 0,
            next_window_start_block=spec.reputer_start(later[0]),
            next_window_end_block=spec.reputer_end(later[0]),
            is_registered=request.address in topic.reputers,
            is_whitelisted=self.core.whitelists.may_repute(topic, request.address),
            is_topic_active=topic.runs,
        )

    def inferences_at_block(self, request: Any) -> e.GetInferencesAtBlockResponse:
        """Return the active set's inferences for a nonce."""
        nonce = self.nonce(request, request.block_height)
        return e.GetInferencesAtBlockResponse(inferences=_inferences(request.topic_id, nonce))

    def latest_inferences(self, request: Any) -> e.GetLatestTopicInferencesResponse:
        """Return the newest inferences of a closed window."""
        nonce = self._newest(request, lambda item: item.closed and bool(item.inferences))
        return e.GetLatestTopicInferencesResponse(
            inferences=_inferences(request.topic_id, nonce), block_height=nonce.height
        )

    def forecasts_at_block(self, request: Any) -> e.GetForecastsAtBlockResponse:
        """Return the active set's forecasts for a nonce."""
        nonce = self.nonce(request, request.block_height)
        rows = [
            v3.Forecast(
                topic_id=request.topic_id, block_height=nonce.height, forecaster=forecaster,
                forecast_elements=[v3.ForecastElement(name, value) for name, value in sorted(elements.items())],
            )
            for forecaster, elements in sorted(nonce.forecasts.items())
        ]  # fmt: skip
        return e.GetForecastsAtBlockResponse(forecasts=v3.Forecasts(forecasts=rows))

    def latest_input_inference(self, request: Any) -> e.GetWorkerLatestInputInferenceByTopicIdResponse:
        """Return a worker's newest inference that is in an active set."""
        topic_id, worker = request.topic_id, request.worker_address
        nonce = self._newest(request, lambda item: worker in item.inferences, f"no inference of {worker}")
        found = e.InputInference(
            topic_id=topic_id, block_height=nonce.height, inferer=worker, value="0",
            values=[e.InputLabeledValue(label="y", value=nonce.inferences[worker])],
        )  # fmt: skip
        return e.GetWorkerLatestInputInferenceByTopicIdResponse(latest_input_inference=found)

    def latest_network(self, request: Any) -> e.GetLatestNetworkInferencesResponse:
        """Return the newest network inference."""
        nonce = self._newest(request, lambda item: bool(item.network), "no network inference")
        bundle = network_bundle(request.topic_id, nonce.height, nonce.network)
        return e.GetLatestNetworkInferencesResponse(network_inferences=bundle, inference_block_height=nonce.height)

    def network_at_block(self, request: Any) -> e.GetNetworkInferencesAtBlockResponse:
        """Return what the network inferred for a nonce."""
        nonce = self.nonce(request, request.block_height_last_inference)
        bundle = network_bundle(request.topic_id, nonce.height, nonce.network)
        return e.GetNetworkInferencesAtBlockResponse(network_inferences=bundle)

    def network_loss_at_block(self, request: Any) -> e.GetNetworkLossBundleAtBlockResponse:
        """Return the network's losses for a nonce."""
        nonce = self.nonce(request, request.block_height)
        if not nonce.network_losses:
            raise GRPCError(Status.NOT_FOUND, f"no network loss for block {request.block_height}")
        bundle = loss_bundle(request.topic_id, nonce.height, nonce.network_losses)
        return e.GetNetworkLossBundleAtBlockResponse(loss_bundle=bundle)

    def reputer_losses_at_block(self, request: Any) -> e.GetReputerLossBundlesAtBlockResponse:
        """Return what each active reputer reported for a nonce."""
        nonce = self.nonce(request, request.block_height)
        bundles = [
            loss_bundle(request.topic_id, nonce.height, losses, reputer)
            for reputer, losses in sorted(nonce.losses.items())
        ]
        return e.GetReputerLossBundlesAtBlockResponse(loss_bundles=bundles)

    def _newest(self, request: Any, fits: Callable[[Nonce], bool], words: str = "nothing") -> Nonce:
        for nonce in reversed(self.nonces(self.topic(request))):
            if fits(nonce):
                return nonce
        raise GRPCError(Status.NOT_FOUND, f"{words} in topic {request.topic_id} so far: not found")

    def _commit(self, request: Any, kind: str) -> e.TimestampedActorNonce:
        spec = self.topic(request).spec
        if kind == "worker":
            nonce = self._newest(request, lambda item: bool(item.network), "no commit")
            return e.TimestampedActorNonce(block_height=spec.worker_end(nonce.height), nonce=v3.Nonce(nonce.height))
        nonce = self._newest(request, lambda item: bool(item.network_losses), "no commit")
        return e.TimestampedActorNonce(block_height=spec.reputer_end(nonce.height), nonce=v3.Nonce(nonce.height))

    def _rewarded(self, request: Any) -> int:
        topic: Topic = self.topic(request)
        return max((height for height, nonce in topic.nonces.items() if nonce.rewards), default=0)


def _inferences(topic_id: int, nonce: Nonce) -> e.Inferences:
    rows = [
        e.Inference(topic_id=topic_id, block_height=nonce.height, inferer=address, values=[value])
        for address, value in sorted(nonce.inferences.items())
    ]
    return e.Inferences(inferences=rows)


def _nonces(heights: list[int]) -> v3.Nonces:
    return v3.Nonces(nonces=[v3.Nonce(block_height=height) for height in heights])


def _reputer_nonces(heights: list[int]) -> v3.ReputerRequestNonces:
    return v3.ReputerRequestNonces(nonces=[v3.ReputerRequestNonce(v3.Nonce(height)) for height in heights])
