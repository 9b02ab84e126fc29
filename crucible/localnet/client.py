"""How a house actor transacts: real signed transactions through the node's own BroadcastTx path."""

from __future__ import annotations

from typing import Any

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
from allora_sdk.rpc_client.protos.google.protobuf import Any as Wrapped

from crucible.localnet.core import Core
from crucible.localnet.fee_market import GAS_PRICE
from crucible.localnet.keys import Key
from crucible.localnet.ledger import DENOM

_GAS = 300_000


def sign_transaction(
    key: Key, message: Any, *, chain_id: str, number: int, sequence: int, gas: int = _GAS, fee: int | None = None,
    timeout_height: int = 0,
) -> bytes:  # fmt: skip
    """Return the bytes of a transaction with one message, signed in SIGN_MODE_DIRECT."""
    type_url = "/" + _full_name(message)
    body = TxBody(messages=[Wrapped(type_url, bytes(message))], timeout_height=timeout_height)
    public = Wrapped("/cosmos.crypto.secp256k1.PubKey", bytes(PubKey(key=key.public)))
    auth = AuthInfo(
        signer_infos=[SignerInfo(public, ModeInfo(single=ModeInfoSingle(mode=SignMode.DIRECT)), sequence)],
        fee=Fee(amount=[Coin(DENOM, str(gas * GAS_PRICE if fee is None else fee))], gas_limit=gas),
    )
    raw = TxRaw(body_bytes=bytes(body), auth_info_bytes=bytes(auth))
    document = SignDoc(raw.body_bytes, raw.auth_info_bytes, chain_id, number)
    raw.signatures = [key.sign(bytes(document))]
    return bytes(raw)


def submit(core: Core, key: Key, message: Any) -> str:
    """Sign ``message`` with the account's pending sequence and broadcast it; return why it was refused, or ``""``.

    Faults do not hit it, and it pays what the fee market asks.
    """
    account = core.pending_account(key.address)
    content = sign_transaction(
        key, message, chain_id=core.chain_id, number=account.number, sequence=account.sequence,
        fee=core.market.required(_GAS),
    )  # fmt: skip
    _, refusal = core.broadcast(content, house=True)
    return refusal.log if refusal else ""


def sign_bundle(key: Key, bundle: Any) -> bytes:
    """Return the signature of an inner bundle."""
    return key.sign(bytes(bundle))


def _full_name(message: Any) -> str:
    # allora_sdk.rpc_client.protos.emissions.v10 -> emissions.v10
    package = type(message).__module__.split(".protos.")[1]
    return f"{package}.{type(message).__name__}"
