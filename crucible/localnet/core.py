"""The chain itself, without sockets: accounts, mempool, blocks stepped by call, topics, events."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

from crucible.localnet import ante, topic_clock
from crucible.localnet.abci import Refusal, emissions, sdk
from crucible.localnet.ante import Transaction
from crucible.localnet.context import Context
from crucible.localnet.decimals import payable
from crucible.localnet.events import Event, typed
from crucible.localnet.faults import Faults
from crucible.localnet.fee_market import FeeMarket
from crucible.localnet.ledger import DENOM, Account, Ledger
from crucible.localnet.mempool import LARGEST_MEMPOOL, TxResult, parse_messages, run_message, signer_of
from crucible.localnet.messages import topic_id_of
from crucible.localnet.module import Module
from crucible.localnet.settlement import settle_nonce
from crucible.localnet.stakes import finish_removals
from crucible.localnet.topic import Nonce, Topic, TopicSpec
from crucible.localnet.topic_faults import apply_topic_faults
from crucible.localnet.whitelists import Whitelists
from crucible.network.emission import topic_rewards

_KEPT = 5_000

Listener = Callable[[int, list[Event]], None]


@dataclass
class Core:
    """A chain. Times are Unix seconds of the chain's own clock.

    Parameters
    ----------
    chain_id : str
        For example ``allora-testnet-1``.

    Attributes
    ----------
    listeners : list of callables
        Told the height and the block's own events after each block; those of transactions are in ``results``.
    included : list of TxResult
        The transactions of the last block.
    """

    chain_id: str
    height: int = 0
    time: float = 0.0
    ledger: Ledger = field(default_factory=Ledger)
    topics: dict[int, Topic] = field(default_factory=dict)
    results: dict[str, TxResult] = field(default_factory=dict)
    times: dict[int, float] = field(default_factory=dict)
    whitelists: Whitelists = field(default_factory=Whitelists)
    module: Module = field(default_factory=Module)
    market: FeeMarket = field(default_factory=FeeMarket)
    faults: Faults = field(default_factory=Faults)
    listeners: list[Listener] = field(default_factory=list)
    included: list[TxResult] = field(default_factory=list)
    largest_mempool: int = LARGEST_MEMPOOL
    _pending: list[tuple[int, Transaction]] = field(default_factory=list)
    _checked: Ledger = field(default_factory=Ledger)

    def add_topic(self, spec: TopicSpec) -> None:
        """Create a topic, or bring the description of an existing one up to date."""
        if spec.id in self.topics:
            self.topics[spec.id].spec, self.topics[spec.id].original = spec, None
        else:
            self.topics[spec.id] = Topic(spec)

    def fund(self, address: str, amount: int) -> None:
        """Credit an account outside of any transaction, as the faucet does."""
        self.ledger.credit(address, amount)
        self._checked.credit(address, amount)
        # both states must agree on the account's number
        self._checked.accounts[address].number = self.ledger.accounts[address].number

    def add_validator(self, address: str) -> None:
        """Make a validator (``allovaloper…``) to stake with."""
        for ledger in (self.ledger, self._checked):
            ledger.validators.setdefault(address, {})

    def pending_account(self, address: str) -> Account:
        """Return the account as CheckTx sees it, transactions in the mempool included."""
        return self._checked.accounts[address]

    @property
    def price(self) -> FeeMarket:
        """The fee market as clients see it: dearer while a fault makes it so."""
        times = self.faults.value("fee-spike", 1.0)
        return replace(self.market, price=self.market.price * times) if times != 1.0 else self.market

    @property
    def seen_height(self) -> int:
        """The height that queries know of: behind the chain while a fault makes it so."""
        return max(0, self.height - int(self.faults.value("node-behind", 0.0)))

    def broadcast(self, content: bytes, *, house: bool = False) -> tuple[str, Refusal | None]:
        """Run CheckTx and queue the transaction; return its hash and the refusal, if any.

        A transaction that is refused here is never seen again. Faults leave those of the ``house`` alone.
        """
        transaction = None
        try:
            transaction = ante.decode(content, house=house)
            messages = parse_messages(transaction)
            signer = signer_of(messages)
            topic = topic_id_of(messages[0][1])
            if not house:
                self._refuse_by_fault(transaction, signer, topic)
            if transaction.hash in self.results or any(tx.hash == transaction.hash for _, tx in self._pending):
                raise sdk(19, "tx already in mempool")
            if len(self._pending) >= self.largest_mempool:
                raise _full(len(self._pending), self.largest_mempool)
            self._ante(self._checked, transaction, signer, self.height + 1)
        except Refusal as refusal:
            return transaction.hash if transaction else "", refusal
        faults, wait = self.faults, 0
        if not house:
            late = faults.take("included-late", topic)
            wait = int(late.value) if late else faults.inclusion_delay
            if faults.take("tx-forgotten", topic):
                return transaction.hash, None
        self._pending.append((self.height + 1 + wait, transaction))
        if not house and faults.take("tx-in-cache", topic):
            return transaction.hash, sdk(19, "tx already in mempool")
        return transaction.hash, None

    def _refuse_by_fault(self, transaction: Transaction, signer: str, topic: int | None) -> None:
        faults = self.faults
        if faults.refuse:
            codespace, code, log = faults.refuse
            faults.refuse = None
            raise Refusal(codespace, code, log)
        if faults.take("broadcast-mismatch", topic):
            expected = transaction.sequence + 1
            raise sdk(32, mismatch(expected, transaction.sequence))
        if faults.take("mempool-full", topic):
            raise _full(self.largest_mempool, self.largest_mempool)
        if faults.take("fee-too-low", topic):
            needed = transaction.fee * 2 + 1
            raise sdk(13, f"got: {transaction.fee}{DENOM} required: {needed}{DENOM}: insufficient fee")
        if faults.active("wallet-unfunded"):
            raise sdk(
                5, f"{signer}: spendable balance 0{DENOM} is smaller than {transaction.fee}{DENOM}: insufficient funds"
            )

    def simulate(self, content: bytes) -> int:
        """Return the gas that a transaction would use; signatures and fees are not looked at.

        Raises
        ------
        Refusal
            If a message would fail.
        """
        messages = parse_messages(ante.decode(content))
        context = self._context(self.height + 1)
        for handler, message in messages:
            run_message(handler, context, message)
        return sum(handler.gas for handler, _ in messages)

    def step(self, time: float) -> list[Event]:
        """Make one block at ``time``: deliver what is due, end the block, and return the block's own events."""
        self.height += 1
        self.time = time
        self.times[self.height] = time
        waiting, self._pending = self._pending, []
        self.included = []
        for height, transaction in waiting:
            if height > self.height:
                self._pending.append((height, transaction))
                continue
            result = self._deliver(transaction)
            self.results[transaction.hash] = result
            self.included.append(result)
        events = [typed(message) for message in self._end_topics(time)]
        self.market.end_block(sum(result.gas_used for result in self.included))
        self._recheck()
        self.results = dict(list(self.results.items())[-_KEPT:]) if len(self.results) > 2 * _KEPT else self.results
        self.times = dict(list(self.times.items())[-_KEPT:]) if len(self.times) > 2 * _KEPT else self.times
        for listener in self.listeners:
            listener(self.height, events)
        return events

    def _end_topics(self, time: float) -> list[Any]:
        messages: list[Any] = []
        due: list[tuple[Topic, Nonce]] = []
        for topic in self.topics.values():
            messages += finish_removals(topic, self.ledger, self.height)
            messages += apply_topic_faults(topic, self.faults)
            messages += topic_clock.end_block(topic, self.height, time)
            due += [(topic, nonce) for nonce in topic_clock.due(topic, self.height)]
        rewards = self._topic_rewards([topic for topic, _ in due])
        for topic, nonce in due:
            settlement = settle_nonce(topic, nonce, self.height, rewards.get(str(topic.spec.id), 0.0))
            messages += settlement.events
            self.module.treasury -= payable(sum(sum(paid.values()) for paid in nonce.rewards.values()))
            for address, amount in settlement.liquid.items():
                self.ledger.credit(address, amount)
        return messages

    def _topic_rewards(self, due: list[Topic]) -> dict[str, float]:
        total = sum(topic.weight for topic in self.topics.values() if topic.runs)
        weighty = {str(topic.spec.id): topic for topic in due if topic.weight > 0}
        if not weighty or not total > 0:
            return {}
        return topic_rewards(
            {name: topic.weight for name, topic in weighty.items()},
            list(weighty),
            max(total, sum(topic.weight for topic in weighty.values())),
            float(max(self.module.treasury, 0)),
            {name: float(topic.spec.epoch_length) for name, topic in weighty.items()},
            float(self.module.block_emission),
        )

    def _context(self, height: int) -> Context:
        return Context(self.ledger.copy(), self.topics, self.whitelists.copy(), self.module, height)

    def _ante(self, ledger: Ledger, transaction: Transaction, signer: str, height: int) -> None:
        market = self.market if transaction.house else self.price
        ante.check(ledger, transaction, signer, chain_id=self.chain_id, height=height, market=market)

    def _deliver(self, transaction: Transaction) -> TxResult:
        used, wanted = 0, transaction.gas_limit
        try:
            messages = parse_messages(transaction)
            self._ante(self.ledger, transaction, signer_of(messages), self.height)
        except Refusal as refusal:
            return self._result(transaction, refusal, refusal.log, 0)
        # fee and sequence are spent from here on; messages change a copy, which failure throws away
        context = self._context(self.height)
        for position, (handler, message) in enumerate(messages):
            used += handler.gas
            try:
                if not transaction.house:
                    self._fail_by_fault(message, wanted)
                if used > wanted:
                    raise _out_of_gas(wanted, used)
                run_message(handler, context, message)
            except Refusal as refusal:
                log = f"failed to execute message; message index: {position}: {refusal.log}"
                return self._result(transaction, refusal, log, min(used, wanted))
        self.ledger, self.whitelists = context.ledger, context.whitelists
        self.topics.update(context.changed)
        return self._result(transaction, None, "", used, context.events)

    def _fail_by_fault(self, message: Any, wanted: int) -> None:
        topic = topic_id_of(message)
        if self.faults.take("out-of-gas", topic):
            raise _out_of_gas(wanted, wanted + 1)
        for code, words in (
            (68, "reputer nonce window not available"), (75, "unfulfilled nonce not found"),
            (78, "cannot update EMA more than once per window"),
        ):  # fmt: skip
            if self.faults.take(f"code-{code}", topic):
                raise emissions(code, words)

    def _result(
        self, transaction: Transaction, refusal: Refusal | None, log: str, used: int, events: list[Event] | None = None
    ) -> TxResult:
        return TxResult(
            hash=transaction.hash,
            height=self.height,
            code=refusal.code if refusal else 0,
            codespace=refusal.codespace if refusal else "",
            log=log,
            gas_wanted=transaction.gas_limit,
            gas_used=used,
            index=len(self.included),
            content=base64.b64encode(transaction.content).decode(),
            events=tuple(events or ()),
        )

    def _recheck(self) -> None:
        # as CometBFT does after each block: pending starts from committed, and what no longer fits goes
        self._checked = self.ledger.copy()
        kept = []
        for height, transaction in self._pending:
            try:
                signer = signer_of(parse_messages(transaction))
                self._ante(self._checked, transaction, signer, self.height + 1)
            except Refusal:
                continue
            kept.append((height, transaction))
        self._pending = kept

    def to_json(self) -> dict[str, Any]:
        """Return everything that outlives a restart, as plain values; faults do not."""
        return {
            "chain_id": self.chain_id,
            "height": self.height,
            "time": self.time,
            "ledger": self.ledger.to_json(),
            "topics": [topic.to_json() for topic in self.topics.values()],
            "results": [result.to_json() for result in self.results.values()],
            "times": {str(height): time for height, time in self.times.items()},
            "whitelists": self.whitelists.to_json(),
            "module": self.module.to_json(),
            "market": self.market.to_json(),
            "pending": [
                [height, base64.b64encode(transaction.content).decode(), transaction.house]
                for height, transaction in self._pending
            ],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the chain that :meth:`to_json` described."""
        topics = [Topic.from_json(topic) for topic in values["topics"]]
        results = [TxResult.from_json(result) for result in values["results"]]
        core = cls(
            chain_id=values["chain_id"],
            height=values["height"],
            time=values["time"],
            ledger=Ledger.from_json(values["ledger"]),
            topics={topic.spec.id: topic for topic in topics},
            results={result.hash: result for result in results},
            times={int(height): time for height, time in values["times"].items()},
            whitelists=Whitelists.from_json(values["whitelists"]),
            module=Module.from_json(values["module"]),
            market=FeeMarket.from_json(values["market"]),
        )
        core._pending = [
            (height, ante.decode(base64.b64decode(content), house=house))
            for height, content, house in values["pending"]
        ]
        core._recheck()
        return core


def mismatch(expected: int, got: int) -> str:
    """Return the chain's words for a wrong sequence."""
    return f"account sequence mismatch, expected {expected}, got {got}: incorrect account sequence"


def _full(count: int, most: int) -> Refusal:
    return sdk(20, f"mempool is full: number of txs {count} (max: {most}): mempool is full")


def _out_of_gas(wanted: int, used: int) -> Refusal:
    return sdk(11, f"out of gas in location: WriteFlat; gasWanted: {wanted}, gasUsed: {used}: out of gas")
