"""One nonce from seen to included: journal before broadcast, and the same payload or none."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta

from crucible.chain.client import ChainClient, Inclusion, TopicInfo
from crucible.chain.error_table import Kind, classify
from crucible.chain.transaction import FeePolicy, inference, sign, unsigned
from crucible.chain.wallet import Wallet
from crucible.clock import Clock
from crucible.errors import ChainError, CrucibleError, NodeUnreachable, SequenceMismatch, TxRejected
from crucible.worker.journal import Journal, Row
from crucible.worker.predictor import Predictor

_LOG = logging.getLogger(__name__)
_GAS_HEADROOM = 1.3
_MARGIN_BLOCKS = 1  # a transaction that is sent in the last block of the window comes too late
_RETRY_SECONDS = 0.25
_UNSCORED_EPOCHS = 5  # after so many further epochs no score will come


class Submitter:
    """Carries the nonces of one topic through their states.

    Parameters
    ----------
    client, wallet, journal, clock
        What it works with.
    topic : TopicInfo
        The topic, for the lengths of its windows.
    chain_id : str
        The chain's id.
    block : timedelta
        Length of a block in the clock's time.
    fee : FeePolicy
        What may be paid.
    """

    def __init__(
        self,
        client: ChainClient,
        wallet: Wallet,
        journal: Journal,
        clock: Clock,
        *,
        topic: TopicInfo,
        chain_id: str,
        block: timedelta,
        fee: FeePolicy,
    ) -> None:
        self._client = client
        self._wallet = wallet
        self._journal = journal
        self._clock = clock
        self._topic = topic
        self._chain_id = chain_id
        self._block = block
        self._fee = fee

    async def handle(self, nonce: int, predictor: Predictor, model_version: int) -> Row:
        """Take an open nonce as far as a broadcast; return its row.

        Transient failures are tried again until the window is about to end, and then the nonce is missed.
        """
        row = self._journal.seen(nonce, nonce + self._topic.worker_window)
        while row.state in ("seen", "predicted"):
            height = await self._client.height()
            if height > row.window_end - _MARGIN_BLOCKS:
                return self._journal.move(nonce, "missed", reason=row.reason or "the window was about to end")
            try:
                if row.state == "seen":
                    row = await self._predict(row, predictor, model_version, height)
                row = await self._sign(row)
            except NodeUnreachable:
                raise
            except CrucibleError as error:
                _LOG.warning("nonce %d: %s", nonce, error)
                if row.state == "predicted" and await self._client.inference(
                    self._topic.id, nonce, self._wallet.address
                ):
                    return self._journal.move(
                        nonce, "included", reason="the chain holds an earlier value of this worker"
                    )
                row = replace(row, reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
        if row.state == "signed":
            row = await self._broadcast(row)
        return row

    async def settle(self) -> list[Row]:
        """Look up everything that is under way; return the rows that moved."""
        rows, moved = self._journal.unfinished(), []
        if not rows:
            return []
        height = await self._client.height()
        for row in rows:
            after = await self._settle(row, height)
            if after.state != row.state:
                moved.append(after)
        return moved

    async def _settle(self, row: Row, height: int) -> Row:
        if row.state in ("seen", "predicted"):
            if height > row.window_end - _MARGIN_BLOCKS:
                return self._journal.move(
                    row.nonce, "missed", reason=row.reason or "nothing was sent before the window ended"
                )
            return row
        if row.state in ("signed", "broadcast"):
            return await self._confirm(row, height)
        score = await self._client.score(self._topic.id, row.nonce, self._wallet.address)
        if score is not None:
            return self._journal.move(row.nonce, "scored", score=score)
        due = row.nonce + self._topic.ground_truth_lag + (1 + _UNSCORED_EPOCHS) * self._topic.epoch_length
        if height > due:
            return self._journal.move(row.nonce, "unscored", reason="no reputer scored this epoch")
        return row

    async def _confirm(self, row: Row, height: int) -> Row:
        assert row.tx_hash is not None
        found = await self._client.find(row.tx_hash)
        if found is not None:
            return self._included(row, found)
        if height > row.window_end:
            # past its timeout height the transaction can be in no later block; one more look, since blocks race with us
            found = await self._client.find(row.tx_hash)
            if found is not None:
                return self._included(row, found)
            held = await self._client.inference(self._topic.id, row.nonce, self._wallet.address)
            if held is not None:
                return self._journal.move(row.nonce, "included", reason="found on chain without its transaction")
            return self._journal.move(row.nonce, "missed", reason="not in a block before the window ended")
        if row.state == "signed":
            return await self._broadcast(row)
        return row

    def _included(self, row: Row, found: Inclusion) -> Row:
        if found.code == 0:
            return self._journal.move(row.nonce, "included", height=found.height, code=0)
        meaning = classify(found.codespace, found.code, found.log)
        reason = f"{meaning.meaning} ({found.codespace} code {found.code})"
        if meaning.kind is Kind.ALREADY:
            return self._journal.move(row.nonce, "included", height=found.height, code=found.code, reason=reason)
        state = "missed" if meaning.kind is Kind.MISSED else "rejected"
        return self._journal.move(row.nonce, state, height=found.height, code=found.code, reason=reason)

    async def _predict(self, row: Row, predictor: Predictor, model_version: int, height: int) -> Row:
        left = self._clock.wall_seconds(self._block * max(row.window_end - _MARGIN_BLOCKS - height, 1))
        try:
            prediction = await asyncio.wait_for(
                asyncio.to_thread(predictor.predict, self._clock.now()), timeout=max(left, 0.5)
            )
        except TimeoutError:
            raise ChainError(f"The prediction took longer than the {left:.1f} s that the window leaves.") from None
        return self._journal.move(
            row.nonce,
            "predicted",
            value=prediction.value,
            predicted_for=prediction.time.isoformat(),
            bundle=predictor.bundle.digest,
            model_version=model_version,
        )

    async def _sign(self, row: Row, sequence: int | None = None) -> Row:
        assert row.value is not None
        account = await self._client.account(self._wallet.address)
        if account is None:
            raise ChainError(f"Account {self._wallet.address} was never funded.")
        number = account.sequence if sequence is None else sequence
        message = inference(self._wallet, self._topic.id, row.nonce, row.value)
        gas = int(await self._client.simulate(unsigned(message, self._wallet, number)) * _GAS_HEADROOM)
        signed = sign(
            message,
            self._wallet,
            chain_id=self._chain_id,
            number=account.number,
            sequence=number,
            gas=gas,
            fee=self._fee.amount(gas, await self._client.gas_price()),
            timeout_height=row.window_end,
        )
        return self._journal.move(
            row.nonce, "signed", tx_hash=signed.hash, tx_content=signed.content, sequence=signed.sequence
        )

    async def _broadcast(self, row: Row, attempts: int = 3) -> Row:
        """Send the signed bytes; with no answer the row stays ``signed``, to be looked up before it is sent again."""
        assert row.tx_content is not None
        assert row.tx_hash is not None
        try:
            await self._client.broadcast(row.tx_content, row.tx_hash)
        except SequenceMismatch as mismatch:
            # CheckTx refused it, so it is in no mempool here; perhaps an earlier sending of it is in a block already
            found = await self._client.find(row.tx_hash)
            if found is not None:
                return self._included(row, found)
            row = await self._sign(row, mismatch.expected)
            return await self._broadcast(row, attempts - 1) if attempts > 1 else row
        except TxRejected as refusal:
            return await self._refused(row, refusal)
        except NodeUnreachable as error:
            _LOG.warning("nonce %d: no answer to the broadcast; its hash is looked up first (%s)", row.nonce, error)
            return row
        return self._journal.move(row.nonce, "broadcast")

    async def _refused(self, row: Row, refusal: TxRejected) -> Row:
        meaning = classify(refusal.codespace, refusal.code, refusal.raw_log)
        reason = f"{meaning.meaning} ({refusal.codespace} code {refusal.code})"
        match meaning.kind:
            case Kind.PENDING:
                return self._journal.move(row.nonce, "broadcast", reason=reason)
            case Kind.RETRY:
                return await self._sign(row)  # at the price and gas of this moment; the next look sends it
            case Kind.MISSED:
                return self._journal.move(row.nonce, "missed", reason=reason)
            case _:
                return self._journal.move(row.nonce, "rejected", reason=reason)
