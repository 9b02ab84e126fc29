"""Signing and sending one submission: its payload or none, and the hash is looked up before anything is signed anew."""

from __future__ import annotations

import logging
from collections.abc import Callable

from crucible.chain.client import ChainClient, Inclusion
from crucible.chain.error_table import Kind, classify
from crucible.chain.transaction import FeePolicy, inference, sign, unsigned
from crucible.chain.wallet import Wallet
from crucible.errors import ChainError, LeaseNotHeld, NodeUnreachable, SequenceMismatch, TxRejected, WalletError
from crucible.worker.journal import Journal, Row

_LOG = logging.getLogger(__name__)
_GAS_HEADROOM = 1.3
_MORE_GAS = 1.5  # what a delivery that ran out of gas is multiplied with
_DELIVERIES = 3  # a payload that fails in a block costs its fee; after so many it is given up


class Sender:
    """Signs and broadcasts the payloads of one wallet in one topic; every step is journalled before it is taken.

    Parameters
    ----------
    client, wallet, journal
        What it works with.
    topic_id : int
        The topic.
    chain_id : str
        The chain's id.
    fee : FeePolicy
        What may be paid.
    may_sign : callable
        Whether this process may sign and send at this moment: whether it holds the lease.

    Attributes
    ----------
    why : dict of int to str
        By nonce, the newest reason why its payload is in no block so far.
    """

    def __init__(
        self, client: ChainClient, wallet: Wallet, journal: Journal, *, topic_id: int, chain_id: str, fee: FeePolicy,
        may_sign: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self._client = client
        self._wallet = wallet
        self._journal = journal
        self._topic_id = topic_id
        self._chain_id = chain_id
        self._fee = fee
        self._may_sign = may_sign
        self._failed: dict[int, int] = {}
        self.why: dict[int, str] = {}

    async def sign(self, row: Row, sequence: int | None = None) -> Row:
        """Sign the payload of ``row`` and record it; nothing is sent.

        Parameters
        ----------
        row : Row
            In a state that ``signed`` may follow, with a value.
        sequence : int, optional
            The account's committed sequence by default.

        Raises
        ------
        ChainError
            If the chain would refuse it, or cannot be asked.
        LeaseNotHeld
            If another host may be submitting for this wallet.
        """
        assert row.value is not None
        account = await self._client.account(self._wallet.address)
        if account is None:
            raise ChainError(f"Account {self._wallet.address} was never funded.")
        number = account.sequence if sequence is None else sequence
        message = inference(self._wallet, self._topic_id, row.nonce, row.value)
        used = await self._client.simulate(unsigned(message, self._wallet, number))
        gas = int(used * _GAS_HEADROOM * _MORE_GAS ** self._failed.get(row.nonce, 0))
        gas_price = await self._client.gas_price()
        if not self._may_sign():
            raise LeaseNotHeld(f"The lease of {self._wallet.address} in topic {self._topic_id} is not held here.")
        signed = sign(
            message,
            self._wallet,
            chain_id=self._chain_id,
            number=account.number,
            sequence=number,
            gas=gas,
            fee=self._fee.amount(gas, gas_price),
            timeout_height=row.window_end,
        )
        return self._journal.move(
            row.nonce, "signed", tx_hash=signed.hash, tx_content=signed.content, sequence=signed.sequence
        )

    async def send(self, row: Row, *, signings: int = 2) -> Row:
        """Broadcast the signed bytes of ``row``, for the first time or again.

        With no answer the row stays as it is: it is looked up before it is sent again.

        Parameters
        ----------
        row : Row
            ``signed`` or ``broadcast``.
        signings : int
            How often it may be signed anew in this call.

        Raises
        ------
        WalletError
            If the wallet is too poor. The row stays ``signed``: once there are funds, the same bytes are good.
        """
        assert row.tx_content is not None
        assert row.tx_hash is not None
        if not self._may_sign():
            self.why[row.nonce] = "another host may be submitting: the lease is not held here"
            return row
        try:
            await self._client.broadcast(row.tx_content, row.tx_hash)
        except SequenceMismatch as mismatch:
            return await self._out_of_turn(row, mismatch, signings)
        except TxRejected as refusal:
            return await self._refused(row, refusal)
        except NodeUnreachable as error:
            _LOG.warning("nonce %d: no answer to the broadcast; its hash is looked up first (%s)", row.nonce, error)
            self.why[row.nonce] = str(error)
            return row
        return self._accepted(row)

    async def delivered(self, row: Row, found: Inclusion) -> Row:
        """Record what a block made of ``row``; a failure that another signing can cure is signed and sent anew."""
        if found.code == 0:
            return self._journal.move(row.nonce, "included", height=found.height, code=0)
        meaning = classify(found.codespace, found.code, found.log)
        reason = f"{meaning.meaning} ({found.codespace} code {found.code})"
        outcome: dict[str, float | int | str | bytes | None] = {
            "height": found.height,
            "code": found.code,
            "reason": reason,
        }
        if meaning.kind is Kind.ALREADY:
            return self._journal.move(row.nonce, "included", **outcome)
        if meaning.kind in (Kind.RETRY, Kind.SEQUENCE, Kind.FUNDS) and found.height < row.window_end:
            self._failed[row.nonce] = self._failed.get(row.nonce, 0) + 1
            self.why[row.nonce] = reason
            if self._failed[row.nonce] < _DELIVERIES:
                _LOG.warning("nonce %d failed in block %d: %s; it is signed anew", row.nonce, found.height, reason)
                return await self.send(await self.sign(row), signings=0)
        return self._journal.move(row.nonce, "missed" if meaning.kind is Kind.MISSED else "rejected", **outcome)

    async def _out_of_turn(self, row: Row, mismatch: SequenceMismatch, signings: int) -> Row:
        assert row.tx_hash is not None
        assert row.sequence is not None
        self.why[row.nonce] = mismatch.raw_log
        account = await self._client.account(self._wallet.address)
        # asked after the account: a block in between can then not hide our own transaction
        found = await self._client.find(row.tx_hash)
        if found is not None:
            return await self.delivered(row, found)
        committed = account.sequence if account else 0
        wanted = max(committed, mismatch.expected or 0)
        if committed <= row.sequence < wanted:
            # a transaction with this number waits in the mempool, perhaps this very one; the next block tells
            return row
        if wanted == row.sequence or not signings:
            return row
        return await self.send(await self.sign(row, wanted), signings=signings - 1)

    async def _refused(self, row: Row, refusal: TxRejected) -> Row:
        assert row.tx_hash is not None
        meaning = classify(refusal.codespace, refusal.code, refusal.raw_log)
        reason = f"{meaning.meaning} ({refusal.codespace} code {refusal.code})"
        if meaning.kind is Kind.PENDING:
            return self._accepted(row)
        # this sending is refused; an earlier one of the same bytes may be in a block
        found = await self._client.find(row.tx_hash)
        if found is not None:
            return await self.delivered(row, found)
        self.why[row.nonce] = reason
        if meaning.kind is Kind.FUNDS:
            raise WalletError(f"{self._wallet.address} cannot pay for nonce {row.nonce}: {refusal.raw_log}; fund it.")
        if meaning.kind is Kind.RETRY:
            return await self.sign(row)  # at the price and gas of this moment; the next look sends it
        state = "missed" if meaning.kind is Kind.MISSED else "rejected"
        return self._journal.move(row.nonce, state, code=refusal.code, reason=reason)

    def _accepted(self, row: Row) -> Row:
        return row if row.state == "broadcast" else self._journal.move(row.nonce, "broadcast")
