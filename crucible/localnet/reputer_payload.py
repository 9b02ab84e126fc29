"""InsertReputerPayload: a reputer's log10 losses of everything that the network inferred."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from allora_sdk.rpc_client.protos.emissions.v9 import InputReputerValueBundle, InputValueBundle
from allora_sdk.rpc_client.protos.emissions.v10 import EventInsertReputerPayload, InsertReputerPayloadRequest

from crucible.localnet import bundles
from crucible.localnet.abci import emissions, plain
from crucible.localnet.admission import join
from crucible.localnet.context import Context, check_signed
from crucible.localnet.decimals import canonical
from crucible.localnet.topic import Nonce
from crucible.localnet.worker_payload import MALFORMED, NOT_PERMITTED

NOT_ENOUGH_STAKE = 17


def insert_reputer_payload(context: Context, message: InsertReputerPayloadRequest) -> None:
    """Take a loss bundle for a nonce whose ground truth is due."""
    bundle, height, size = _validated(message.reputer_value_bundle)
    known = context.topics.get(bundle.topic_id)
    if known is not None and not context.whitelists.may_repute(known, bundle.reputer):
        raise emissions(NOT_PERMITTED, f"{bundle.reputer}: reputer is not permitted to submit payload")
    if size > context.module.largest_message:
        raise emissions(MALFORMED, "message is too large: validation failed")
    topic = context.topic(bundle.topic_id, 6)
    if height in topic.worker_nonces():
        raise emissions(45, f"nonce {height} of topic {bundle.topic_id}: nonce still unfulfilled")
    if height not in topic.reputer_nonces():
        raise emissions(75, f"nonce {height} of topic {bundle.topic_id}: unfulfilled nonce not found")
    if not topic.reputer_window_open(height, context.height):
        raise emissions(
            68,
            f"Reputer window not open for topic: {bundle.topic_id}, current block {context.height}, start window: "
            f"{topic.spec.reputer_start(height)}, end window: {topic.spec.reputer_end(height)}: reputer nonce window "
            "not available",
        )
    if bundle.reputer not in topic.reputers:
        raise emissions(13, f"{bundle.reputer}: reputer is not registered in this topic: address not registered")
    if topic.stake_of(bundle.reputer) < context.module.minimum_stake:
        raise emissions(
            NOT_ENOUGH_STAKE, f"{bundle.reputer}: not enough stake, {context.module.minimum_stake} is required"
        )
    context.pay_revenue(message.sender, topic, context.module.data_sending_fee)
    nonce = topic.nonces[height]
    if bundle.reputer in nonce.losses:
        raise plain(f"reputer loss already submitted by {bundle.reputer} for nonce {height}")
    losses = _of_the_active(bundles.read_losses(bundle), nonce)
    if join(context, topic, "reputer", height, bundle.reputer, nonce.losses):
        nonce.losses[bundle.reputer] = losses
    context.emit(
        EventInsertReputerPayload(
            topic_id=bundle.topic_id, nonce=height, reputer=bundle.reputer, bundle=bundles.event_bundle(losses)
        )
    )


def _validated(wrapped: InputReputerValueBundle | None) -> tuple[InputValueBundle, int, int]:
    """Return a bundle that is sound in itself, its nonce, and how many bytes were signed."""
    bundle = wrapped.value_bundle if wrapped else None
    request = bundle.reputer_request_nonce if bundle else None
    if not wrapped or not bundle or not request or not request.reputer_nonce or not bundle.inferer_values:
        raise emissions(MALFORMED, "reputer value bundle is invalid: validation failed")
    again = bundle
    if any(canonical(text) != text for text in _texts(bundle)):
        again = InputValueBundle.parse(bytes(bundle))
        again.combined_value, again.naive_value = canonical(again.combined_value), canonical(again.naive_value)
        for item in _valued(again):
            item.value = canonical(item.value)
    signed = bytes(again)
    check_signed(bundle.reputer, wrapped.pubkey, wrapped.signature, signed)
    return bundle, request.reputer_nonce.block_height, len(signed)


def _texts(bundle: InputValueBundle) -> Iterator[str]:
    yield bundle.combined_value
    yield bundle.naive_value
    for item in _valued(bundle):
        yield item.value


def _valued(bundle: InputValueBundle) -> Iterator[Any]:
    yield from bundle.inferer_values
    yield from bundle.forecaster_values
    yield from bundle.one_out_inferer_values
    yield from bundle.one_out_forecaster_values
    yield from bundle.one_in_forecaster_values
    for group in bundle.one_out_inferer_forecaster_values:
        yield from group.one_out_inferer_values


def _of_the_active(losses: bundles.Values, nonce: Nonce) -> bundles.Values:
    # values of workers that are not in the epoch's active set are dropped
    known = set(bundles.names(sorted(nonce.inferences), sorted(nonce.forecasts)))
    return {key: value for key, value in losses.items() if key in known}
