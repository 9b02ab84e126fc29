"""Building and signing the transactions that carry payloads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from crucible.chain.protos import base, protobuf, secp256k1, signing, tx
from crucible.chain.wallet import Wallet

DENOM = "uallo"


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
    document = tx.SignDoc(raw.body_bytes, raw.auth_info_bytes, chain_id, number)
    raw.signatures = [wallet.sign(bytes(document))]
    content = bytes(raw)
    return SignedTransaction(content, hashlib.sha256(content).hexdigest().upper(), sequence, timeout_height)


def _raw(message: Message, wallet: Wallet, sequence: int, gas: int, fee: int, timeout_height: int) -> Any:
    wrapped = protobuf.Any(message.type_url, message.content)
    body = tx.TxBody(messages=[wrapped], timeout_height=timeout_height)
    public = protobuf.Any("/cosmos.crypto.secp256k1.PubKey", bytes(secp256k1.PubKey(key=wallet.public)))
    mode = tx.ModeInfo(single=tx.ModeInfoSingle(mode=signing.SignMode.DIRECT))
    paid = tx.Fee(amount=[base.Coin(DENOM, str(fee))], gas_limit=gas)
    auth = tx.AuthInfo(signer_infos=[tx.SignerInfo(public, mode, sequence)], fee=paid)
    return tx.TxRaw(body_bytes=bytes(body), auth_info_bytes=bytes(auth))
