"""What a topic does at the end of each block: stake leaves, epochs end, windows open and close."""

from __future__ import annotations

from allora_sdk.rpc_client.protos.emissions import v10 as e
from betterproto2 import Message

from crucible.localnet.settlement import close_worker_window
from crucible.localnet.topic import Nonce, Topic
from crucible.network.emission import dripped_fee_revenue, topic_weight


def end_block(topic: Topic, height: int, time: float) -> list[Message]:
    """Advance the topic's clock at the end of block ``height``, made at ``time`` (Unix seconds); return the events."""
    events: list[Message] = []
    if topic.runs and _epoch_ends(topic, height, time):
        events += _end_epoch(topic, height, time)
    for nonce in list(topic.nonces.values()):
        if not nonce.closed and height >= topic.spec.worker_end(nonce.height):
            events += close_worker_window(topic, nonce, height)
        if nonce.network and not nonce.settled and height == topic.spec.reputer_start(nonce.height):
            events.append(
                e.EventReputerSubmissionWindowOpened(
                    topic_id=topic.spec.id, nonce_block_height=nonce.height,
                    window_end_block=topic.spec.reputer_end(nonce.height),
                )
            )  # fmt: skip
    topic.forget()
    return events


def due(topic: Topic, height: int) -> list[Nonce]:
    """Return the nonces whose reputer window ends with block ``height``, ascending."""
    found = [topic.nonces[nonce] for nonce in topic.reputer_nonces()]
    return [nonce for nonce in found if height >= topic.spec.reputer_end(nonce.height)]


def update_activity(topic: Topic, height: int) -> list[Message]:
    """Wake an inactive topic whose weight suffices; called whenever stake or funds come in."""
    if topic.active or _weight(topic) < topic.spec.parameters.min_topic_weight:
        return []
    topic.active, topic.epoch_last_ended = True, height
    return [e.EventTopicStatusChanged(topic_id=topic.spec.id, is_active=True)]


def _epoch_ends(topic: Topic, height: int, time: float) -> bool:
    cadence = topic.spec.cadence_seconds
    if not cadence:
        return height >= topic.epoch_last_ended + topic.spec.epoch_length
    return abs(time - round(time / cadence) * cadence) < 1e-3  # a sum of floats, not exact


def _end_epoch(topic: Topic, height: int, time: float) -> list[Message]:
    spec = topic.spec
    topic.weight = _weight(topic)
    left = dripped_fee_revenue(float(topic.fee_revenue), spec.epoch_length, spec.parameters)
    events: list[Message] = []
    if left != topic.fee_revenue:
        events.append(
            e.EventTopicFeeRevenueDripped(
                topic_id=spec.id, old_revenue=str(topic.fee_revenue), new_revenue=str(left),
                drip_amount=str(topic.fee_revenue - left),
            )
        )  # fmt: skip
        topic.fee_revenue = left
    if topic.weight < spec.parameters.min_topic_weight:
        topic.active = False
        return [*events, e.EventTopicStatusChanged(topic_id=spec.id, is_active=False)]
    topic.epoch_last_ended = height
    topic.nonces[height] = Nonce(height, time)
    opened = e.EventWorkerSubmissionWindowOpened(
        topic_id=spec.id, nonce_block_height=height, window_end_block=spec.worker_end(height)
    )
    return [*events, opened]


def _weight(topic: Topic) -> float:
    spec = topic.spec
    weight = topic_weight(
        float(topic.stake), float(topic.fee_revenue), spec.epoch_length, topic.weight or None, spec.parameters
    )
    return max(weight, spec.parameters.min_topic_weight) if spec.sponsored else weight
