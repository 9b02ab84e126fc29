"""Queries about stake: one's own, delegated, on its way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allora_sdk.rpc_client.protos.emissions import v3
from allora_sdk.rpc_client.protos.emissions import v10 as e
from grpclib import GRPCError, Status

from crucible.localnet.query_base import Queries
from crucible.localnet.topic import Removal, Topic


class StakeQueries(Queries):
    """Stake on reputers."""

    def methods(self) -> dict[str, Callable[[Any], Any]]:
        """Return the methods by name."""
        topic = self.topic
        return {
            "GetTotalStake": lambda r: e.GetTotalStakeResponse(
                amount=str(sum(each.stake for each in self.core.topics.values()))
            ),
            "GetTopicStake": lambda r: e.GetTopicStakeResponse(amount=str(topic(r).stake)),
            "GetReputerStakeInTopic": lambda r: e.GetReputerStakeInTopicResponse(
                amount=str(topic(r).stake_of(r.address))
            ),
            "GetMultiReputerStakeInTopic": lambda r: e.GetMultiReputerStakeInTopicResponse(
                amounts=[
                    v3.StakeInfo(topic_id=r.topic_id, reputer=name, amount=str(topic(r).stake_of(name)))
                    for name in r.addresses[: self.core.module.largest_page]
                ]
            ),
            "GetStakeReputerAuthority": lambda r: e.GetStakeReputerAuthorityResponse(
                authority=str(topic(r).stake_of(r.reputer))
            ),
            "GetStakeFromReputerInTopicInSelf": lambda r: e.GetStakeFromReputerInTopicInSelfResponse(
                amount=str(topic(r).stakes.get(r.reputer_address, 0))
            ),
            "GetDelegateStakeInTopicInReputer": lambda r: e.GetDelegateStakeInTopicInReputerResponse(
                amount=str(sum(topic(r).delegations.get(r.reputer_address, {}).values()))
            ),
            "GetDelegateStakeUponReputer": lambda r: e.GetDelegateStakeUponReputerResponse(
                stake=str(sum(topic(r).delegations.get(r.target, {}).values()))
            ),
            "GetStakeFromDelegatorInTopicInReputer": lambda r: e.GetStakeFromDelegatorInTopicInReputerResponse(
                amount=str(_delegated(topic(r), r.reputer_address, r.delegator_address))
            ),
            "GetStakeFromDelegatorInTopic": lambda r: e.GetStakeFromDelegatorInTopicResponse(
                amount=str(sum(held.get(r.delegator_address, 0) for held in topic(r).delegations.values()))
            ),
            "GetDelegateStakePlacement": lambda r: e.GetDelegateStakePlacementResponse(
                delegator_info=v3.DelegatorInfo(
                    amount=str(_delegated(topic(r), r.target, r.delegator)), reward_debt="0"
                )
            ),
            "GetStakeRemovalInfo": lambda r: e.GetStakeRemovalInfoResponse(
                removal=_own(r.topic_id, self._removal(topic(r), r.reputer, ""))
            ),
            "GetStakeRemovalForReputerAndTopicId": lambda r: e.GetStakeRemovalForReputerAndTopicIdResponse(
                stake_removal_info=_own(r.topic_id, self._removal(topic(r), r.reputer, ""))
            ),
            "GetDelegateStakeRemovalInfo": lambda r: e.GetDelegateStakeRemovalInfoResponse(
                removal=_foreign(r.topic_id, self._removal(topic(r), r.reputer, r.delegator))
            ),
            "GetStakeRemovalsUpUntilBlock": lambda r: e.GetStakeRemovalsUpUntilBlockResponse(
                removals=[_own(number, item) for number, item in self._until(r.block_height) if not item.delegator]
            ),
            "GetDelegateStakeRemovalsUpUntilBlock": lambda r: e.GetDelegateStakeRemovalsUpUntilBlockResponse(
                removals=[_foreign(number, item) for number, item in self._until(r.block_height) if item.delegator]
            ),
        }

    def _removal(self, topic: Topic, reputer: str, delegator: str) -> Removal:
        for removal in topic.removals:
            if (removal.reputer, removal.delegator) == (reputer, delegator):
                return removal
        raise GRPCError(Status.NOT_FOUND, f"{delegator or reputer} asks no stake back: not found")

    def _until(self, height: int) -> list[tuple[int, Removal]]:
        rows = [(topic.spec.id, removal) for topic in self.core.topics.values() for removal in topic.removals]
        return [row for row in rows if row[1].due <= height][: self.core.module.largest_page]


def _delegated(topic: Topic, reputer: str, delegator: str) -> int:
    return topic.delegations.get(reputer, {}).get(delegator, 0)


def _own(topic_id: int, removal: Removal) -> v3.StakeRemovalInfo:
    return v3.StakeRemovalInfo(
        block_removal_started=removal.started, topic_id=topic_id, reputer=removal.reputer, amount=str(removal.amount),
        block_removal_completed=removal.due,
    )  # fmt: skip


def _foreign(topic_id: int, removal: Removal) -> v3.DelegateStakeRemovalInfo:
    return v3.DelegateStakeRemovalInfo(
        block_removal_started=removal.started, topic_id=topic_id, reputer=removal.reputer,
        delegator=removal.delegator, amount=str(removal.amount), block_removal_completed=removal.due,
    )  # fmt: skip
