"""Queries about topics, whitelists and parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allora_sdk.rpc_client.protos.emissions import v3
from allora_sdk.rpc_client.protos.emissions import v10 as e
from grpclib import GRPCError, Status

from crucible.localnet.decimals import decimal_text
from crucible.localnet.query_base import Queries
from crucible.localnet.topic import Topic
from crucible.localnet.topics import described
from crucible.network.parameters import Parameters


class TopicQueries(Queries):
    """Topics, whitelists, parameters."""

    def methods(self) -> dict[str, Callable[[Any], Any]]:
        """Return the methods by name."""
        lists, topic, module = self._lists, self.topic, self.core.module
        return {
            "GetParams": lambda r: e.GetParamsResponse(params=module.params(Parameters.of("0.16"))),
            "GetTopic": self.get_topic,
            "TopicExists": lambda r: e.TopicExistsResponse(exists=r.topic_id in self.core.topics),
            "IsTopicActive": lambda r: e.IsTopicActiveResponse(is_active=topic(r).runs),
            "GetNextTopicId": lambda r: e.GetNextTopicIdResponse(next_topic_id=max(self.core.topics, default=0) + 1),
            "GetTopicFeeRevenue": lambda r: e.GetTopicFeeRevenueResponse(fee_revenue=str(topic(r).fee_revenue)),
            "GetPreviousTopicWeight": lambda r: e.GetPreviousTopicWeightResponse(
                weight=decimal_text(topic(r).weight), not_found=not topic(r).weight
            ),
            "GetTotalSumPreviousTopicWeights": lambda r: e.GetTotalSumPreviousTopicWeightsResponse(
                weight=decimal_text(sum(each.weight for each in self.core.topics.values()))
            ),
            "GetActiveTopicsAtBlock": self.active_topics,
            "GetNextChurningBlockByTopicId": lambda r: e.GetNextChurningBlockByTopicIdResponse(
                block_height=self._next_end(topic(r))
            ),
            "IsWorkerRegisteredInTopicId": lambda r: e.IsWorkerRegisteredInTopicIdResponse(
                is_registered=r.address in topic(r).workers
            ),
            "IsReputerRegisteredInTopicId": lambda r: e.IsReputerRegisteredInTopicIdResponse(
                is_registered=r.address in topic(r).reputers
            ),
            "CanSubmitWorkerPayload": lambda r: e.CanSubmitWorkerPayloadResponse(
                can_submit_worker_payload=lists().may_work(topic(r), r.address)
            ),
            "CanSubmitReputerPayload": lambda r: e.CanSubmitReputerPayloadResponse(
                can_submit_reputer_payload=lists().may_repute(topic(r), r.address)
            ),
            "CanCreateTopic": lambda r: e.CanCreateTopicResponse(can_create_topic=lists().may_create(r.address)),
            "CanUpdateTopicWhitelist": lambda r: e.CanUpdateTopicWhitelistResponse(
                can_update_topic_whitelist=lists().may_change(topic(r), r.address)
            ),
            "CanUpdateAllGlobalWhitelists": lambda r: e.CanUpdateAllGlobalWhitelistsResponse(
                can_update_all_global_whitelists=lists().is_admin(r.address)
            ),
            "CanUpdateGlobalWorkerWhitelist": lambda r: e.CanUpdateGlobalWorkerWhitelistResponse(
                can_update_global_worker_whitelist=lists().is_admin(r.address)
            ),
            "CanUpdateGlobalReputerWhitelist": lambda r: e.CanUpdateGlobalReputerWhitelistResponse(
                can_update_global_reputer_whitelist=lists().is_admin(r.address)
            ),
            "CanUpdateParams": lambda r: e.CanUpdateParamsResponse(can_update_params=False),
            "IsWhitelistAdmin": lambda r: e.IsWhitelistAdminResponse(is_admin=r.address in lists().whitelist_admins),
            "IsWhitelistedGlobalWorker": lambda r: e.IsWhitelistedGlobalWorkerResponse(
                is_whitelisted_global_worker=r.address in lists().workers
            ),
            "IsWhitelistedGlobalReputer": lambda r: e.IsWhitelistedGlobalReputerResponse(
                is_whitelisted_global_reputer=r.address in lists().reputers
            ),
            "IsWhitelistedGlobalAdmin": lambda r: e.IsWhitelistedGlobalAdminResponse(
                is_whitelisted_global_admin=r.address in lists().admins
            ),
            "IsWhitelistedGlobalActor": lambda r: e.IsWhitelistedGlobalActorResponse(
                is_whitelisted_global_actor=r.address in lists().actors
            ),
            "IsWhitelistedTopicCreator": lambda r: e.IsWhitelistedTopicCreatorResponse(
                is_whitelisted_topic_creator=r.address in lists().creators
            ),
            "IsTopicWorkerWhitelistEnabled": lambda r: e.IsTopicWorkerWhitelistEnabledResponse(
                is_topic_worker_whitelist_enabled=topic(r).worker_list_on
            ),
            "IsTopicReputerWhitelistEnabled": lambda r: e.IsTopicReputerWhitelistEnabledResponse(
                is_topic_reputer_whitelist_enabled=topic(r).reputer_list_on
            ),
            "IsWhitelistedTopicWorker": lambda r: e.IsWhitelistedTopicWorkerResponse(
                is_whitelisted_topic_worker=r.address in topic(r).worker_list
            ),
            "IsWhitelistedTopicReputer": lambda r: e.IsWhitelistedTopicReputerResponse(
                is_whitelisted_topic_reputer=r.address in topic(r).reputer_list
            ),
        }

    def get_topic(self, request: e.GetTopicRequest) -> e.GetTopicResponse:
        """Return a topic with its weight, revenue and stake."""
        topic = self.topic(request)
        return e.GetTopicResponse(
            topic=described(topic),
            weight=decimal_text(topic.weight),
            effective_revenue=str(topic.fee_revenue),
            topic_stake=str(topic.stake),
        )

    def active_topics(self, request: e.GetActiveTopicsAtBlockRequest) -> e.GetActiveTopicsAtBlockResponse:
        """Return the topics whose epoch ended, or will end next, at a block."""
        wanted = request.block_height
        found = [
            described(topic)
            for topic in self.core.topics.values()
            if topic.runs and (wanted in topic.nonces or self._next_end(topic) == wanted)
        ]
        return e.GetActiveTopicsAtBlockResponse(
            topics=found[: self.core.module.page_limit], pagination=v3.SimpleCursorPaginationResponse()
        )

    def _next_end(self, topic: Topic) -> int:
        if not topic.runs:
            raise GRPCError(Status.NOT_FOUND, f"topic {topic.spec.id} is not active")
        return topic.epoch_last_ended + topic.spec.epoch_length

    def _lists(self) -> Any:
        return self.core.whitelists  # replaced by every transaction that changes it
