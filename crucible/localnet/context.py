"""What the messages of one transaction may change: copies, which failure throws away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from betterproto2 import Message

from crucible.localnet.abci import emissions, sdk
from crucible.localnet.events import Event, typed
from crucible.localnet.keys import address_of, verifies
from crucible.localnet.ledger import DENOM, Ledger
from crucible.localnet.module import Module
from crucible.localnet.topic import Topic
from crucible.localnet.topic_clock import update_activity
from crucible.localnet.whitelists import Whitelists


@dataclass
class Context:
    """The state as one transaction sees it.

    Attributes
    ----------
    topics : mapping
        As committed; :meth:`topic` hands out copies, which are collected in ``changed``.
    events : list
        Of the transaction.
    """

    ledger: Ledger
    topics: Mapping[int, Topic]
    whitelists: Whitelists
    module: Module
    height: int
    events: list[Event] = field(default_factory=list)
    changed: dict[int, Topic] = field(default_factory=dict)

    def topic(self, topic_id: int, code: int) -> Topic:
        """Return the topic or refuse with ``code``."""
        if topic_id in self.changed:
            return self.changed[topic_id]
        if topic_id not in self.topics:
            words = "invalid topic ID" if code == 6 else "topic does not exist"
            raise emissions(code, f"topic {topic_id}: {words}")
        self.changed[topic_id] = self.topics[topic_id].clone()
        return self.changed[topic_id]

    def add_topic(self, make: Callable[[int], Topic]) -> Topic:
        """Make a topic with the next number."""
        number = max([*self.topics, *self.changed], default=0) + 1
        self.changed[number] = make(number)
        return self.changed[number]

    def pay(self, sender: str, amount: int) -> None:
        """Take ``amount`` uallo from ``sender``."""
        if not self.ledger.debit(sender, amount):
            account = self.ledger.accounts.get(sender)
            held = account.balance if account else 0
            raise sdk(5, f"spendable balance {held}{DENOM} is smaller than {amount}{DENOM}: insufficient funds")

    def pay_revenue(self, sender: str, topic: Topic, amount: int) -> None:
        """Move ``amount`` uallo into the topic's pot of fees, which may wake the topic."""
        self.pay(sender, amount)
        topic.fee_revenue += amount
        self.wake(topic)

    def wake(self, topic: Topic) -> None:
        """Make the topic active if its weight suffices."""
        for event in update_activity(topic, self.height):
            self.emit(event)

    def emit(self, message: Message) -> None:
        """Record an event of the transaction."""
        self.events.append(typed(message, mode=""))


@dataclass(frozen=True)
class Handler:
    """How one message type is read, who signs it, what gas it takes, and what it does."""

    parse: Callable[[bytes], Any]
    signer: Callable[[Any], str]
    gas: int
    run: Callable[[Context, Any], None]


def check_signed(owner: str, pubkey: str, signature: bytes, signed: bytes) -> None:
    """Check that ``owner`` signed the inner bundle ``signed``; ``pubkey`` is hex of 33 bytes.

    Raises
    ------
    Refusal
        emissions 26 if the key is not the owner's, sdk 4 if the signature does not verify.
    """
    try:
        public = bytes.fromhex(pubkey)
    except ValueError:
        public = b""
    if len(public) != 33 or address_of(public) != owner:
        raise emissions(26, "pubkey does not belong to the worker: validation failed")
    if not verifies(public, signature, signed):
        raise sdk(4, "signature verification failed: unauthorized")
