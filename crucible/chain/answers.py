"""From what a node answers to plain values; whatever the answer holds, the result is right or a :class:`ChainError`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from crucible.errors import ChainError


@dataclass(frozen=True)
class TopicInfo:
    """What the chain says of a topic; lengths in blocks.

    ``kind`` is ``regression`` or ``classification``, ``arity`` is ``single`` or ``multi``, and both are ``unspecified``
    on an older chain.
    """

    id: int
    metadata: str
    loss_method: str
    epoch_length: int
    ground_truth_lag: int
    worker_window: int
    kind: str = "unspecified"
    arity: str = "unspecified"


@dataclass(frozen=True)
class AccountInfo:
    """An account's number and next sequence, as committed."""

    number: int
    sequence: int


@dataclass(frozen=True)
class Inclusion:
    """A transaction in a block; ``code`` 0 is success."""

    height: int
    code: int
    codespace: str
    log: str


@dataclass(frozen=True)
class NetworkInference:
    """What the network answered in one epoch, in the topic's units; scalar topics only.

    ``without`` are the combined values that leave one inferer out, by the inferer; ``forecasters`` what each
    forecaster's losses imply; ``with_only`` the naive value plus one forecaster, ``without_forecaster`` the combined
    value that leaves one forecaster out.
    """

    nonce: int
    combined: float
    naive: float
    inferers: dict[str, float] = field(default_factory=dict)
    forecasters: dict[str, float] = field(default_factory=dict)
    without: dict[str, float] = field(default_factory=dict)
    without_forecaster: dict[str, float] = field(default_factory=dict)
    with_only: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkLosses:
    """Log10 losses of one epoch: of the combined network, and of each inferer."""

    combined: float
    inferers: dict[str, float]


def number(text: object, what: str) -> float:
    """Return the finite number in ``text``.

    Raises
    ------
    ChainError
        If it is none.
    """
    try:
        found = float(str(text))
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ChainError(f"The node says that {what} is {str(text)[:40]!r}, which is no number.")
    return found


def whole(text: object, what: str) -> int:
    """Return the whole number in ``text``, not negative.

    Raises
    ------
    ChainError
        If it is none.
    """
    words = str(text)
    if not (words.isascii() and words.isdigit() and len(words) <= 78):  # 256 bits, the largest that the chain knows
        raise ChainError(f"The node says that {what} is {words[:40]!r}, which is no whole number.")
    return int(words)


def topic_info(topic_id: int, topic: Any) -> TopicInfo:
    """Return a topic from the chain's message.

    Raises
    ------
    ChainError
        If its lengths make no sense.
    """
    lengths = {
        "epoch": topic.epoch_length, "lag": topic.ground_truth_lag, "window": topic.worker_submission_window,
    }  # fmt: skip
    for name, length in lengths.items():
        whole(length, f"the {name} of topic {topic_id}")
    if not lengths["epoch"] or not 0 < lengths["window"] <= lengths["epoch"]:
        raise ChainError(
            f"The node says that topic {topic_id} has epochs of {lengths['epoch']} and windows of "
            f"{lengths['window']} blocks."
        )
    return TopicInfo(
        topic_id, str(topic.metadata), str(topic.loss_method), topic.epoch_length, topic.ground_truth_lag,
        topic.worker_submission_window, _member(topic.topic_type), _member(topic.output_arity),
    )  # fmt: skip


def _member(value: Any) -> str:
    # a number that the SDK has no name for is of a newer chain
    return str(getattr(value, "name", None) or value).lower()


def network_inference(bundle: Any) -> NetworkInference | None:
    """Return a network inference, or ``None`` where the network has given none.

    Raises
    ------
    ChainError
        If a value is no number, or the topic is no scalar one.
    """
    if bundle is None or not bundle.combined_value:
        return None
    combined = _scalar(bundle.combined_value, "the network inference")
    return NetworkInference(
        nonce=int(bundle.nonce),
        combined=combined,
        naive=_scalar(bundle.naive_value, "the naive inference") if bundle.naive_value else combined,
        inferers=_by(bundle.inferer_values, "worker", "values"),
        forecasters=_by(bundle.forecaster_values, "worker", "values"),
        without=_by(bundle.one_out_inferer_values, "withheld_inferer", "combined_inference"),
        without_forecaster=_by(bundle.one_out_forecaster_values, "withheld_forecaster", "combined_inference"),
        with_only=_by(bundle.one_in_forecaster_values, "forecaster", "combined_inference"),
    )


def attributed(rows: Iterable[Any], what: str) -> dict[str, float]:
    """Return values by worker from ``{worker, value}`` rows."""
    return {row.worker: number(row.value, f"{what} of {row.worker}") for row in rows}


def _by(rows: Iterable[Any], name: str, values: str) -> dict[str, float]:
    return {getattr(row, name): _scalar(getattr(row, values), f"the value of {getattr(row, name)}") for row in rows}


def _scalar(values: Any, what: str) -> float:
    if len(values) != 1:
        raise ChainError(f"The node says that {what} has {len(values)} values; this is no scalar topic.")
    return number(values[0].value, what)
