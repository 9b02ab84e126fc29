"""Message handlers, in the chain's order of checks and with its codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from allora_sdk.rpc_client.dec_canonical import canonicalize_dec
from allora_sdk.rpc_client.protos.cosmos.bank.v1beta1 import MsgSend
from allora_sdk.rpc_client.protos.emissions.v9 import InputValueBundle
from allora_sdk.rpc_client.protos.emissions.v10 import (
    AddStakeRequest,
    InputInference,
    InputInferenceForecastBundle,
    InsertReputerPayloadRequest,
    InsertWorkerPayloadRequest,
    RegisterRequest,
)

from crucible.localnet.abci import emissions, plain, sdk
from crucible.localnet.events import Event, typed
from crucible.localnet.keys import address_of, is_address, verifies
from crucible.localnet.ledger import DENOM, Ledger
from crucible.localnet.topic import Topic

REGISTRATION_FEE = 200
DATA_SENDING_FEE = 10
MINIMUM_STAKE = 10_000
LARGEST_PAYLOAD = 1_000_000


@dataclass
class Context:
    """What the messages of one transaction may change: copies, which failure throws away."""

    ledger: Ledger
    topics: dict[int, Topic]
    height: int
    events: list[Event] = field(default_factory=list)
    changed: dict[int, Topic] = field(default_factory=dict)

    def topic(self, topic_id: int, code: int) -> Topic:
        """Return the topic or refuse with ``code``."""
        if topic_id not in self.topics:
            raise emissions(code, f"topic {topic_id}: topic does not exist")
        if topic_id not in self.changed:
            self.changed[topic_id] = self.topics[topic_id].clone()
        return self.changed[topic_id]

    def pay(self, sender: str, amount: int) -> None:
        """Take a module fee from ``sender``."""
        if not self.ledger.debit(sender, amount):
            raise sdk(5, f"spendable balance is smaller than {amount}{DENOM}: insufficient funds")


@dataclass(frozen=True)
class Handler:
    """How one message type is read, who signs it, what gas it takes, and what it does."""

    parse: Callable[[bytes], Any]
    signer: Callable[[Any], str]
    gas: int
    run: Callable[[Context, Any], None]


def send(context: Context, message: MsgSend) -> None:
    """Move coins between accounts."""
    amount = sum(int(coin.amount) for coin in message.amount if coin.denom == DENOM)
    if not is_address(message.to_address):
        raise sdk(7, f"{message.to_address}: invalid address")
    if amount <= 0 or not context.ledger.debit(message.from_address, amount):
        raise sdk(5, f"spendable balance is smaller than {amount}{DENOM}: insufficient funds")
    context.ledger.credit(message.to_address, amount)


def register(context: Context, message: RegisterRequest) -> None:
    """Register a worker or reputer in a topic."""
    topic = context.topic(message.topic_id, 23)
    members = topic.reputers if message.is_reputer else topic.workers
    if message.sender in members:
        raise emissions(8, f"{message.sender}: address is already registered in topic {message.topic_id}")
    context.pay(message.sender, REGISTRATION_FEE)
    members.add(message.sender)
    role = "reputer" if message.is_reputer else "worker"
    context.events.append(
        typed(
            f"Event{role.title()}Registered", topic_id=message.topic_id, owner=message.owner, **{role: message.sender}
        )
    )


def add_stake(context: Context, message: AddStakeRequest) -> None:
    """Stake on oneself as a reputer."""
    topic = context.topic(message.topic_id, 6)
    if message.sender not in topic.reputers:
        raise emissions(13, f"{message.sender}: address is not registered in topic {message.topic_id}")
    amount = int(message.amount)
    context.pay(message.sender, amount)
    topic.stakes[message.sender] = topic.stakes.get(message.sender, 0) + amount
    context.events.append(
        typed("EventAddStake", topic_id=message.topic_id, reputer=message.sender, delegator="", amount=amount)
    )


def insert_worker_payload(context: Context, message: InsertWorkerPayloadRequest) -> None:
    """Take an inference for an open worker nonce. The sender may differ: the payload vouches for itself."""
    bundle = message.worker_data_bundle
    if not (is_address(message.sender) and bundle and is_address(bundle.worker)):
        raise sdk(7, "invalid address")
    inner = bundle.inference_forecasts_bundle
    height = bundle.nonce.block_height if bundle.nonce else 0
    inference = inner.inference if inner else None
    if not inner or height <= 0 or (inference is None and inner.forecast is None):
        raise emissions(26, "worker data bundle is invalid: validation failed")
    _check_bundle(bundle.worker, bundle.pubkey, bundle.inferences_forecasts_bundle_signature, _canonical(inner))
    if inference and (inference.inferer, inference.topic_id, inference.block_height) != (
        bundle.worker, bundle.topic_id, height,
    ):  # fmt: skip
        raise emissions(26, "inference does not match the bundle: validation failed")
    if len(bytes(bundle)) > LARGEST_PAYLOAD:
        raise emissions(26, "message is too large: validation failed")
    topic = context.topic(bundle.topic_id, 6)
    if height not in topic.worker_nonces():
        raise emissions(75, f"nonce {height} of topic {bundle.topic_id}: unfulfilled nonce not found")
    if not topic.worker_window_open(height, context.height):
        raise emissions(67, f"nonce {height} of topic {bundle.topic_id}: worker nonce window not available")
    if bundle.worker not in topic.workers:
        raise emissions(13, f"{bundle.worker}: address is not registered in topic {bundle.topic_id}")
    context.pay(message.sender, DATA_SENDING_FEE)
    if inference is None:
        return
    if bundle.worker in topic.nonces[height].inferences:
        raise plain(f"inference already submitted by {bundle.worker} for nonce {height}")
    value = _scalar(inference)
    topic.nonces[height].inferences[bundle.worker] = value
    context.events.append(
        typed("EventInsertInfererPayload", inferer=bundle.worker, nonce=height, topic_id=bundle.topic_id, value="0",
              extra_data="", values=[value])
    )  # fmt: skip


def insert_reputer_payload(context: Context, message: InsertReputerPayloadRequest) -> None:
    """Take a reputer's log10 losses for a nonce whose ground truth is due."""
    wrapped = message.reputer_value_bundle
    bundle = wrapped.value_bundle if wrapped else None
    request = bundle.reputer_request_nonce if bundle else None
    if not wrapped or not bundle or not request or not request.reputer_nonce or not bundle.inferer_values:
        raise emissions(26, "reputer value bundle is invalid: validation failed")
    height = request.reputer_nonce.block_height
    _check_bundle(bundle.reputer, wrapped.pubkey, wrapped.signature, _canonical_losses(bundle))
    topic = context.topic(bundle.topic_id, 6)
    if height in topic.worker_nonces():
        raise emissions(45, f"nonce {height} of topic {bundle.topic_id}: worker nonce is still unfulfilled")
    if height not in topic.reputer_nonces():
        raise emissions(75, f"nonce {height} of topic {bundle.topic_id}: unfulfilled nonce not found")
    if not topic.reputer_window_open(height, context.height):
        raise emissions(68, f"nonce {height} of topic {bundle.topic_id}: reputer nonce window not available")
    if bundle.reputer not in topic.reputers:
        raise emissions(13, f"{bundle.reputer}: address is not registered in topic {bundle.topic_id}")
    if topic.stakes.get(bundle.reputer, 0) < MINIMUM_STAKE:
        raise emissions(17, f"{bundle.reputer}: not enough stake, {MINIMUM_STAKE} is required")
    context.pay(message.sender, DATA_SENDING_FEE)
    if bundle.reputer in topic.nonces[height].losses:
        raise plain(f"reputer loss already submitted by {bundle.reputer} for nonce {height}")
    topic.nonces[height].losses[bundle.reputer] = {
        "combined": float(bundle.combined_value),
        "naive": float(bundle.naive_value),
        **{f"inferer:{item.worker}": float(item.value) for item in bundle.inferer_values},
        **{f"without:{item.worker}": float(item.value) for item in bundle.one_out_inferer_values},
    }


def _check_bundle(owner: str, pubkey: str, signature: bytes, signed: bytes) -> None:
    try:
        public = bytes.fromhex(pubkey)
    except ValueError:
        public = b""
    if len(public) != 33 or address_of(public) != owner:
        raise emissions(26, "pubkey does not belong to the worker: validation failed")
    if not verifies(public, signature, signed):
        raise sdk(4, "signature verification failed: unauthorized")


def _canonical(bundle: InputInferenceForecastBundle) -> bytes:
    # the chain verifies what it would encode itself, so text that it would write otherwise does not verify
    again = InputInferenceForecastBundle.parse(bytes(bundle))
    if again.inference:
        again.inference.value = _decimal(again.inference.value)
        for item in again.inference.values:
            item.value = _decimal(item.value)
    if again.forecast:
        for element in again.forecast.forecast_elements:
            element.value = _decimal(element.value)
    return bytes(again)


def _canonical_losses(bundle: InputValueBundle) -> bytes:
    again = InputValueBundle.parse(bytes(bundle))
    again.combined_value, again.naive_value = _decimal(again.combined_value), _decimal(again.naive_value)
    for name in ("inferer_values", "forecaster_values", "one_out_inferer_values", "one_out_forecaster_values",
                 "one_in_forecaster_values"):  # fmt: skip
        for item in getattr(again, name):
            item.value = _decimal(item.value)
    return bytes(again)


def _decimal(text: str) -> str:
    try:
        return canonicalize_dec(text)
    except ValueError as error:
        raise emissions(26, f"{text!r} is no decimal: validation failed") from error


def _scalar(inference: InputInference) -> str:
    labels = [(item.label.lower(), item.value) for item in inference.values]
    if len(labels) != 1 or labels[0][0] != "y":
        raise emissions(26, "a scalar topic takes one value labelled y: validation failed")
    size = abs(float(labels[0][1]))
    if size and not 1e-40 <= size <= 1e40:
        raise emissions(26, "value is out of bounds: validation failed")
    return labels[0][1]


HANDLERS = {
    "/cosmos.bank.v1beta1.MsgSend": Handler(MsgSend.parse, lambda m: m.from_address, 80_000, send),
    "/emissions.v10.RegisterRequest": Handler(RegisterRequest.parse, lambda m: m.sender, 120_000, register),
    "/emissions.v10.AddStakeRequest": Handler(AddStakeRequest.parse, lambda m: m.sender, 120_000, add_stake),
    "/emissions.v10.InsertWorkerPayloadRequest": Handler(
        InsertWorkerPayloadRequest.parse, lambda m: m.sender, 130_000, insert_worker_payload
    ),
    "/emissions.v10.InsertReputerPayloadRequest": Handler(
        InsertReputerPayloadRequest.parse, lambda m: m.sender, 180_000, insert_reputer_payload
    ),
}
"""Message types by type URL."""
