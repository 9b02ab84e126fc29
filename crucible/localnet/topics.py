"""Making and funding topics, and registering in them."""

from __future__ import annotations

from typing import Any

from allora_sdk.rpc_client.protos.emissions import v10 as e

from crucible.errors import MechanismError
from crucible.localnet.abci import emissions
from crucible.localnet.context import Context
from crucible.localnet.decimals import bounded, decimal_text, whole
from crucible.localnet.topic import Topic, TopicSpec
from crucible.localnet.worker_payload import MALFORMED, NOT_PERMITTED

# names of the message -> names of the mechanism's parameters
_NUMBERS = {
    "p_norm": "p_norm",
    "alpha_regret": "alpha_regret",
    "epsilon": "epsilon",
    "merit_sortition_alpha": "merit_sortition_alpha",
    "active_inferer_quantile": "active_inferer_quantile",
    "active_forecaster_quantile": "active_forecaster_quantile",
    "active_reputer_quantile": "active_reputer_quantile",
    "c_norm": "c_norm",
}


def create_topic(context: Context, message: e.CreateNewTopicRequest) -> None:
    """Make a topic. It sleeps until stake and funds give it weight, and counts its epochs in blocks."""
    if not context.whitelists.may_create(message.creator):
        raise emissions(NOT_PERMITTED, f"{message.creator}: not permitted to create a topic")
    _check_lengths(context, message)
    changes = tuple((ours, _number(message, theirs)) for theirs, ours in _NUMBERS.items() if getattr(message, theirs))
    context.pay(message.creator, context.module.create_topic_fee)

    def make(number: int) -> Topic:
        spec = TopicSpec(
            id=number,
            metadata=message.metadata,
            loss_method=message.loss_method,
            asset="",
            target="",
            symbol="",
            interval_seconds=0,
            horizon_seconds=0,
            cadence_seconds=0,
            epoch_length=message.epoch_length,
            ground_truth_lag=message.ground_truth_lag,
            worker_window=message.worker_submission_window,
            changes=changes,
            sponsored=False,
            creator=message.creator,
            allow_negative=message.allow_negative,
        )
        try:
            topic = Topic(spec, active=False)
        except MechanismError as error:
            raise emissions(MALFORMED, f"{error}: validation failed") from error
        topic.worker_list_on, topic.reputer_list_on = message.enable_worker_whitelist, message.enable_reputer_whitelist
        return topic

    context.emit(e.EventCreateNewTopic(topic=described(context.add_topic(make))))


def fund_topic(context: Context, message: e.FundTopicRequest) -> None:
    """Add to the topic's pot of fees."""
    topic = context.topic(message.topic_id, 23)
    amount = whole(message.amount)
    context.pay_revenue(message.sender, topic, amount)
    context.emit(e.EventFundTopic(topic_id=message.topic_id, funder=message.sender, amount=str(amount)))


def register(context: Context, message: e.RegisterRequest) -> None:
    """Register a worker or reputer in a topic."""
    topic = context.topic(message.topic_id, 23)
    members = topic.reputers if message.is_reputer else topic.workers
    if message.sender in members:
        raise emissions(8, f"{message.sender}: address already registered in topic {message.topic_id}")
    context.pay_revenue(message.sender, topic, context.module.registration_fee)
    members.add(message.sender)
    owner = message.owner or message.sender
    if message.is_reputer:
        context.emit(e.EventReputerRegistered(topic_id=message.topic_id, reputer=message.sender, owner=owner))
    else:
        context.emit(e.EventWorkerRegistered(topic_id=message.topic_id, worker=message.sender, owner=owner))


def remove_registration(context: Context, message: e.RemoveRegistrationRequest) -> None:
    """Leave a topic."""
    topic = context.topic(message.topic_id, 23)
    members = topic.reputers if message.is_reputer else topic.workers
    if message.sender not in members:
        raise emissions(10, f"{message.sender}: address is not registered in this topic")
    members.discard(message.sender)
    if message.is_reputer:
        context.emit(e.EventReputerUnregistered(topic_id=message.topic_id, reputer=message.sender))
    else:
        context.emit(e.EventWorkerUnregistered(topic_id=message.topic_id, worker=message.sender))


def described(topic: Topic) -> e.Topic:
    """Return a topic as queries and events describe it."""
    spec, params = topic.spec, topic.spec.parameters
    return e.Topic(
        id=spec.id,
        creator=spec.creator,
        metadata=spec.metadata,
        loss_method=spec.loss_method,
        epoch_last_ended=topic.epoch_last_ended,
        epoch_length=spec.epoch_length,
        ground_truth_lag=spec.ground_truth_lag,
        worker_submission_window=spec.worker_window,
        allow_negative=spec.allow_negative,
        topic_type=e.TopicType[spec.kind.upper()],
        output_arity=e.TopicOutputArity[spec.arity.upper()],
        initial_regret=decimal_text(float(topic.mechanism.initial_regret)),
        **{theirs: decimal_text(getattr(params, ours)) for theirs, ours in _NUMBERS.items()},
    )


def _check_lengths(context: Context, message: e.CreateNewTopicRequest) -> None:
    longest = context.module.largest_string
    epoch, lag, window = message.epoch_length, message.ground_truth_lag, message.worker_submission_window
    wrong = (
        (max(len(message.metadata), len(message.loss_method)) > longest, f"a text is longer than {longest}"),
        (not message.loss_method, "the loss method is empty"),
        (epoch < context.module.least_epoch_length, f"the epoch is below {context.module.least_epoch_length} blocks"),
        (not epoch <= lag <= 100 * epoch, "the ground truth lag must be 1 to 100 epochs"),
        (not 0 < window <= epoch, "the worker submission window must be within the epoch"),
    )
    for is_wrong, words in wrong:
        if is_wrong:
            raise emissions(MALFORMED, f"{words}: validation failed")


def _number(message: Any, name: str) -> float:
    value = bounded(getattr(message, name))
    low, high = {"p_norm": (2.5, 4.5), "c_norm": (-1e9, 1e9)}.get(name, (0.0, 1.0))
    if not low <= value <= high:
        raise emissions(MALFORMED, f"{name} is {value}; it must lie between {low:g} and {high:g}: validation failed")
    return value
