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
    """One refusal: codespace, code (or words of the log for plain Go errors), kind, reason code and meaning.

    ``reason`` is what the journal records if the submission ends with it; see :mod:`crucible.worker.reasons`. ``said``
    are the chain's own words for it: a simulation's refusal has no code, only these.
    """

    codespace: str
    code: int
    words: str
    kind: Kind
    reason: str
    meaning: str
    said: str = ""


ERROR_TABLE = (
    Row(
        "emissions",
        67,
        "",
        Kind.MISSED,
        "window_closed",
        "the worker window is not open",
        "worker nonce window not available",
    ),
    Row(
        "emissions",
        68,
        "",
        Kind.MISSED,
        "window_closed",
        "the reputer window is not open",
        "reputer nonce window not available",
    ),
    Row(
        "emissions",
        75,
        "",
        Kind.MISSED,
        "nonce_fulfilled",
        "the nonce is no longer waited for",
        "unfulfilled nonce not found",
    ),
    Row(
        "emissions",
        78,
        "",
        Kind.ALREADY,
        "duplicate",
        "the score average was updated in this window already",
        "cannot update EMA more than once per window",
    ),
    Row(
        "undefined",
        1,
        "already submitted",
        Kind.ALREADY,
        "duplicate",
        "this worker has submitted for this nonce already",
        "already submitted",
    ),
    Row(
        "emissions",
        13,
        "",
        Kind.FATAL,
        "not_registered",
        "the worker is not registered in the topic",
        "address not registered",
    ),
    Row("emissions", 6, "", Kind.FATAL, "no_topic", "the topic does not exist", "invalid topic ID"),
    Row(
        "emissions",
        45,
        "",
        Kind.RETRY,
        "worker_nonce_open",
        "the worker window of this nonce is not closed yet",
        "nonce still unfulfilled",
    ),
    Row("emissions", 17, "", Kind.FATAL, "low_stake", "the reputer's stake is below the required minimum"),
    Row("emissions", 26, "", Kind.FATAL, "malformed", "the payload is malformed", "validation failed"),
    Row("sdk", 32, "", Kind.SEQUENCE, "sequence", "another transaction of this wallet came first"),
    Row("sdk", 19, "", Kind.PENDING, "not_in_a_block", "the node has this very transaction already"),
    Row(
        "sdk",
        30,
        "",
        Kind.MISSED,
        "window_closed",
        "the window ended before the transaction was in a block",
        "tx timeout height",
    ),
    Row("sdk", 13, "", Kind.RETRY, "fee_too_low", "the fee is below the market"),
    Row("sdk", 11, "", Kind.RETRY, "out_of_gas", "the gas limit was too low", "out of gas"),
    Row("sdk", 20, "", Kind.RETRY, "mempool_full", "the node's mempool is full"),
    Row("sdk", 5, "", Kind.FUNDS, "no_funds", "the wallet's balance is too low", "insufficient funds"),
    Row("sdk", 4, "", Kind.FATAL, "bad_signature", "the signature does not verify", "signature verification failed"),
    Row("sdk", 9, "", Kind.FATAL, "no_funds", "the account does not exist; fund it first", "unknown address"),
    Row("sdk", 2, "", Kind.FATAL, "malformed", "the node cannot decode the transaction", "tx parse error"),
)
"""The first row that fits decides."""

_EXPECTED = re.compile(r"expected (\d{1,19})")


def classify(codespace: str, code: int, log: str) -> Row:
    """Return the row for a refusal; an unknown one is fatal, with the chain's own words as its meaning."""
    for row in ERROR_TABLE:
        if (row.codespace, row.code) == (codespace, code) and row.words in log:
            return row
    return Row(codespace, code, "", Kind.FATAL, "refused", log)


def recognise(text: str) -> Row | None:
    """Return the row whose words are in a refusal that came without a code, as a simulation's does, or ``None``."""
    return next((row for row in ERROR_TABLE if row.said and row.said in text), None)


def expected_sequence(log: str) -> int | None:
    """Return the sequence that a refusal's text says is expected, or ``None``."""
    found = _EXPECTED.search(log)
    return int(found[1]) if found else None


def rejection(codespace: str, code: int, log: str, tx_hash: str) -> TxRejected:
    """Return the exception for a refusal."""
    if classify(codespace, code, log).kind is Kind.SEQUENCE:
        return SequenceMismatch(expected_sequence(log), log, tx_hash)
    return TxRejected(code, codespace, log, tx_hash)
