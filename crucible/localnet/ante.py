"""What is checked before any message runs, in the chain's order and with its codes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from allora_sdk.rpc_client.protos.cosmos.crypto.secp256k1 import PubKey
from allora_sdk.rpc_client.protos.cosmos.tx.v1beta1 import AuthInfo, SignDoc, TxBody, TxRaw

from crucible.localnet.abci import sdk
from crucible.localnet.keys import address_of, verifies
from crucible.localnet.ledger import DENOM, Ledger

GAS_PRICE = 10
"""The fee market's price, uallo per unit of gas."""


@dataclass(frozen=True)
class Transaction:
    """A decoded transaction; ``raw`` keeps the bytes that were signed, never re-encoded ones."""

    raw: TxRaw
    body: TxBody
    auth: AuthInfo
    hash: str
    size: int

    @property
    def fee(self) -> int:
        """The fee in uallo."""
        amounts = self.auth.fee.amount if self.auth.fee else []
        return sum(int(coin.amount) for coin in amounts if coin.denom == DENOM)

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


def decode(content: bytes) -> Transaction:
    """Decode transaction bytes.

    Raises
    ------
    Refusal
        sdk 2 if they are no transaction with one signer and at least one message.
    """
    try:
        raw = TxRaw.parse(content)
        body, auth = TxBody.parse(raw.body_bytes), AuthInfo.parse(raw.auth_info_bytes)
        transaction = Transaction(raw, body, auth, hashlib.sha256(content).hexdigest().upper(), len(content))
        if len(auth.signer_infos) != 1 or len(raw.signatures) != 1 or not body.messages:
            raise ValueError("one signer and at least one message are needed")
        transaction.public  # noqa: B018 -- decodes the key now, so that a damaged one is a decoding error
    except Exception as error:
        raise sdk(2, f"tx parse error: {error}") from error
    return transaction


def check(ledger: Ledger, transaction: Transaction, signer: str, *, chain_id: str, height: int) -> None:
    """Run the ante checks against ``ledger``; on success take the fee and raise the sequence.

    Parameters
    ----------
    signer : str
        The address that the messages name.
    height : int
        The block that the transaction would be in.

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
    required = transaction.gas_limit * GAS_PRICE
    if transaction.fee < required or not transaction.gas_limit:
        raise sdk(
            13,
            f"got: {transaction.fee}{DENOM} required: {required}{DENOM}, minGasPrice: {GAS_PRICE}.000000000000000000"
            f"{DENOM}, gas: {transaction.gas_limit}: insufficient fee",
        )
    if not ledger.debit(signer, transaction.fee):
        raise sdk(
            5,
            f"spendable balance {account.balance}{DENOM} is smaller than {transaction.fee}{DENOM}: insufficient funds",
        )
    account.sequence += 1
    account.public = transaction.public.hex()
