"""What the chain's refusals mean, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from crucible.errors import SequenceMismatch, TxRejected


class Kind(Enum):
    """What a worker does about a refusal."""

    MISSED = "missed"
    ALREADY = "already"
    SEQUENCE = "sequence"
    PENDING = "pending"
    RETRY = "retry"
    FUNDS = "funds"
    FATAL = "fatal"


@dataclass(frozen=True)
class Row:
    """One refusal: codespace, code (or words of the log for plain Go errors), kind and meaning."""

    codespace: str
    code: int
    words: str
    kind: Kind
    meaning: str


ERROR_TABLE = (
    Row("emissions", 67, "", Kind.MISSED, "the worker window is not open"),
    Row("emissions", 68, "", Kind.MISSED, "the reputer window is not open"),
    Row("emissions", 75, "", Kind.MISSED, "the nonce is no longer waited for"),
    Row("emissions", 78, "", Kind.ALREADY, "the score average was updated in this window already"),
    Row("undefined", 1, "already submitted", Kind.ALREADY, "this worker has submitted for this nonce already"),
    Row("emissions", 13, "", Kind.FATAL, "the worker is not registered in the topic"),
    Row("emissions", 6, "", Kind.FATAL, "the topic does not exist"),
    Row("emissions", 26, "", Kind.FATAL, "the payload is malformed"),
    Row("sdk", 32, "", Kind.SEQUENCE, "another transaction of this wallet came first"),
    Row("sdk", 19, "", Kind.PENDING, "the node has this very transaction already"),
    Row("sdk", 30, "", Kind.MISSED, "the window ended before the transaction was in a block"),
    Row("sdk", 13, "", Kind.RETRY, "the fee is below the market"),
    Row("sdk", 11, "", Kind.RETRY, "the gas limit was too low"),
    Row("sdk", 20, "", Kind.RETRY, "the node's mempool is full"),
    Row("sdk", 5, "", Kind.FUNDS, "the wallet's balance is too low"),
    Row("sdk", 4, "", Kind.FATAL, "the signature does not verify"),
    Row("sdk", 9, "", Kind.FATAL, "the account does not exist; fund it first"),
    Row("sdk", 2, "", Kind.FATAL, "the node cannot decode the transaction"),
)
"""The first row that fits decides."""

_EXPECTED = re.compile(r"expected (\d+)")


def classify(codespace: str, code: int, log: str) -> Row:
    """Return the row for a refusal; an unknown one is fatal, with the chain's own words as its meaning."""
    for row in ERROR_TABLE:
        if (row.codespace, row.code) == (codespace, code) and row.words in log:
            return row
    return Row(codespace, code, "", Kind.FATAL, log)


def rejection(codespace: str, code: int, log: str, tx_hash: str) -> TxRejected:
    """Return the exception for a refusal."""
    if classify(codespace, code, log).kind is Kind.SEQUENCE:
        found = _EXPECTED.search(log)
        return SequenceMismatch(int(found[1]) if found else None, log, tx_hash)
    return TxRejected(code, codespace, log, tx_hash)
