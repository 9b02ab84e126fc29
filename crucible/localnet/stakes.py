"""Stake on reputers, one's own and delegated, and with validators: added, asked back, paid out after the delay."""

from __future__ import annotations

from allora_sdk.rpc_client.protos.cosmos.staking.v1beta1 import MsgDelegate
from allora_sdk.rpc_client.protos.emissions import v10 as e
from betterproto2 import Message

from crucible.localnet.abci import emissions, sdk
from crucible.localnet.context import Context
from crucible.localnet.decimals import whole
from crucible.localnet.ledger import DENOM, Ledger
from crucible.localnet.topic import Removal, Topic


def add_stake(context: Context, message: e.AddStakeRequest) -> None:
    """Stake on oneself as a reputer."""
    amount = whole(message.amount)
    topic = _topic_of_reputer(context, message.topic_id, message.sender)
    context.pay(message.sender, amount)
    topic.stakes[message.sender] = topic.stakes.get(message.sender, 0) + amount
    _added(context, topic, message.sender, "", amount)


def delegate_stake(context: Context, message: e.DelegateStakeRequest) -> None:
    """Stake on a reputer; its rewards are shared in proportion."""
    if message.sender == message.reputer:
        raise emissions(57, "cant self delegate")
    amount = whole(message.amount)
    topic = _topic_of_reputer(context, message.topic_id, message.reputer)
    context.pay(message.sender, amount)
    held = topic.delegations.setdefault(message.reputer, {})
    held[message.sender] = held.get(message.sender, 0) + amount
    _added(context, topic, message.reputer, message.sender, amount)


def remove_stake(context: Context, message: e.RemoveStakeRequest) -> None:
    """Ask one's own stake back; it is paid after the removal delay and counts until then."""
    topic = context.topic(message.topic_id, 23)
    amount = whole(message.amount)
    if amount > topic.stakes.get(message.sender, 0):
        raise emissions(14, f"{amount}: insufficient stake to remove")
    _ask_back(context, topic, message.sender, "", amount)


def remove_delegate_stake(context: Context, message: e.RemoveDelegateStakeRequest) -> None:
    """Ask delegated stake back."""
    topic = context.topic(message.topic_id, 23)
    amount = whole(message.amount)
    if amount > topic.delegations.get(message.reputer, {}).get(message.sender, 0):
        raise emissions(49, f"{amount}: insufficient delegate stake to remove")
    _ask_back(context, topic, message.reputer, message.sender, amount)


def cancel_remove_stake(context: Context, message: e.CancelRemoveStakeRequest) -> None:
    """Leave one's own stake where it is after all."""
    _cancel(context, context.topic(message.topic_id, 23), message.sender, "")


def cancel_remove_delegate_stake(context: Context, message: e.CancelRemoveDelegateStakeRequest) -> None:
    """Leave delegated stake where it is after all."""
    if message.sender != message.delegator:
        raise sdk(4, "only the delegator can cancel the removal: unauthorized")
    _cancel(context, context.topic(message.topic_id, 23), message.reputer, message.delegator)


def reward_delegate_stake(context: Context, message: e.RewardDelegateStakeRequest) -> None:
    """Pay a delegator its part of the reputer's rewards so far."""
    topic = context.topic(message.topic_id, 23)
    if not topic.delegations.get(message.reputer, {}).get(message.sender):
        raise emissions(9, f"{message.sender} has no stake on {message.reputer}")
    amount = topic.delegate_rewards.get(message.reputer, {}).pop(message.sender, 0)
    context.ledger.credit(message.sender, amount)
    context.emit(
        e.EventRewardDelegateStake(
            topic_id=message.topic_id, reputer=message.reputer, delegator=message.sender, amount=str(amount)
        )
    )


def delegate_to_validator(context: Context, message: MsgDelegate) -> None:
    """Stake with a validator of the chain itself."""
    held = context.ledger.validators.get(message.validator_address)
    if held is None:
        raise sdk(18, f"validator {message.validator_address} does not exist: invalid request")
    if message.amount is None or message.amount.denom != DENOM:
        raise sdk(18, f"invalid coin denomination: expected {DENOM}: invalid request")
    amount = whole(message.amount.amount)
    context.pay(message.delegator_address, amount)
    held[message.delegator_address] = held.get(message.delegator_address, 0) + amount


def finish_removals(topic: Topic, ledger: Ledger, height: int) -> list[Message]:
    """Pay out what is due at the end of block ``height``."""
    events: list[Message] = []
    for removal in [removal for removal in topic.removals if removal.due <= height]:
        topic.removals.remove(removal)
        held = topic.delegations.get(removal.reputer, {}) if removal.delegator else topic.stakes
        owner = removal.delegator or removal.reputer
        amount = min(removal.amount, held.get(owner, 0))
        held[owner] = held.get(owner, 0) - amount
        ledger.credit(owner, amount)
        events.append(
            e.EventRemoveStake(
                topic_id=topic.spec.id, reputer=removal.reputer, delegator=removal.delegator, amount=str(amount)
            )
        )
    return events


def _topic_of_reputer(context: Context, topic_id: int, reputer: str) -> Topic:
    topic = context.topic(topic_id, 23)
    if reputer not in topic.reputers:
        raise emissions(13, f"{reputer}: address not registered in topic {topic_id}")
    return topic


def _added(context: Context, topic: Topic, reputer: str, delegator: str, amount: int) -> None:
    topic_id = topic.spec.id
    context.emit(e.EventAddStake(topic_id=topic_id, reputer=reputer, delegator=delegator, amount=str(amount)))
    context.emit(
        e.EventReputerStakeUpdated(topic_id=topic_id, reputer=reputer, amount=str(topic.stake_of(reputer)))
    )  # fmt: skip
    context.wake(topic)


def _ask_back(context: Context, topic: Topic, reputer: str, delegator: str, amount: int) -> None:
    due = context.height + context.module.remove_stake_delay
    asked = Removal(reputer, delegator, amount, context.height, due)
    # a second request replaces the first, and starts the delay anew
    kept = [item for item in topic.removals if (item.reputer, item.delegator) != (reputer, delegator)]
    topic.removals = [*kept, asked]
    context.emit(
        e.EventRequestStakeRemoval(
            topic_id=topic.spec.id, reputer=reputer, delegator=delegator, amount=str(amount), completion_height=due
        )
    )


def _cancel(context: Context, topic: Topic, reputer: str, delegator: str) -> None:
    kept = [item for item in topic.removals if (item.reputer, item.delegator) != (reputer, delegator)]
    if len(kept) == len(topic.removals):
        raise emissions(64, "No stake removal found")
    topic.removals = kept
    context.emit(e.EventCancelStakeRemoval(topic_id=topic.spec.id, reputer=reputer, delegator=delegator))
