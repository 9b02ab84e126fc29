"""The chain itself, without sockets: accounts, mempool, blocks stepped by call, topics, events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from crucible.localnet import ante
from crucible.localnet.abci import Refusal, sdk
from crucible.localnet.ante import Transaction
from crucible.localnet.events import Event
from crucible.localnet.ledger import Account, Ledger
from crucible.localnet.messages import HANDLERS, Context, Handler
from crucible.localnet.topic import Topic, TopicSpec

_KEPT = 5_000


@dataclass(frozen=True)
class TxResult:
    """What became of a transaction in a block."""

    hash: str
    height: int
    code: int
    codespace: str
    log: str
    gas_wanted: int
    gas_used: int


@dataclass
class Faults:
    """Misbehaviour on command, for tests and drills.

    Attributes
    ----------
    refuse : tuple or None
        ``(codespace, code, text)`` with which the next CheckTx is refused.
    lose_responses : int
        How many of the next broadcasts are accepted and then answered with an error.
    inclusion_delay : int
        How many blocks a transaction waits in the mempool.
    halted : bool
        No blocks are made.
    """

    refuse: tuple[str, int, str] | None = None
    lose_responses: int = 0
    inclusion_delay: int = 0
    halted: bool = False


@dataclass
class Core:
    """A chain. Times are Unix seconds of the chain's own clock.

    Parameters
    ----------
    chain_id : str
        For example ``allora-testnet-1``.
    """

    chain_id: str
    height: int = 0
    time: float = 0.0
    ledger: Ledger = field(default_factory=Ledger)
    topics: dict[int, Topic] = field(default_factory=dict)
    results: dict[str, TxResult] = field(default_factory=dict)
    times: dict[int, float] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    listeners: list[Callable[[int, list[Event]], None]] = field(default_factory=list)
    _pending: list[tuple[int, Transaction]] = field(default_factory=list)
    _checked: Ledger = field(default_factory=Ledger)

    def add_topic(self, spec: TopicSpec) -> None:
        """Create a topic, or bring the description of an existing one up to date."""
        if spec.id in self.topics:
            self.topics[spec.id].spec = spec
        else:
            self.topics[spec.id] = Topic(spec)

    def fund(self, address: str, amount: int) -> None:
        """Credit an account outside of any transaction, as the faucet does."""
        self.ledger.credit(address, amount)
        self._checked.credit(address, amount)
        # both states must agree on the account's number
        self._checked.accounts[address].number = self.ledger.accounts[address].number

    def pending_account(self, address: str) -> Account:
        """Return the account as CheckTx sees it, transactions in the mempool included."""
        return self._checked.accounts[address]

    def broadcast(self, content: bytes) -> tuple[str, Refusal | None]:
        """Run CheckTx and queue the transaction; return its hash and the refusal, if any.

        A transaction that is refused here is never seen again.
        """
        transaction = None
        try:
            transaction = ante.decode(content)
            if self.faults.refuse:
                codespace, code, log = self.faults.refuse
                self.faults.refuse = None
                raise Refusal(codespace, code, log)
            if transaction.hash in self.results or any(tx.hash == transaction.hash for _, tx in self._pending):
                raise sdk(19, "tx already in mempool")
            messages = self._messages(transaction)
            ante.check(self._checked, transaction, _signer(messages), chain_id=self.chain_id, height=self.height + 1)
        except Refusal as refusal:
            return transaction.hash if transaction else "", refusal
        self._pending.append((self.height + 1 + self.faults.inclusion_delay, transaction))
        return transaction.hash, None

    def simulate(self, content: bytes) -> int:
        """Return the gas that a transaction would use; signatures and fees are not looked at.

        Raises
        ------
        Refusal
            If a message would fail.
        """
        messages = self._messages(ante.decode(content))
        context = Context(self.ledger.copy(), self.topics, self.height + 1)
        for handler, message in messages:
            handler.run(context, message)
        return sum(handler.gas for handler, _ in messages)

    def step(self, time: float) -> list[Event]:
        """Make one block at ``time``: deliver what is due, end the block, and return its events."""
        self.height += 1
        self.time = time
        self.times[self.height] = time
        events: list[Event] = []
        due = [transaction for height, transaction in self._pending if height <= self.height]
        self._pending = [(height, transaction) for height, transaction in self._pending if height > self.height]
        for transaction in due:
            result, happened = self._deliver(transaction)
            self.results[transaction.hash] = result
            events += happened
        for topic in self.topics.values():
            events += topic.end_block(self.height, time)
        self._recheck()
        self.results = dict(list(self.results.items())[-_KEPT:]) if len(self.results) > 2 * _KEPT else self.results
        self.times = dict(list(self.times.items())[-_KEPT:]) if len(self.times) > 2 * _KEPT else self.times
        for listener in self.listeners:
            listener(self.height, events)
        return events

    def _deliver(self, transaction: Transaction) -> tuple[TxResult, list[Event]]:
        used, wanted = 0, transaction.gas_limit
        try:
            messages = self._messages(transaction)
            ante.check(self.ledger, transaction, _signer(messages), chain_id=self.chain_id, height=self.height)
        except Refusal as refusal:
            return self._result(transaction, refusal, refusal.log, 0), []
        # fee and sequence are spent from here on; messages change a copy, which failure throws away
        context = Context(self.ledger.copy(), self.topics, self.height)
        for position, (handler, message) in enumerate(messages):
            used += handler.gas
            try:
                if used > wanted:
                    raise sdk(
                        11, f"out of gas in location: WriteFlat; gasWanted: {wanted}, gasUsed: {used}: out of gas"
                    )
                handler.run(context, message)
            except Refusal as refusal:
                log = f"failed to execute message; message index: {position}: {refusal.log}"
                return self._result(transaction, refusal, log, min(used, wanted)), []
        self.ledger = context.ledger
        self.topics.update(context.changed)
        return self._result(transaction, None, "", used), context.events

    def _result(self, transaction: Transaction, refusal: Refusal | None, log: str, used: int) -> TxResult:
        return TxResult(
            hash=transaction.hash,
            height=self.height,
            code=refusal.code if refusal else 0,
            codespace=refusal.codespace if refusal else "",
            log=log,
            gas_wanted=transaction.gas_limit,
            gas_used=used,
        )

    def _recheck(self) -> None:
        # as CometBFT does after each block: pending starts from committed, and what no longer fits goes
        self._checked = self.ledger.copy()
        kept = []
        for height, transaction in self._pending:
            try:
                signer = _signer(self._messages(transaction))
                ante.check(self._checked, transaction, signer, chain_id=self.chain_id, height=self.height + 1)
            except Refusal:
                continue
            kept.append((height, transaction))
        self._pending = kept

    def _messages(self, transaction: Transaction) -> list[tuple[Handler, Any]]:
        found = []
        for item in transaction.body.messages:
            handler = HANDLERS.get(item.type_url)
            if handler is None:
                raise sdk(2, f"unable to resolve type URL {item.type_url}: tx parse error")
            found.append((handler, handler.parse(item.value)))
        return found

    def to_json(self) -> dict[str, Any]:
        """Return everything that outlives a restart, as plain values."""
        return {
            "chain_id": self.chain_id,
            "height": self.height,
            "time": self.time,
            "ledger": self.ledger.to_json(),
            "topics": [topic.to_json() for topic in self.topics.values()],
            "results": [asdict(result) for result in self.results.values()],
            "times": {str(height): time for height, time in self.times.items()},
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the chain that :meth:`to_json` described."""
        topics = [Topic.from_json(topic) for topic in values["topics"]]
        results = [TxResult(**result) for result in values["results"]]
        core = cls(
            chain_id=values["chain_id"],
            height=values["height"],
            time=values["time"],
            ledger=Ledger.from_json(values["ledger"]),
            topics={topic.spec.id: topic for topic in topics},
            results={result.hash: result for result in results},
            times={int(height): time for height, time in values["times"].items()},
        )
        core._checked = core.ledger.copy()
        return core


def _signer(messages: list[tuple[Handler, Any]]) -> str:
    signers = {handler.signer(message) for handler, message in messages}
    if len(signers) != 1:
        raise sdk(4, "all messages of a transaction must have one signer: unauthorized")
    return signers.pop()
