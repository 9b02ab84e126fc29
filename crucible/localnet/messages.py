"""Every message that a transaction may hold, by type URL."""

from __future__ import annotations

from typing import Any

from allora_sdk.rpc_client.protos.cosmos.bank.v1beta1 import MsgSend
from allora_sdk.rpc_client.protos.cosmos.staking.v1beta1 import MsgDelegate
from allora_sdk.rpc_client.protos.emissions import v10 as e

from crucible.localnet import stakes, topics
from crucible.localnet.abci import sdk
from crucible.localnet.context import Context, Handler
from crucible.localnet.keys import is_address
from crucible.localnet.ledger import DENOM
from crucible.localnet.reputer_payload import insert_reputer_payload
from crucible.localnet.whitelists import change_global_list, change_topic_list, global_messages, topic_messages
from crucible.localnet.worker_payload import insert_worker_payload


def send(context: Context, message: MsgSend) -> None:
    """Move coins between accounts."""
    if not is_address(message.to_address):
        raise sdk(7, f"{message.to_address[:80]}: invalid address")
    if any(coin.denom != DENOM or not coin.amount.isascii() or not coin.amount.isdigit() for coin in message.amount):
        raise sdk(10, f"only whole amounts of {DENOM} can be sent: invalid coins")
    amount = sum(int(coin.amount) for coin in message.amount)
    if amount <= 0:
        raise sdk(10, "nothing is sent: invalid coins")
    context.pay(message.from_address, amount)
    context.ledger.credit(message.to_address, amount)


def topic_id_of(message: Any) -> int | None:
    """Return the topic that a message is about, or ``None``."""
    if isinstance(message, e.InsertWorkerPayloadRequest):
        return message.worker_data_bundle.topic_id if message.worker_data_bundle else None
    if isinstance(message, e.InsertReputerPayloadRequest):
        bundle = message.reputer_value_bundle.value_bundle if message.reputer_value_bundle else None
        return bundle.topic_id if bundle else None
    return getattr(message, "topic_id", None)


def _sender(message: Any) -> str:
    return str(message.sender)


def _handlers() -> dict[str, Handler]:
    found = {
        "/cosmos.bank.v1beta1.MsgSend": Handler(MsgSend.parse, lambda m: m.from_address, 80_000, send),
        "/cosmos.staking.v1beta1.MsgDelegate": Handler(
            MsgDelegate.parse, lambda m: m.delegator_address, 150_000, stakes.delegate_to_validator
        ),
        "/emissions.v10.CreateNewTopicRequest": Handler(
            e.CreateNewTopicRequest.parse, lambda m: m.creator, 150_000, topics.create_topic
        ),
    }
    ours: list[tuple[type, int, Any]] = [
        (e.RegisterRequest, 120_000, topics.register),
        (e.RemoveRegistrationRequest, 100_000, topics.remove_registration),
        (e.FundTopicRequest, 100_000, topics.fund_topic),
        (e.AddStakeRequest, 120_000, stakes.add_stake),
        (e.RemoveStakeRequest, 120_000, stakes.remove_stake),
        (e.CancelRemoveStakeRequest, 100_000, stakes.cancel_remove_stake),
        (e.DelegateStakeRequest, 130_000, stakes.delegate_stake),
        (e.RemoveDelegateStakeRequest, 130_000, stakes.remove_delegate_stake),
        (e.CancelRemoveDelegateStakeRequest, 100_000, stakes.cancel_remove_delegate_stake),
        (e.RewardDelegateStakeRequest, 100_000, stakes.reward_delegate_stake),
        (e.InsertWorkerPayloadRequest, 130_000, insert_worker_payload),
        (e.InsertReputerPayloadRequest, 180_000, insert_reputer_payload),
        *((kind, 100_000, change_topic_list) for kind in topic_messages()),
        *((kind, 100_000, change_global_list) for kind in global_messages()),
    ]
    for kind, gas, run in ours:
        found[f"/emissions.v10.{kind.__name__}"] = Handler(kind.parse, _sender, gas, run)  # type: ignore[attr-defined]
    return found


HANDLERS = _handlers()
"""Message types by type URL."""
