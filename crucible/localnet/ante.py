"""What is checked before any message runs, in the chain's order and with its codes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from allora_sdk.rpc_client.protos.cosmos.crypto.secp256k1 import PubKey
from allora_sdk.rpc_client.protos.cosmos.tx.v1beta1 import AuthInfo, SignDoc, TxBody, TxRaw

from crucible.localnet.abci import sdk
from crucible.localnet.fee_market import FeeMarket
from crucible.localnet.keys import address_of, verifies
from crucible.localnet.ledger import DENOM, Ledger
from crucible.wire_types import refuse_ill_typed


@dataclass(frozen=True)
class Transaction:
    """A decoded transaction; ``raw`` keeps the bytes that were signed, never re-encoded ones.

    ``house`` transactions are not hit by faults. ``parsed`` keeps the decoded messages between CheckTx and delivery.
    """

    raw: TxRaw
    body: TxBody
    auth: AuthInfo
    hash: str
    content: bytes
    house: bool = False
    parsed: list[Any] = field(default_factory=list, compare=False, repr=False)

    @property
    def fee(self) -> int:
        """The fee in uallo."""
        amounts = [coin.amount for coin in self.auth.fee.amount if coin.denom == DENOM] if self.auth.fee else []
        if not all(amount.isascii() and amount.isdigit() and len(amount) < 78 for amount in amounts):
            raise ValueError("a fee is no whole number")
        return sum(int(amount) for amount in amounts)

    @property
    def gas_limit(self) -> int:
        """The gas limit."""
        return self.auth.fee.gas_limit if self.auth.fee else 0

    @property
    def public(self) -> bytes:
        """The signer's compressed public key."""
        info = self.auth.signer_infos[0]
        return PubKey.parse(info.public_key.value).key if info.public_key else b""

    @property
    def sequence(self) -> int:
        """The sequence that was signed."""
        return self.auth.signer_infos[0].sequence


LARGEST_TRANSACTION = 1_048_576
"""Bytes: CometBFT's ``max_tx_bytes``."""


def decode(content: bytes, *, house: bool = False) -> Transaction:
    """Decode transaction bytes.

    Raises
    ------
    Refusal
        sdk 2 if they are no transaction with one signer and at least one message, sdk 21 if they are too many.
    """
    if len(content) > LARGEST_TRANSACTION:
        raise sdk(21, f"tx size {len(content)} exceeds {LARGEST_TRANSACTION}: tx too large")
    try:
        raw = TxRaw.parse(content)
        body, auth = TxBody.parse(raw.body_bytes), AuthInfo.parse(raw.auth_info_bytes)
        transaction = Transaction(raw, body, auth, hashlib.sha256(content).hexdigest().upper(), content, house)
        if len(auth.signer_infos) != 1 or len(raw.signatures) != 1 or not body.messages:
            raise ValueError("one signer and at least one message are needed")
        refuse_ill_typed(body, strict=True)
        refuse_ill_typed(auth, strict=True)
        # read now, so that damaged parts are a decoding error
        for part in ("public", "fee", "gas_limit", "sequence"):
            getattr(transaction, part)
    except Exception as error:
        raise sdk(2, f"tx parse error: {error}") from error
    return transaction


def check(
    ledger: Ledger, transaction: Transaction, signer: str, *, chain_id: str, height: int, market: FeeMarket
) -> None:
    """Run the ante checks against ``ledger``; on success take the fee and raise the sequence.

    Parameters
    ----------
    signer : str
        The address that the messages name.
    height : int
        The block that the transaction would be in.
    market : FeeMarket
        What gas costs.

    Raises
    ------
    Refusal
        With the chain's code: 30, 9, 32, 4, 13 or 5.
    """
    timeout = transaction.body.timeout_height
    if timeout and height > timeout:
        raise sdk(30, f"block height: {height}, timeout height: {timeout}: tx timeout height")
    account = ledger.accounts.get(signer)
    if account is None:
        raise sdk(9, f"account {signer} does not exist: unknown address")
    if address_of(transaction.public) != signer:
        raise sdk(8, "pubKey does not match signer address: invalid pubkey")
    if transaction.sequence != account.sequence:
        raise sdk(
            32,
            f"account sequence mismatch, expected {account.sequence}, got {transaction.sequence}: "
            "incorrect account sequence",
        )
    raw = transaction.raw
    document = SignDoc(
        body_bytes=raw.body_bytes,
        auth_info_bytes=raw.auth_info_bytes,
        chain_id=chain_id,
        account_number=account.number,
    )
    if not verifies(transaction.public, raw.signatures[0], bytes(document)):
        raise sdk(
            4,
            f"signature verification failed; please verify account number ({account.number}), sequence "
            f"({account.sequence}) and chain-id ({chain_id}): unauthorized",
        )
    required = market.required(transaction.gas_limit)
    if transaction.fee < required or not transaction.gas_limit:
        raise sdk(
            13,
            f"got: {transaction.fee}{DENOM} required: {required}{DENOM}, minGasPrice: {market.text}{DENOM}, gas: "
            f"{transaction.gas_limit}: insufficient fee",
        )
    if not ledger.debit(signer, transaction.fee):
        raise sdk(
            5,
            f"spendable balance {account.balance}{DENOM} is smaller than {transaction.fee}{DENOM}: insufficient funds",
        )
    account.sequence += 1
    account.public = transaction.public.hex()
