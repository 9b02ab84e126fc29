"""The emissions module's queries that a worker's and a reputer's life needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allora_sdk.rpc_client.protos.emissions import v3
from allora_sdk.rpc_client.protos.emissions import v10 as e
from grpclib import GRPCError, Status

from crucible.localnet.core import Core
from crucible.localnet.topic import Nonce, Topic

Method = tuple[Callable[[Any], Any], type, type]


def emissions_methods(core: Core) -> dict[str, Method]:
    """Return the query methods by path."""
    queries = _Queries(core)
    named = {
        "GetTopic": queries.get_topic,
        "TopicExists": lambda r: e.TopicExistsResponse(exists=r.topic_id in core.topics),
        "IsTopicActive": lambda r: e.IsTopicActiveResponse(is_active=r.topic_id in core.topics),
        "GetNextTopicId": lambda r: e.GetNextTopicIdResponse(next_topic_id=max(core.topics, default=0) + 1),
        "IsWorkerRegisteredInTopicId": lambda r: e.IsWorkerRegisteredInTopicIdResponse(
            is_registered=r.address in queries.topic(r).workers
        ),
        "IsReputerRegisteredInTopicId": lambda r: e.IsReputerRegisteredInTopicIdResponse(
            is_registered=r.address in queries.topic(r).reputers
        ),
        # no whitelists on localnet
        "CanSubmitWorkerPayload": lambda r: e.CanSubmitWorkerPayloadResponse(can_submit_worker_payload=True),
        "CanSubmitReputerPayload": lambda r: e.CanSubmitReputerPayloadResponse(can_submit_reputer_payload=True),
        "GetUnfulfilledWorkerNonces": lambda r: e.GetUnfulfilledWorkerNoncesResponse(
            nonces=_nonces(queries.topic(r).worker_nonces())
        ),
        "GetUnfulfilledReputerNonces": queries.unfulfilled_reputer_nonces,
        "GetWorkerSubmissionWindowStatus": queries.window_status,
        "GetInferencesAtBlock": queries.inferences_at_block,
        "GetWorkerLatestInputInferenceByTopicId": queries.latest_input_inference,
        "GetLatestNetworkInferences": queries.latest_network_inferences,
        "GetNetworkInferencesAtBlock": queries.network_inferences_at_block,
        "GetNetworkLossBundleAtBlock": queries.network_loss_at_block,
        "GetWorkerInferenceScoresAtBlock": queries.scores_at_block,
        "GetInfererScoreEma": queries.score_ema,
        "GetStakeFromReputerInTopicInSelf": lambda r: e.GetStakeFromReputerInTopicInSelfResponse(
            amount=str(queries.topic(r).stakes.get(r.reputer_address, 0))
        ),
    }
    # every other query is known and says so: grpclib's own answer to an unknown path is not understood by its client
    every = {name: named.get(name, _unimplemented(name)) for name in _query_names()}
    return {
        f"/emissions.v10.QueryService/{name}": (answer, getattr(e, f"{name}Request"), getattr(e, f"{name}Response"))
        for name, answer in every.items()
    }


def _query_names() -> list[str]:
    methods = [name for name in vars(e.QueryServiceStub) if not name.startswith("_")]
    return ["".join(part.title() for part in method.split("_")) for method in methods]


def _unimplemented(name: str) -> Callable[[Any], Any]:
    def answer(_: Any) -> Any:
        raise GRPCError(Status.UNIMPLEMENTED, f"localnet does not answer {name}")

    return answer


class _Queries:
    def __init__(self, core: Core) -> None:
        self.core = core

    def topic(self, request: Any) -> Topic:
        """Return the topic that a request names."""
        if request.topic_id not in self.core.topics:
            raise GRPCError(Status.NOT_FOUND, f"topic {request.topic_id} not found")
        return self.core.topics[request.topic_id]

    def get_topic(self, request: e.GetTopicRequest) -> e.GetTopicResponse:
        topic = self.topic(request)
        spec = topic.spec
        described = e.Topic(
            id=spec.id,
            creator="localnet",
            metadata=spec.metadata,
            loss_method=spec.loss_method,
            epoch_last_ended=topic.epoch_last_ended,
            epoch_length=spec.epoch_length,
            ground_truth_lag=spec.ground_truth_lag,
            worker_submission_window=spec.worker_window,
            p_norm="3",
            alpha_regret="0.1",
            allow_negative=False,
            epsilon="0.01",
            initial_regret="0",
            merit_sortition_alpha="0.1",
            active_inferer_quantile="0.2",
            active_forecaster_quantile="0.2",
            active_reputer_quantile="0.2",
            c_norm="0.75",
        )
        return e.GetTopicResponse(topic=described, weight="200", effective_revenue="100", topic_stake="1000000")

    def unfulfilled_reputer_nonces(self, request: Any) -> e.GetUnfulfilledReputerNoncesResponse:
        wrapped = [v3.ReputerRequestNonce(v3.Nonce(height)) for height in self.topic(request).reputer_nonces()]
        return e.GetUnfulfilledReputerNoncesResponse(nonces=v3.ReputerRequestNonces(nonces=wrapped))

    def window_status(self, request: Any) -> e.GetWorkerSubmissionWindowStatusResponse:
        topic, height = self.topic(request), self.core.height
        spec = topic.spec
        open_ = [nonce for nonce in topic.worker_nonces() if topic.worker_window_open(nonce, height + 1)]
        nonce = max(open_, default=0)
        following = topic.epoch_last_ended + spec.epoch_length
        return e.GetWorkerSubmissionWindowStatusResponse(
            is_open=bool(open_),
            current_nonce_block_height=nonce,
            window_start_block=nonce,
            window_end_block=nonce + spec.worker_window if nonce else 0,
            next_window_start_block=following,
            next_window_end_block=following + spec.worker_window,
            is_registered=request.address in topic.workers,
            is_whitelisted=True,
            is_topic_active=True,
        )

    def _nonce(self, request: Any, height: int) -> Nonce:
        nonce = self.topic(request).nonces.get(height)
        if nonce is None:
            raise GRPCError(Status.NOT_FOUND, f"nothing is stored for block {height} of topic {request.topic_id}")
        return nonce

    def inferences_at_block(self, request: Any) -> e.GetInferencesAtBlockResponse:
        nonce = self._nonce(request, request.block_height)
        rows = [
            e.Inference(topic_id=request.topic_id, block_height=nonce.height, inferer=address, values=[value])
            for address, value in sorted(nonce.inferences.items())
        ]
        return e.GetInferencesAtBlockResponse(inferences=e.Inferences(inferences=rows))

    def latest_input_inference(self, request: Any) -> e.GetWorkerLatestInputInferenceByTopicIdResponse:
        topic, worker = self.topic(request), request.worker_address
        for height, nonce in sorted(topic.nonces.items(), reverse=True):
            if worker in nonce.inferences:
                found = e.InputInference(
                    topic_id=topic.spec.id,
                    block_height=height,
                    inferer=worker,
                    value="0",
                    values=[e.InputLabeledValue(label="y", value=nonce.inferences[worker])],
                )
                return e.GetWorkerLatestInputInferenceByTopicIdResponse(latest_input_inference=found)
        raise GRPCError(Status.NOT_FOUND, f"no inference of {worker} in topic {request.topic_id}")

    def latest_network_inferences(self, request: Any) -> e.GetLatestNetworkInferencesResponse:
        known = [nonce for _, nonce in sorted(self.topic(request).nonces.items()) if nonce.combined is not None]
        if not known:
            raise GRPCError(Status.NOT_FOUND, f"no network inference of topic {request.topic_id} so far")
        bundle = _network_bundle(request.topic_id, known[-1])
        return e.GetLatestNetworkInferencesResponse(network_inferences=bundle, inference_block_height=known[-1].height)

    def network_inferences_at_block(self, request: Any) -> e.GetNetworkInferencesAtBlockResponse:
        nonce = self._nonce(request, request.block_height_last_inference)
        return e.GetNetworkInferencesAtBlockResponse(network_inferences=_network_bundle(request.topic_id, nonce))

    def network_loss_at_block(self, request: Any) -> e.GetNetworkLossBundleAtBlockResponse:
        losses = self._nonce(request, request.block_height).network_losses
        if not losses:
            raise GRPCError(Status.NOT_FOUND, f"no network loss for block {request.block_height}")
        parts: dict[str, list[Any]] = {"inferer": [], "without": []}
        for name, value in losses.items():
            kind, _, address = name.partition(":")
            if address:
                part = v3.WorkerAttributedValue if kind == "inferer" else v3.WithheldWorkerAttributedValue
                parts[kind].append(part(worker=address, value=str(value)))
        bundle = v3.ValueBundle(
            topic_id=request.topic_id,
            combined_value=str(losses["combined"]),
            naive_value=str(losses["naive"]),
            inferer_values=parts["inferer"],
            one_out_inferer_values=parts["without"],
        )
        return e.GetNetworkLossBundleAtBlockResponse(loss_bundle=bundle)

    def scores_at_block(self, request: Any) -> e.GetWorkerInferenceScoresAtBlockResponse:
        nonce = self._nonce(request, request.block_height)
        rows = [
            v3.Score(topic_id=request.topic_id, block_height=nonce.height, address=address, score=repr(score))
            for address, score in sorted(nonce.scores.items())
        ]
        return e.GetWorkerInferenceScoresAtBlockResponse(scores=v3.Scores(scores=rows))

    def score_ema(self, request: Any) -> e.GetInfererScoreEmaResponse:
        topic = self.topic(request)
        score = v3.Score(
            topic_id=request.topic_id,
            block_height=topic.epoch_last_ended,
            address=request.inferer,
            score=repr(topic.emas.get(request.inferer, 0.0)),
        )
        return e.GetInfererScoreEmaResponse(score=score)


def _nonces(heights: list[int]) -> v3.Nonces:
    return v3.Nonces(nonces=[v3.Nonce(block_height=height) for height in heights])


def _network_bundle(topic_id: int, nonce: Nonce) -> e.NetworkInferenceBundle:
    if nonce.combined is None:
        return e.NetworkInferenceBundle(topic_id=topic_id, nonce=nonce.height)
    return e.NetworkInferenceBundle(
        topic_id=topic_id,
        nonce=nonce.height,
        combined_value=_label(nonce.combined),
        naive_value=_label(nonce.combined),
        inferer_values=[
            e.WorkerInference(worker=address, values=_label(value))
            for address, value in sorted(nonce.inferences.items())
        ],
        one_out_inferer_values=[
            e.OneOutInfererValue(withheld_inferer=address, combined_inference=_label(value))
            for address, value in sorted(nonce.without.items())
        ],
    )


def _label(value: float | str) -> list[e.LabeledValue]:
    return [e.LabeledValue(label_id=0, label_name="y", value=value if isinstance(value, str) else repr(value))]
