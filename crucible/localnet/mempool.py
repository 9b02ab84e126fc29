"""Transactions that wait for a block, and what their messages are."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

from crucible.localnet.abci import Refusal, sdk
from crucible.localnet.ante import Transaction
from crucible.localnet.context import Context, Handler
from crucible.localnet.events import Event
from crucible.localnet.messages import HANDLERS
from crucible.wire_types import refuse_ill_typed

_LOG = logging.getLogger(__name__)

LARGEST_MEMPOOL = 5_000
"""Transactions: CometBFT's default."""

Parsed = list[tuple[Handler, Any]]


@dataclass(frozen=True)
class TxResult:
    """What became of a transaction in a block. ``index`` is its place in it."""

    hash: str
    height: int
    code: int
    codespace: str
    log: str
    gas_wanted: int
    gas_used: int
    index: int = 0
    content: str = ""
    events: tuple[Event, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without content and events: ten thousand of them would make every save slow."""
        return asdict(replace(self, content="", events=()))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TxResult:
        """Return the result that :meth:`to_json` described."""
        return cls(**{**values, "events": tuple(values["events"])})


def parse_messages(transaction: Transaction) -> Parsed:
    """Return the handler and the decoded form of each message.

    Raises
    ------
    Refusal
        sdk 2 for an unknown type, or bytes that are no such message.
    """
    if transaction.parsed:
        return transaction.parsed
    found: Parsed = []
    for item in transaction.body.messages:
        handler = HANDLERS.get(item.type_url)
        if handler is None:
            raise sdk(2, f"unable to resolve type URL {item.type_url[:80]}: tx parse error")
        try:
            message = handler.parse(item.value)
            refuse_ill_typed(message, strict=True)
            handler.signer(message)
        except Exception as error:  # whatever the decoder stumbles over, it is the sender's doing
            words = str(error) if isinstance(error, ValueError) else type(error).__name__
            raise sdk(2, f"{words[:200]}: tx parse error") from error
        found.append((handler, message))
    transaction.parsed.extend(found)
    return found


def run_message(handler: Handler, context: Context, message: Any) -> None:
    """Run one message.

    Raises
    ------
    Refusal
        The handler's own, or, as the chain recovers from a panic, undefined 111222 for whatever it did not foresee.
    """
    try:
        handler.run(context, message)
    except Refusal:
        raise
    except Exception as error:
        _LOG.exception("a message handler failed")
        raise Refusal("undefined", 111222, f"recovered: {type(error).__name__}: panic") from error


def signer_of(messages: Parsed) -> str:
    """Return the one signer of all messages; anything else is refused with sdk 4."""
    signers = {handler.signer(message) for handler, message in messages}
    if len(signers) != 1:
        raise sdk(4, "all messages of a transaction must have one signer: unauthorized")
    return signers.pop()
