"""The nonces of one topic, each from seen to scored; every call makes one attempt and never waits for a block."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import timedelta

from crucible.chain.client import ChainClient, TopicInfo
from crucible.chain.transaction import FeePolicy
from crucible.chain.wallet import Wallet
from crucible.clock import Clock
from crucible.errors import BundleError, ChainError, CrucibleError, NodeUnreachable, StoreError
from crucible.worker.daemon_thread import in_daemon_thread
from crucible.worker.journal import Journal, Row
from crucible.worker.predictor import Predictor
from crucible.worker.sender import Sender

_LOG = logging.getLogger(__name__)
_MARGIN_BLOCKS = 1  # a transaction that is sent in the last block of the window comes too late
_RESEND_BLOCKS = 2  # a transaction that is in no block after so many may have been dropped from the mempool
_UNSCORED_EPOCHS = 5  # after so many further epochs no score will come
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0


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
    may_sign : callable
        Whether this process may sign and send at this moment.
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
        may_sign: Callable[[], bool] = lambda: True,
    ) -> None:
        self._client = client
        self._address = wallet.address
        self._journal = journal
        self._clock = clock
        self._topic = topic
        self._block = block
        self._sender = Sender(client, wallet, journal, topic_id=topic.id, chain_id=chain_id, fee=fee, may_sign=may_sign)
        self._why = self._sender.why
        self._sent_at: dict[int, int] = {}
        self._failures = 0

    async def handle(self, nonce: int, predictor: Predictor, model_version: int) -> Row:
        """Take an open nonce as far as a broadcast, if that works at once; return its row.

        A transient failure leaves the row ``seen`` or ``predicted``, to be tried again while the window is open.

        Raises
        ------
        NodeUnreachable
            If the node does not answer.
        StoreError
            If the journal refuses; nothing was sent then.
        """
        row = self._journal.seen(nonce, nonce + self._topic.worker_window)
        if row.state not in ("seen", "predicted"):
            return row  # an earlier life of this worker came further; settling goes on from there
        height = await self._client.height()
        if self._late(row, height):
            return self._missed(row)
        try:
            if row.state == "seen":
                row = await self._predict(row, predictor, model_version, height)
            row = await self._sender.sign(row)
        except StoreError:
            raise
        except CrucibleError as error:
            self._failures += 1
            self._why[nonce] = str(error)
            if isinstance(error, NodeUnreachable):
                raise
            _LOG.warning("nonce %d: %s", nonce, error)
            if await self._client.inference(self._topic.id, nonce, self._address) is not None:
                return self._journal.move(nonce, "included", reason="the chain holds an earlier value of this worker")
            return row
        self._failures = 0
        self._sent_at[nonce] = height
        return await self._sender.send(row)

    async def settle(self) -> list[Row]:
        """Look up everything that is under way; return the rows that moved."""
        rows, moved = self._journal.unfinished(), []
        if not rows:
            return []
        height = await self._client.height()
        for row in rows:
            try:
                after = await self._settle(row, height)
            except NodeUnreachable:
                raise
            except ChainError as error:
                # what the chain says of one nonce must not keep the others waiting
                if self._why.get(row.nonce) != str(error):
                    _LOG.warning("nonce %d: %s", row.nonce, error)
                self._why[row.nonce] = str(error)
                continue
            if after.state != row.state:
                moved.append(after)
        return moved

    def patience(self) -> float:
        """Return the real seconds after which another look is worth while; infinite when nothing is under way."""
        states = {row.state for row in self._journal.unfinished()}
        waits = [math.inf]
        if states & {"signed", "broadcast"}:
            waits.append(self._clock.wall_seconds(self._block) / 2)
        if states & {"seen", "predicted"}:
            waits.append(_FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        return min(min(waits), _LONGEST_PAUSE) if len(waits) > 1 else math.inf

    def _late(self, row: Row, height: int) -> bool:
        return height > row.window_end - _MARGIN_BLOCKS

    def _missed(self, row: Row, what: str = "nothing was sent before the window ended") -> Row:
        why = self._why.get(row.nonce)
        return self._journal.move(row.nonce, "missed", reason=f"{what}: {why}" if why else what)

    async def _settle(self, row: Row, height: int) -> Row:
        if row.state in ("seen", "predicted"):
            return self._missed(row) if self._late(row, height) else row
        if row.state in ("signed", "broadcast"):
            return await self._confirm(row, height)
        if height < row.nonce + self._topic.ground_truth_lag:
            return row  # the truth is not known yet, so there can be no score
        score = await self._client.score(self._topic.id, row.nonce, self._address)
        if score is not None:
            return self._journal.move(row.nonce, "scored", score=score)
        due = row.nonce + self._topic.ground_truth_lag + (1 + _UNSCORED_EPOCHS) * self._topic.epoch_length
        if height > due:
            return self._journal.move(row.nonce, "unscored", reason="no reputer scored this epoch")
        return row

    async def _confirm(self, row: Row, height: int) -> Row:
        assert row.tx_hash is not None
        # `height` was asked before: if it is past the window's end, and with it the timeout height, a transaction that
        # is not found now will be in no block
        found = await self._client.find(row.tx_hash)
        if found is not None:
            return await self._sender.delivered(row, found)
        if height > row.window_end:
            if await self._client.inference(self._topic.id, row.nonce, self._address) is not None:
                return self._journal.move(row.nonce, "included", reason="found on chain without its transaction")
            return self._missed(row, "not in a block before the window ended")
        if height >= row.window_end:
            return row  # what is sent now is for the next block, which is too late; what was sent may be in this one
        if row.state == "signed" or height >= self._sent_at.get(row.nonce, 0) + _RESEND_BLOCKS:
            self._sent_at[row.nonce] = height
            return await self._sender.send(row)
        return row

    async def _predict(self, row: Row, predictor: Predictor, model_version: int, height: int) -> Row:
        left = self._clock.wall_seconds(self._block * max(row.window_end - _MARGIN_BLOCKS - height, 1))
        try:
            prediction = await asyncio.wait_for(
                in_daemon_thread(predictor.predict, self._clock.now()), timeout=max(left, 0.5)
            )
        except TimeoutError:
            raise BundleError(f"The prediction took longer than the {left:.1f} s that the window leaves.") from None
        except CrucibleError:
            raise
        except Exception as error:  # a model or a library that fails must cost one attempt, not the process
            _LOG.exception("the prediction for nonce %d failed", row.nonce)
            raise BundleError(f"The prediction failed with {type(error).__name__}: {error}") from error
        return self._journal.move(
            row.nonce,
            "predicted",
            value=prediction.value,
            predicted_for=prediction.time.isoformat(),
            bundle=predictor.bundle.digest,
            model_version=model_version,
        )
