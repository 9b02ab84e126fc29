"""InsertWorkerPayload: an inference, a forecast, or both, checked in the chain's order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from allora_sdk.rpc_client.protos.emissions.v10 import (
    EventInsertForecasterPayload,
    EventInsertInfererPayload,
    InputForecast,
    InputInference,
    InputInferenceForecastBundle,
    InputLabeledValue,
    InputWorkerDataBundle,
    InsertWorkerPayloadRequest,
)

from crucible.localnet.abci import emissions, plain, sdk
from crucible.localnet.admission import join
from crucible.localnet.context import Context, check_signed
from crucible.localnet.decimals import bounded, canonical
from crucible.localnet.keys import is_address
from crucible.localnet.topic import Nonce, Topic
from crucible.network.admission import kept_elements

NOT_PERMITTED = 82
"""Of a worker or reputer that no whitelist lets in. The sources that we hold do not show the chain's number."""

MALFORMED = 26


def insert_worker_payload(context: Context, message: InsertWorkerPayloadRequest) -> None:
    """Take a payload for an open worker nonce. The sender may differ: the payload vouches for itself."""
    bundle = message.worker_data_bundle
    if not (is_address(message.sender) and bundle and is_address(bundle.worker)):
        raise sdk(7, "invalid address")
    known = context.topics.get(bundle.topic_id)
    if known is not None and not context.whitelists.may_work(known, bundle.worker):
        raise emissions(NOT_PERMITTED, f"{bundle.worker}: worker is not permitted to submit payload")
    height, size = _validated(bundle)
    if size > context.module.largest_message:
        raise emissions(MALFORMED, "message is too large: validation failed")
    topic = context.topic(bundle.topic_id, 6)
    if height not in topic.worker_nonces():
        raise emissions(75, f"nonce {height} of topic {bundle.topic_id}: unfulfilled nonce not found")
    if not topic.worker_window_open(height, context.height):
        raise emissions(
            67,
            f"Worker window not open for topic: {bundle.topic_id}, current block {context.height}, start window: "
            f"{height}, end window: {topic.spec.worker_end(height)}: worker nonce window not available",
        )
    if bundle.worker not in topic.workers:
        raise emissions(13, f"{bundle.worker}: worker is not registered in this topic: address not registered")
    context.pay_revenue(message.sender, topic, context.module.data_sending_fee)
    inner = bundle.inference_forecasts_bundle
    assert inner is not None
    if inner.inference:
        _take_inference(context, topic, topic.nonces[height], bundle.worker, inner.inference)
    if inner.forecast:
        _take_forecast(context, topic, topic.nonces[height], bundle.worker, inner.forecast)


def _validated(bundle: InputWorkerDataBundle) -> tuple[int, int]:
    """Return the nonce of a bundle that is sound in itself, and how many bytes were signed."""
    inner = bundle.inference_forecasts_bundle
    height = bundle.nonce.block_height if bundle.nonce else 0
    if not inner or height <= 0 or (inner.inference is None and inner.forecast is None):
        raise emissions(MALFORMED, "worker data bundle is invalid: validation failed")
    expected = (bundle.worker, bundle.topic_id, height)
    inference, forecast = inner.inference, inner.forecast
    if inference and (inference.inferer, inference.topic_id, inference.block_height) != expected:
        raise emissions(MALFORMED, "inference does not match the bundle: validation failed")
    if forecast and (forecast.forecaster, forecast.topic_id, forecast.block_height) != expected:
        raise emissions(MALFORMED, "forecast does not match the bundle: validation failed")
    signed = _canonical(inner)
    check_signed(bundle.worker, bundle.pubkey, bundle.inferences_forecasts_bundle_signature, signed)
    return height, len(signed)


def _canonical(bundle: InputInferenceForecastBundle) -> bytes:
    # the chain verifies what it would encode itself, so text that it would write otherwise does not verify
    again = bundle
    if any(canonical(item.value) != item.value for item in _valued(bundle)):
        again = InputInferenceForecastBundle.parse(bytes(bundle))
        for item in _valued(again):
            item.value = canonical(item.value)
    return bytes(again)


def _valued(bundle: InputInferenceForecastBundle) -> Iterator[Any]:
    if bundle.inference:
        yield bundle.inference
        yield from bundle.inference.values
    if bundle.forecast:
        yield from bundle.forecast.forecast_elements


def _take_inference(context: Context, topic: Topic, nonce: Nonce, worker: str, inference: InputInference) -> None:
    labels = [item.label.lower() for item in inference.values]
    if labels != ["y"]:
        raise emissions(MALFORMED, "a scalar topic takes one value labelled y: validation failed")
    value = inference.values[0].value
    bounded(value)
    if worker in nonce.inferences:
        raise plain(f"inference already submitted by {worker} for nonce {nonce.height}")
    if join(context, topic, "inferer", nonce.height, worker, nonce.inferences):
        nonce.inferences[worker] = value
    context.emit(
        EventInsertInfererPayload(
            inferer=worker, nonce=nonce.height, topic_id=topic.spec.id, value="0", extra_data=inference.extra_data,
            values=[InputLabeledValue(label="y", value=value)],
        )
    )  # fmt: skip


def _take_forecast(context: Context, topic: Topic, nonce: Nonce, worker: str, forecast: InputForecast) -> None:
    if not forecast.forecast_elements:
        raise emissions(MALFORMED, "no valid forecast elements found in Forecast")
    if worker in nonce.forecasts:
        raise plain(f"forecast already submitted by {worker} for nonce {nonce.height}")
    losses: dict[str, float] = {}
    for element in forecast.forecast_elements:  # of two for one inferer the first counts
        losses.setdefault(element.inferer, bounded(element.value))
    texts = {element.inferer: element.value for element in reversed(forecast.forecast_elements)}
    # the chain ranks whom it knows a score of; somebody new has 0, and takes part like the others
    ranked = {name: loss for name, loss in losses.items() if name in topic.workers}
    kept = kept_elements(ranked, topic.emas, topic.spec.parameters.max_elements_per_forecast)
    if kept and join(context, topic, "forecaster", nonce.height, worker, nonce.forecasts):
        nonce.forecasts[worker] = {name: texts[name] for name in kept}
    context.emit(
        EventInsertForecasterPayload(
            forecaster=worker, nonce=nonce.height, topic_id=topic.spec.id, inferer_addresses=list(losses),
            inferer_values=[texts[name] for name in losses], extra_data=forecast.extra_data,
        )
    )  # fmt: skip
