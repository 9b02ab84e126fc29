"""Building and signing: worker payloads and the transactions that carry them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from allora_sdk.rpc_client.dec_canonical import canonicalize_dec
from allora_sdk.rpc_client.protos.cosmos.base.v1beta1 import Coin
from allora_sdk.rpc_client.protos.cosmos.crypto.secp256k1 import PubKey
from allora_sdk.rpc_client.protos.cosmos.tx.signing.v1beta1 import SignMode
from allora_sdk.rpc_client.protos.cosmos.tx.v1beta1 import (
    AuthInfo,
    Fee,
    ModeInfo,
    ModeInfoSingle,
    SignDoc,
    SignerInfo,
    TxBody,
    TxRaw,
)
from allora_sdk.rpc_client.protos.emissions import v3
from allora_sdk.rpc_client.protos.emissions import v10 as e
from allora_sdk.rpc_client.protos.google.protobuf import Any as Wrapped

from crucible.chain.wallet import Wallet

DENOM = "uallo"


@dataclass(frozen=True)
class FeePolicy:
    """How much to pay: gas times price times ``factor``, and never more than ``cap`` uallo."""

    factor: float = 1.5
    cap: int = 10**16

    def amount(self, gas: int, price: float) -> int:
        """Return the fee in uallo."""
        return min(int(gas * price * self.factor), self.cap)


@dataclass(frozen=True)
class Message:
    """A message with its type URL."""

    type_url: str
    content: bytes


@dataclass(frozen=True)
class SignedTransaction:
    """Signed bytes and what names them."""

    content: bytes
    hash: str
    sequence: int
    timeout_height: int


def registration(address: str, topic_id: int) -> Message:
    """Return the message that registers a worker in a topic."""
    request = e.RegisterRequest(sender=address, topic_id=topic_id, owner=address, is_reputer=False)
    return Message("/emissions.v10.RegisterRequest", bytes(request))


def inference(wallet: Wallet, topic_id: int, nonce: int, value: float) -> Message:
    """Return the message that submits ``value`` for ``nonce``; equal arguments give equal bytes.

    The value travels as the decimal text that the chain itself would write, since that is what it verifies.
    """
    inner = e.InputInferenceForecastBundle(
        inference=e.InputInference(
            topic_id=topic_id,
            block_height=nonce,
            inferer=wallet.address,
            value="0",
            values=[e.InputLabeledValue(label="y", value=canonicalize_dec(value))],
        )
    )
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


def unsigned(message: Message, wallet: Wallet, sequence: int) -> bytes:
    """Return bytes for gas simulation: one empty signature, a fee of one uallo."""
    raw = _raw(message, wallet, sequence, gas=0, fee=1, timeout_height=0)
    raw.signatures = [b""]
    return bytes(raw)


def sign(
    message: Message,
    wallet: Wallet,
    *,
    chain_id: str,
    number: int,
    sequence: int,
    gas: int,
    fee: int,
    timeout_height: int,
) -> SignedTransaction:
    """Sign a transaction with one message in SIGN_MODE_DIRECT.

    Parameters
    ----------
    chain_id : str
        For example ``allora-testnet-1``.
    number, sequence : int
        The account's.
    gas : int
        Gas limit.
    fee : int
        In uallo.
    timeout_height : int
        The last block that may contain it; 0 for no limit.
    """
    raw = _raw(message, wallet, sequence, gas, fee, timeout_height)
    document = SignDoc(raw.body_bytes, raw.auth_info_bytes, chain_id, number)
    raw.signatures = [wallet.sign(bytes(document))]
    content = bytes(raw)
    return SignedTransaction(content, hashlib.sha256(content).hexdigest().upper(), sequence, timeout_height)


def _raw(message: Message, wallet: Wallet, sequence: int, gas: int, fee: int, timeout_height: int) -> Any:
    body = TxBody(messages=[Wrapped(message.type_url, message.content)], timeout_height=timeout_height)
    public = Wrapped("/cosmos.crypto.secp256k1.PubKey", bytes(PubKey(key=wallet.public)))
    signer = SignerInfo(public, ModeInfo(single=ModeInfoSingle(mode=SignMode.DIRECT)), sequence)
    auth = AuthInfo(signer_infos=[signer], fee=Fee(amount=[Coin(DENOM, str(fee))], gas_limit=gas))
    return TxRaw(body_bytes=bytes(body), auth_info_bytes=bytes(auth))
