"""Faults that change a topic itself: paused, another loss method, another epoch length. They end as they came."""

from __future__ import annotations

from dataclasses import replace

from allora_sdk.rpc_client.protos.emissions import v10 as e
from betterproto2 import Message

from crucible.localnet.faults import Faults
from crucible.localnet.topic import Topic, TopicSpec


def apply_topic_faults(topic: Topic, faults: Faults) -> list[Message]:
    """Bring ``topic`` to what the faults ask of it before a block ends; return the events of the change."""
    number = topic.spec.id
    events: list[Message] = []
    paused = faults.active("topic-paused", number) is not None
    if paused != topic.paused:
        topic.paused = paused
        events.append(e.EventTopicStatusChanged(topic_id=number, is_active=topic.runs))
    original = topic.original or topic.spec
    wanted = _changed(original, faults)
    if wanted != topic.spec:
        topic.spec, topic.original = wanted, None if wanted == original else original
    return events


def _changed(spec: TopicSpec, faults: Faults) -> TopicSpec:
    if faults.active("loss-changed", spec.id):
        spec = replace(spec, loss_method="sqe" if spec.loss_method == "mae" else "mae")
    longer = faults.active("epoch-changed", spec.id)
    if longer:
        times = max(1, round(longer.value))
        spec = replace(
            spec, epoch_length=spec.epoch_length * times, ground_truth_lag=spec.ground_truth_lag * times,
            worker_window=spec.worker_window * times, cadence_seconds=spec.cadence_seconds * times,
        )  # fmt: skip
    return spec
