"""Signing and sending one submission: its payload or none, and the hash is looked up before anything is signed anew."""

from __future__ import annotations

import logging
from collections.abc import Callable

from crucible.chain.account import Account
from crucible.chain.client import ChainClient, Inclusion
from crucible.chain.error_table import Kind, classify, recognise
from crucible.chain.fees import required_fee
from crucible.chain.transaction import sign, unsigned
from crucible.errors import ChainError, FeeAboveCap, NodeUnreachable, SequenceMismatch, TxRejected, Withheld
from crucible.worker.journal import Journal, Row, Value
from crucible.worker.reasons import Reason
from crucible.worker.roles.role import Role

_LOG = logging.getLogger(__name__)
_MORE_GAS = 1.5  # what a delivery that ran out of gas is multiplied with
_DELIVERIES = 4  # a payload that fails in a block costs its fee; after so many it is given up
_SIGNINGS = 3  # in one attempt
_LAST_CALL_BLOCKS, _LAST_CALL_SHARE = 4, 5  # so many blocks before the window ends, or a fifth of it


class Sender:
    """Signs and broadcasts the payloads of one wallet in one topic; every step is journalled before it is taken.

    Parameters
    ----------
    account : Account
        The wallet, shared by all its topics.
    journal : Journal
        Where it is recorded.
    role : Role
        What is sent.
    topic_id : int
        The topic.
    may_sign : callable
        ``may_sign(address, topic_id)`` is asked before every signature: whether this host may submit.

    Attributes
    ----------
    why : dict of int to tuple
        By nonce, the newest reason, and its words, why its payload is in no block so far.
    """

    def __init__(
        self, account: Account, journal: Journal, role: Role, topic_id: int, may_sign: Callable[[str, int], bool]
    ) -> None:
        self._account, self._journal, self._role, self._topic_id = account, journal, role, topic_id
        self._client, self._wallet = account.client, account.wallet
        self._may_sign = may_sign
        self._failed: dict[int, set[str]] = {}  # by nonce: hashes of the deliveries that failed
        self._starved: dict[int, int] = {}  # by nonce: how many of them ran out of gas
        self._poor: dict[int, int] = {}  # by nonce: fees that were too low
        self._asked: dict[int, int] = {}  # by nonce: the fee that a node asked for, uallo
        self._unsent: set[str] = set()  # hashes of signatures that no node has taken, nor failed to answer for
        self.why: dict[int, tuple[Reason, str]] = {}

    async def submit(self, row: Row) -> Row:
        """Sign the payload of ``row``, record it, and send it.

        Parameters
        ----------
        row : Row
            In a state that ``signed`` may follow, with a value.

        Raises
        ------
        Withheld
            If another host holds the lease.
        ChainError
            If the chain would refuse it, or cannot be asked; nothing was sent then.
        """
        async with self._account.sequencer.turn(row.window_end):
            if self._client.newest >= row.window_end:
                words = "The wallet's other submissions took their turns until the window was over."
                raise Withheld(Reason.CROWDED, words)
            return await self._send(await self._sign(row))

    async def sign(self, row: Row) -> Row:
        """Sign the payload of ``row`` and record it; nothing is sent. Raises as :meth:`submit`."""
        async with self._account.sequencer.turn(row.window_end):
            return await self._sign(row)

    async def send(self, row: Row) -> Row:
        """Broadcast the signed bytes of ``row`` again.

        With no answer the row stays as it is: it is looked up before it is sent once more.
        """
        async with self._account.sequencer.turn(row.window_end):
            return await self._send(row)

    async def find(self, row: Row, client: ChainClient | None = None) -> Inclusion | None:
        """Return what became of any transaction that was ever signed for ``row``, or ``None``.

        A success of any of them counts, a failure only of the newest: after an older one's it was signed anew, and that
        is still under way.
        """
        for tx_hash in self._journal.hashes(row.nonce):
            found = await (client or self._client).find(tx_hash)
            if found is not None and (found.code == 0 or tx_hash == row.tx_hash):
                return found
        return None

    async def delivered(self, row: Row, found: Inclusion, height: int) -> Row:
        """Record what a block made of ``row``; a failure that another signing can cure is signed and sent anew.

        What fails again and again should not use up its deliveries while the cause lasts: see :func:`_again`. That the
        window is closed, or the value there already, is believed only if a simulation or the chain's state says so too.
        """
        assert row.tx_hash is not None
        if found.code == 0:
            return self._journal.move(row.nonce, "included", height=found.height, code=0)
        meaning = classify(found.codespace, found.code, found.log)
        reason = Reason(meaning.reason)
        words = f"{meaning.meaning} ({found.codespace} code {found.code})"
        outcome: dict[str, Value] = {
            "height": found.height, "code": found.code, "reason_code": reason, "reason": words,
        }  # fmt: skip
        if meaning.kind is Kind.ALREADY and await self._held(row):
            return self._journal.move(row.nonce, "included", **outcome)
        if meaning.kind is not Kind.FATAL and height < row.window_end:
            failed = self._failed.setdefault(row.nonce, set())
            if row.tx_hash not in failed:
                failed.add(row.tx_hash)
                self._starved[row.nonce] = self._starved.get(row.nonce, 0) + (reason is Reason.OUT_OF_GAS)
                self.why[row.nonce] = reason, words
            if len(failed) < _DELIVERIES:
                if height < _again(row, found.height, len(failed)):
                    return row
                _LOG.warning("nonce %d failed in block %d: %s; it is signed anew", row.nonce, found.height, words)
                try:
                    return await self.submit(row)
                except NodeUnreachable:
                    raise
                except (ChainError, Withheld) as error:
                    known = recognise(str(error))
                    if known is None or known.kind not in (Kind.MISSED, Kind.ALREADY):
                        raise
                    _LOG.warning("nonce %d: the simulation agrees: %s", row.nonce, error)
        return self._journal.move(row.nonce, "missed" if meaning.kind is Kind.MISSED else "rejected", **outcome)

    async def _sign(self, row: Row, sequence: int | None = None) -> Row:
        if not self._may_sign(self._wallet.address, self._topic_id):
            raise Withheld(Reason.NO_LEASE, f"Another host submits for {self._wallet.address} in this topic.")
        sequencer, fee = self._account.sequencer, self._account.fee
        message = self._role.message(self._wallet, self._topic_id, row)
        number, following = await sequencer.next()
        turn = following if sequence is None else sequence
        try:
            used = await self._client.simulate(unsigned(message, self._wallet, turn))
        except SequenceMismatch as mismatch:
            sequencer.learn(mismatch.expected)
            number, turn = await sequencer.next()
            used = await self._client.simulate(unsigned(message, self._wallet, turn))
        gas = int(used * fee.headroom * _MORE_GAS ** self._starved.get(row.nonce, 0))
        poor = self._poor.get(row.nonce, 0)
        price = await self._account.price(fresh=poor > 0)
        try:
            amount = fee.amount(gas, price, attempt=poor, required=self._asked.get(row.nonce, 0))
        except FeeAboveCap:
            # what a node asked for may have been nonsense, or a moment's: the next attempt asks the market again
            self._poor.pop(row.nonce, None)
            self._asked.pop(row.nonce, None)
            await self._account.price(fresh=True)
            raise
        signed = sign(
            message, self._wallet, chain_id=self._account.chain_id, number=number, sequence=turn, gas=gas, fee=amount,
            timeout_height=row.window_end,
        )  # fmt: skip
        row = self._journal.move(
            row.nonce, "signed", tx_hash=signed.hash, tx_content=signed.content, sequence=turn, fee=amount
        )
        self._unsent.add(signed.hash)
        return row

    async def _send(self, row: Row, signings: int = _SIGNINGS - 1) -> Row:
        assert row.tx_content is not None
        assert row.tx_hash is not None
        assert row.sequence is not None
        try:
            await self._client.broadcast(row.tx_content, row.tx_hash)
        except SequenceMismatch as mismatch:
            return await self._out_of_turn(row, mismatch, signings)
        except TxRejected as refusal:
            return await self._refused(row, refusal, signings)
        except NodeUnreachable as error:
            _LOG.warning("nonce %d: no answer to the broadcast; its hash is looked up first (%s)", row.nonce, error)
            self.why[row.nonce] = Reason.NODE_UNREACHABLE, str(error)
            self._unsent.discard(row.tx_hash)
            # it may have been taken; if it was not, whoever comes next fills the gap with these very bytes
            self._account.sequencer.accepted(row.sequence)
            return row
        return self._accepted(row)

    async def _out_of_turn(self, row: Row, mismatch: SequenceMismatch, signings: int) -> Row:
        assert row.tx_hash is not None
        assert row.sequence is not None
        sequencer = self._account.sequencer
        self.why[row.nonce] = Reason.SEQUENCE, mismatch.raw_log
        account = await self._client.account(self._wallet.address)
        # asked after the account: a block in between can then not hide our own transaction
        found = await self.find(row)
        if found is not None:
            sequencer.learn(None)
            return await self._delivered_in_turn(row, found)
        committed = account.sequence if account else 0
        wanted = max(committed, mismatch.expected or 0)
        sequencer.learn(wanted)
        if wanted < row.sequence and signings and await self._fill(wanted, row):
            return await self._send(row, signings - 1)
        if row.tx_hash in self._unsent:
            # refused at the first sending, so these bytes are nowhere
            return await self._send(await self._sign(row, wanted), signings - 1) if signings else row
        if committed <= row.sequence or not signings:
            # a transaction with this number may wait in a mempool, perhaps this very one; the next block tells
            return row
        if await self._held(row):
            return self._journal.move(row.nonce, "included", **_WITHOUT_TRANSACTION)
        return await self._send(await self._sign(row, wanted), signings - 1)

    async def _fill(self, start: int, row: Row) -> bool:
        """Send again what this wallet has signed with the numbers from ``start`` to that of ``row``."""
        filled = False
        for other in self._journal.under_way():
            if other.sequence is None or other.tx_content is None or other.tx_hash is None:
                continue
            if start <= other.sequence < (row.sequence or 0) and other.window_end >= row.nonce:
                try:
                    await self._client.broadcast(other.tx_content, other.tx_hash)
                except TxRejected:
                    continue  # whoever submits it looks into that
                filled = True
                self._account.sequencer.accepted(other.sequence)
        return filled

    async def _refused(self, row: Row, refusal: TxRejected, signings: int) -> Row:
        meaning = classify(refusal.codespace, refusal.code, refusal.raw_log)
        words = f"{meaning.meaning} ({refusal.codespace} code {refusal.code})"
        if meaning.kind is Kind.PENDING:
            return self._accepted(row)
        # this sending is refused; an earlier one of the same bytes may be in a block
        found = await self.find(row)
        if found is not None:
            return await self._delivered_in_turn(row, found)
        reason = Reason(meaning.reason)
        self.why[row.nonce] = reason, words
        if reason is Reason.FEE_TOO_LOW:
            self._poor[row.nonce] = self._poor.get(row.nonce, 0) + 1
            self._asked[row.nonce] = required_fee(refusal.raw_log)
            # the sequence stays, so that of the two signatures only one can ever be in a block
            signed = await self._sign(row, row.sequence)
            return await self._send(signed, signings - 1) if signings else signed
        if meaning.kind in (Kind.RETRY, Kind.FUNDS) or row.tx_hash not in self._unsent:
            return row  # the same bytes, at the next look; if they were taken before, the end of the window tells
        state = "missed" if meaning.kind is Kind.MISSED else "rejected"
        self._account.sequencer.learn(None)
        return self._journal.move(row.nonce, state, code=refusal.code, reason_code=reason, reason=words)

    async def _delivered_in_turn(self, row: Row, found: Inclusion) -> Row:
        # a failure is taken up at the next look, which finds it again without holding the wallet
        return await self.delivered(row, found, found.height) if found.code == 0 else row

    async def _held(self, row: Row) -> bool:
        return await self._role.held(self._client, self._topic_id, row.nonce, self._wallet.address)

    def _accepted(self, row: Row) -> Row:
        assert row.tx_hash is not None
        assert row.sequence is not None
        self._unsent.discard(row.tx_hash)
        self._account.sequencer.accepted(row.sequence)
        return row if row.state == "broadcast" else self._journal.move(row.nonce, "broadcast")


def _again(row: Row, failed_at: int, failures: int) -> int:
    """Return the height from which a payload is signed again: at once, half-way to the end, and at the last call."""
    left = row.window_end - failed_at
    if failures == 1:
        return failed_at
    if failures == 2:
        return failed_at + left // 2
    return row.window_end - max(_LAST_CALL_BLOCKS, (row.window_end - row.nonce) // _LAST_CALL_SHARE)


_WITHOUT_TRANSACTION = {
    "reason_code": Reason.WITHOUT_TRANSACTION,
    "reason": "found on chain without its transaction",
}
