"""The messages of a worker's and a reputer's life; equal arguments give equal bytes.

Values travel as the decimal text that the chain itself would write, since that is what it verifies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crucible.chain.protos import canonicalize_dec, e, v3, v9
from crucible.chain.transaction import Message
from crucible.chain.wallet import Wallet


@dataclass(frozen=True)
class Losses:
    """Log10 losses of one epoch, by what they are losses of; see :class:`~crucible.chain.answers.NetworkInference`."""

    combined: float
    naive: float
    inferers: Mapping[str, float]
    forecasters: Mapping[str, float] = field(default_factory=dict)
    without: Mapping[str, float] = field(default_factory=dict)
    without_forecaster: Mapping[str, float] = field(default_factory=dict)
    with_only: Mapping[str, float] = field(default_factory=dict)


def registration(address: str, topic_id: int, *, reputer: bool = False) -> Message:
    """Return the message that registers a worker, or a reputer, in a topic."""
    request = e.RegisterRequest(sender=address, topic_id=topic_id, owner=address, is_reputer=reputer)
    return Message("/emissions.v10.RegisterRequest", bytes(request))


def add_stake(address: str, topic_id: int, amount: int) -> Message:
    """Return the message by which a reputer stakes ``amount`` uallo on itself."""
    request = e.AddStakeRequest(sender=address, topic_id=topic_id, amount=str(amount))
    return Message("/emissions.v10.AddStakeRequest", bytes(request))


def inference(wallet: Wallet, topic_id: int, nonce: int, value: float) -> Message:
    """Return the message that submits ``value`` for ``nonce``."""
    inner = e.InputInferenceForecastBundle(
        inference=e.InputInference(
            topic_id=topic_id,
            block_height=nonce,
            inferer=wallet.address,
            value="0",
            values=[e.InputLabeledValue(label="y", value=canonicalize_dec(value))],
        )
    )
    return _worker_payload(wallet, topic_id, nonce, inner)


def forecast(wallet: Wallet, topic_id: int, nonce: int, losses: Mapping[str, float]) -> Message:
    """Return the message that submits forecast losses (log10) of inferers for ``nonce``."""
    inner = e.InputInferenceForecastBundle(
        forecast=e.InputForecast(
            topic_id=topic_id,
            block_height=nonce,
            forecaster=wallet.address,
            forecast_elements=[
                e.InputForecastElement(inferer=inferer, value=canonicalize_dec(losses[inferer]))
                for inferer in sorted(losses)
            ],
        )
    )
    return _worker_payload(wallet, topic_id, nonce, inner)


def losses(wallet: Wallet, topic_id: int, nonce: int, found: Losses) -> Message:
    """Return the message by which a reputer submits the losses of ``nonce``."""
    rows, withheld = v9.InputWorkerAttributedValue, v9.InputWithheldWorkerAttributedValue
    inner = v9.InputValueBundle(
        topic_id=topic_id,
        reputer_request_nonce=v3.ReputerRequestNonce(v3.Nonce(nonce)),
        reputer=wallet.address,
        combined_value=canonicalize_dec(found.combined),
        naive_value=canonicalize_dec(found.naive),
        inferer_values=[rows(name, canonicalize_dec(value)) for name, value in sorted(found.inferers.items())],
        forecaster_values=[rows(name, canonicalize_dec(value)) for name, value in sorted(found.forecasters.items())],
        one_out_inferer_values=[
            withheld(name, canonicalize_dec(value)) for name, value in sorted(found.without.items())
        ],
        one_out_forecaster_values=[
            withheld(name, canonicalize_dec(value)) for name, value in sorted(found.without_forecaster.items())
        ],
        one_in_forecaster_values=[
            rows(name, canonicalize_dec(value)) for name, value in sorted(found.with_only.items())
        ],
    )
    bundle = v9.InputReputerValueBundle(inner, wallet.sign(bytes(inner)), wallet.public.hex())
    request = e.InsertReputerPayloadRequest(sender=wallet.address, reputer_value_bundle=bundle)
    return Message("/emissions.v10.InsertReputerPayloadRequest", bytes(request))


def _worker_payload(wallet: Wallet, topic_id: int, nonce: int, inner: e.InputInferenceForecastBundle) -> Message:
    bundle = e.InputWorkerDataBundle(
        worker=wallet.address,
        nonce=v3.Nonce(block_height=nonce),
        topic_id=topic_id,
        inference_forecasts_bundle=inner,
        inferences_forecasts_bundle_signature=wallet.sign(bytes(inner)),
        pubkey=wallet.public.hex(),
    )
    request = e.InsertWorkerPayloadRequest(sender=wallet.address, worker_data_bundle=bundle)
    return Message("/emissions.v10.InsertWorkerPayloadRequest", bytes(request))
