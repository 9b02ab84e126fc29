"""The nonces of one topic, each from seen to scored; every call makes one attempt and never waits for a block."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta

from crucible.chain.account import Account
from crucible.chain.answers import TopicInfo
from crucible.clock import Clock
from crucible.errors import ChainError, CrucibleError, NodeUnreachable, StoreError, Withheld
from crucible.worker.journal import UNSENT, Journal, Row
from crucible.worker.reasons import Reason, reason_of
from crucible.worker.roles.inferer import Inferer
from crucible.worker.roles.role import Answer, Role
from crucible.worker.sender import Sender

_LOG = logging.getLogger(__name__)
_MARGIN_BLOCKS = 1  # a transaction that is sent in the last block of the window comes too late
_RESEND_BLOCKS = 2  # a transaction that is in no block after so many may have been dropped from the mempool
_UNSCORED_EPOCHS = 5  # after so many further epochs no score will come
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 1.0
_LEAST_SECONDS = 0.5

Ask = Callable[[int, float], Awaitable[Answer]]
"""``ask(nonce, seconds)`` returns what to submit for a nonce within so many real seconds, or raises."""


def anyone(address: str, topic_id: int) -> bool:
    """Let this host sign for every wallet and topic: the rule where there is only one host."""
    return True


class Submitter:
    """Carries the nonces of one topic through their states.

    Parameters
    ----------
    account : Account
        Who submits.
    journal : Journal
        Where it is recorded.
    clock : Clock
        Whose time it is.
    topic : TopicInfo
        The topic, for the lengths of its windows; may be replaced when the chain changes them.
    block : timedelta
        Length of a block in the clock's time.
    role : Role
        What is submitted.
    may_sign : callable
        Asked before every signature; see :class:`~crucible.worker.sender.Sender`.
    """

    def __init__(
        self,
        account: Account,
        journal: Journal,
        clock: Clock,
        *,
        topic: TopicInfo,
        block: timedelta,
        role: Role | None = None,
        may_sign: Callable[[str, int], bool] = anyone,
    ) -> None:
        self.topic = topic
        self.block = block
        self._client = account.client
        self._address = account.wallet.address
        self._journal = journal
        self._clock = clock
        self._role = role or Inferer()
        self._sender = Sender(account, journal, self._role, topic.id, may_sign)
        self._why = self._sender.why
        self._sent_at: dict[int, int] = {}
        self._active: set[int] = set()  # nonces that are known to be in the active set
        self._failures = 0

    async def handle(self, nonce: int, ask: Ask, height: int | None = None) -> Row:
        """Take an open nonce as far as a broadcast, if that works at once; return its row.

        A transient failure leaves the row as far as it came, to be tried again while the window is open.

        Parameters
        ----------
        nonce : int
            The epoch's block height.
        ask : callable
            Gives what to submit; see :data:`Ask`. Not asked for what was predicted before.
        height : int, optional
            Of the last block, if the caller has just asked for it.

        Raises
        ------
        NodeUnreachable
            If the node does not answer.
        StoreError
            If the journal refuses; nothing was sent then.
        """
        known = self._journal.row(nonce)
        row = known or self._journal.seen(nonce, self._role.window(self.topic, nonce)[1])
        if row.state not in UNSENT:
            return row  # an earlier life of this worker came further; settling goes on from there
        height = await self._client.height() if height is None else height
        if self._late(row, height):
            return self._missed(row, Reason.STOPPED if known else Reason.SEEN_LATE)
        try:
            if row.state != "predicted":
                row = await self._predict(row, ask, height)
            self._sent_at[nonce] = height
            row = await self._sender.submit(row)
        except StoreError:
            raise
        except CrucibleError as error:
            self._failures += 1
            self._why[nonce] = reason_of(error), str(error)
            if isinstance(error, NodeUnreachable):
                raise
            _LOG.warning("nonce %d: %s", nonce, error)
            row = self._journal.row(nonce) or row  # it may have been signed before it failed
            if (
                isinstance(error, ChainError)
                and row.state in UNSENT
                and await self._role.held(self._client, self.topic.id, nonce, self._address)
            ):
                words = "the chain holds an earlier value of this worker"
                return self._journal.move(nonce, "included", reason_code=Reason.EARLIER_VALUE, reason=words)
            return row
        self._failures = 0
        return row

    async def settle(self) -> list[Row]:
        """Look up everything that is under way; return the rows that moved.

        Raises
        ------
        NodeUnreachable
            If the node does not answer.
        StoreError
            If the journal refuses.
        """
        rows, moved = self._journal.unfinished(), []
        epochs = 2 + _UNSCORED_EPOCHS
        horizon = self.topic.ground_truth_lag + epochs * self.topic.epoch_length
        newest = self._journal.newest()
        rows += self._journal.left_out(newest - horizon)
        if not rows:
            return []
        height = await self._client.height()
        for row in rows:
            try:
                after = await self._settle(row, height)
            except NodeUnreachable:
                raise
            except (ChainError, Withheld) as error:
                # what the chain says of one nonce must not keep the others waiting
                if self._why.get(row.nonce, (None, ""))[1] != str(error):
                    _LOG.warning("nonce %d: %s", row.nonce, error)
                self._why[row.nonce] = reason_of(error), str(error)
                continue
            if after.state != row.state:
                moved.append(after)
                if after.state in ("included", "missed", "rejected"):
                    self._forget(after.nonce)
        return moved

    def patience(self) -> float:
        """Return the real seconds after which another look is worth while; infinite when nothing is under way."""
        states = {row.state for row in self._journal.unfinished()}
        waits = [math.inf]
        if states & {"signed", "broadcast"}:
            waits.append(self._clock.wall_seconds(self.block) / 2)
        if states & UNSENT:
            waits.append(_FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        return min(min(waits), _LONGEST_PAUSE) if len(waits) > 1 else math.inf

    def _late(self, row: Row, height: int) -> bool:
        return height > row.window_end - _MARGIN_BLOCKS

    def _missed(self, row: Row, otherwise: Reason = Reason.STOPPED) -> Row:
        sent = row.state not in UNSENT
        what = "not in a block before the window ended" if sent else "nothing was sent before the window ended"
        reason, why = self._why.get(row.nonce, (Reason.NOT_IN_A_BLOCK if sent else otherwise, ""))
        words = f"{what}: {why}" if why else what
        return self._journal.move(row.nonce, "missed", reason_code=reason, reason=words)

    async def _settle(self, row: Row, height: int) -> Row:
        if row.state in UNSENT:
            return self._missed(row) if self._late(row, height) else row
        if row.state in ("signed", "broadcast"):
            return await self._confirm(row, height)
        if row.state == "included" and height > row.window_end and row.nonce not in self._active:
            active = await self._role.active(self._client, self.topic.id, row.nonce, self._address)
            if active is False:
                words = "accepted, and not in the active set when the window closed"
                return self._journal.move(row.nonce, "left_out", reason_code=Reason.LEFT_OUT, reason=words)
            if active:
                self._active.add(row.nonce)
        if height < row.nonce + self.topic.ground_truth_lag:
            return row  # the truth is not known yet, so there can be no score
        score = await self._role.score(self._client, self.topic.id, row.nonce, self._address)
        if score is not None:
            self._active.discard(row.nonce)
            return self._journal.move(row.nonce, "scored", score=score)
        due = row.nonce + self.topic.ground_truth_lag + (1 + _UNSCORED_EPOCHS) * self.topic.epoch_length
        if height > due and row.state == "included":
            self._active.discard(row.nonce)
            words = "no reputer scored this epoch"
            return self._journal.move(row.nonce, "unscored", reason_code=Reason.NO_REPUTER, reason=words)
        return row

    async def _confirm(self, row: Row, height: int) -> Row:
        # `height` was asked before: if it is past the window's end, and with it the timeout height, a transaction that
        # is not found now will be in no block
        found = await self._sender.find(row)
        if found is not None:
            return await self._sender.delivered(row, found, height)
        if height > row.window_end:
            return await self._give_up(row)
        if height >= row.window_end:
            return row  # what is sent now is for the next block, which is too late; what was sent may be in this one
        if row.state == "signed" or height >= self._sent_at.get(row.nonce, 0) + _RESEND_BLOCKS:
            self._sent_at[row.nonce] = height
            return await self._sender.send(row)
        return row

    async def _give_up(self, row: Row) -> Row:
        # one node must say all of it: that the window has ended, and that it holds neither transaction nor value
        node = self._client.pinned()
        if await node.height() <= row.window_end:
            return row
        found = await self._sender.find(row, node)
        if found is not None:
            return await self._sender.delivered(row, found, row.window_end)
        if await self._role.held(node, self.topic.id, row.nonce, self._address):
            words = "found on chain without its transaction"
            return self._journal.move(row.nonce, "included", reason_code=Reason.WITHOUT_TRANSACTION, reason=words)
        return self._missed(row)

    async def _predict(self, row: Row, ask: Ask, height: int) -> Row:
        left = self._clock.wall_seconds(self.block * max(row.window_end - _MARGIN_BLOCKS - height, 1))
        answer = await ask(row.nonce, max(left, _LEAST_SECONDS))
        return self._journal.predicted(
            row.nonce,
            value=answer.value,
            payload=answer.payload,
            predicted_for=answer.predicted_for,
            bundle=answer.bundle,
            model_version=answer.model_version,
            rung=answer.rung,
        )

    def _forget(self, nonce: int) -> None:
        self._why.pop(nonce, None)
        self._sent_at.pop(nonce, None)
