"""Why a submission ended as it did: every reason that a journal may record, as data.

``docs/reference/worker.md`` shows this table; a test holds the two together, and another reaches every row.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from crucible.chain.error_table import recognise
from crucible.errors import (
    BundleError,
    ChainError,
    CrucibleError,
    FeeAboveCap,
    GapError,
    NoAccount,
    NodeUnreachable,
    SourceError,
    StaleError,
    TxRejected,
    WalletError,
    Withheld,
)


class Reason(StrEnum):
    """The code of a reason; what it means stands in :data:`REASONS`."""

    WINDOW_CLOSED = "window_closed"
    NONCE_FULFILLED = "nonce_fulfilled"
    SEEN_LATE = "seen_late"
    UNSEEN = "unseen"
    NOT_IN_A_BLOCK = "not_in_a_block"
    NODE_UNREACHABLE = "node_unreachable"
    SEQUENCE = "sequence"
    CROWDED = "crowded"
    FEE_TOO_LOW = "fee_too_low"
    FEE_ABOVE_CAP = "fee_above_cap"
    OUT_OF_GAS = "out_of_gas"
    MEMPOOL_FULL = "mempool_full"
    NO_FUNDS = "no_funds"
    NO_LEASE = "no_lease"
    STALE_BARS = "stale_bars"
    MISSING_BARS = "missing_bars"
    NO_BARS = "no_bars"
    MODEL_FAILED = "model_failed"
    MODEL_HUNG = "model_hung"
    MODEL_CRASHED = "model_crashed"
    MODEL_ABSURD = "model_absurd"
    ABSTAINED = "abstained"
    WORKER_NONCE_OPEN = "worker_nonce_open"
    STOPPED = "stopped"
    NOT_REGISTERED = "not_registered"
    NO_TOPIC = "no_topic"
    LOW_STAKE = "low_stake"
    MALFORMED = "malformed"
    BAD_SIGNATURE = "bad_signature"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    EARLIER_VALUE = "earlier_value"
    WITHOUT_TRANSACTION = "without_transaction"
    LEFT_OUT = "left_out"
    NO_REPUTER = "no_reputer"


@dataclass(frozen=True)
class Meaning:
    """In which states a reason ends a submission, what happened, and what a person can do."""

    states: tuple[str, ...]
    happened: str
    do: str


_MISSED, _REJECTED = ("missed",), ("rejected",)
_BOTH = ("missed", "rejected")

REASONS: dict[Reason, Meaning] = {
    Reason.WINDOW_CLOSED: Meaning(
        _MISSED, "the chain, or its simulation, says that the window is closed (67, 68), or that the transaction came "
        "after it (sdk 30)",
        "look at broadcast-to-inclusion; a higher fee tier helps in a crowded mempool"),
    Reason.NONCE_FULFILLED: Meaning(
        _MISSED, "the chain no longer waits for this nonce (75)", "as for `window_closed`"),
    Reason.SEEN_LATE: Meaning(
        _MISSED, "the window was as good as over when the worker first saw it",
        "usual after a start; otherwise a node behind head, or a lost websocket and slow polling"),
    Reason.UNSEEN: Meaning(
        _MISSED, "the window came and went without being seen: the chain shows afterwards that it was there",
        "the worker was not running, or reached no node: keep it running; name more than one gRPC endpoint"),
    Reason.NOT_IN_A_BLOCK: Meaning(
        _MISSED, "it was handed to a node, and no block took it before the window ended",
        "name more than one gRPC endpoint; raise the fee tier"),
    Reason.NODE_UNREACHABLE: Meaning(
        _MISSED, "no node answered while the window was open", "name more than one gRPC endpoint"),
    Reason.SEQUENCE: Meaning(
        _MISSED, "other transactions of the wallet kept taking its sequence number",
        "use the wallet nowhere else"),
    Reason.CROWDED: Meaning(
        _MISSED, "the wallet's other submissions took their turns until the window was over",
        "the node or the machine is too slow for so many topics: a nearer node, or a second wallet"),
    Reason.FEE_TOO_LOW: Meaning(
        _BOTH, "the node asked for more than was offered, to the last", "choose a higher fee tier"),
    Reason.FEE_ABOVE_CAP: Meaning(
        _MISSED, "the market's price is above the hard cap", "raise the cap, or wait"),
    Reason.OUT_OF_GAS: Meaning(
        _BOTH, "it ran out of gas in a block, four times, each time with half as much again",
        "report it: the simulation misleads"),
    Reason.MEMPOOL_FULL: Meaning(
        _BOTH, "the node's mempool was full", "choose a higher fee tier, or another node"),
    Reason.NO_FUNDS: Meaning(
        _BOTH, "the wallet could not pay, or was never funded", "fund it"),
    Reason.NO_LEASE: Meaning(
        _MISSED, "another host holds the lease on this wallet and topic", "nothing: the other host submits"),
    Reason.STALE_BARS: Meaning(
        _MISSED, "the newest bar was older than `deploy.max_staleness`", "look at the exchange and the feed"),
    Reason.MISSING_BARS: Meaning(
        _MISSED, "so many bars were missing that most features were", "run `crucible bars repair` for the symbol"),
    Reason.NO_BARS: Meaning(
        _MISSED, "no exchange answered", "name another source in `data.sources`"),
    Reason.MODEL_FAILED: Meaning(
        _MISSED, "the bundle could not be loaded, or the model raised", "roll back; look at the worker's log"),
    Reason.MODEL_HUNG: Meaning(
        _MISSED, "the prediction took longer than the window left; a process that never ends it is replaced",
        "look at the machine's load; roll back; use a smaller model"),
    Reason.MODEL_CRASHED: Meaning(
        _MISSED, "the prediction's process died (a crash in a library, or no memory); it was replaced",
        "look at the machine's memory; roll back"),
    Reason.MODEL_ABSURD: Meaning(
        _MISSED, "the value was not finite, of the wrong unit, or too far from the network's", "roll back"),
    Reason.ABSTAINED: Meaning(
        _MISSED, "`deploy.fallback` ends with `abstain`, and every rung before it failed",
        "nothing, if that is meant"),
    Reason.WORKER_NONCE_OPEN: Meaning(
        _BOTH, "a reputer's losses came while the worker window was still open (45)", "report it"),
    Reason.STOPPED: Meaning(
        _MISSED, "the worker was not running for the rest of the window", "start it"),
    Reason.NOT_REGISTERED: Meaning(
        _BOTH, "the chain does not know the worker in this topic (13)", "start the worker again: it registers"),
    Reason.NO_TOPIC: Meaning(_BOTH, "the topic does not exist (6)", "correct `topic` in the recipe"),
    Reason.LOW_STAKE: Meaning(
        _REJECTED, "the reputer's stake is below the required minimum (17)", "fund the wallet: stake is added"),
    Reason.MALFORMED: Meaning(
        _BOTH, "the chain cannot read the payload (26, sdk 2)", "report it; the chain may have been upgraded"),
    Reason.BAD_SIGNATURE: Meaning(
        _BOTH, "the signature does not verify (sdk 4)", "check `CRUCIBLE_NETWORK` against the node's chain"),
    Reason.DUPLICATE: Meaning(
        ("missed", "rejected", "included"), "the chain has a value of this worker for this nonce already (78, or in "
        "words)",
        "use the wallet nowhere else"),
    Reason.REFUSED: Meaning(
        _BOTH, "the chain, or its simulation, said no for a reason that the error table does not know; its own words "
        "follow", "read them; report it"),
    Reason.EARLIER_VALUE: Meaning(
        ("included", "left_out", "scored", "unscored"), "the chain holds a value that an earlier journal sent",
        "nothing"),
    Reason.WITHOUT_TRANSACTION: Meaning(
        ("included", "left_out", "scored", "unscored"), "the chain holds the value, and the node forgot the "
        "transaction", "nothing"),
    Reason.LEFT_OUT: Meaning(
        ("left_out", "scored"), "accepted with code 0, and not in the active set when the window closed: workers with "
        "a better EMA score filled it", "improve the model; the EMA of those left out moves on"),
    Reason.NO_REPUTER: Meaning(("unscored",), "no reputer scored this epoch in time", "nothing"),
}  # fmt: skip
"""What each reason means."""

_BY_ERROR: tuple[tuple[type[CrucibleError], Reason], ...] = (
    (StaleError, Reason.STALE_BARS),
    (GapError, Reason.MISSING_BARS),
    (SourceError, Reason.NO_BARS),
    (BundleError, Reason.MODEL_FAILED),
    (NodeUnreachable, Reason.NODE_UNREACHABLE),
    (FeeAboveCap, Reason.FEE_ABOVE_CAP),
    (NoAccount, Reason.NO_FUNDS),
    (WalletError, Reason.NO_FUNDS),
    (TxRejected, Reason.SEQUENCE),
    (ChainError, Reason.REFUSED),
)


def reason_of(error: CrucibleError) -> Reason:
    """Return under which reason a failure is recorded if nothing better comes before the window ends."""
    if isinstance(error, Withheld):
        return Reason(error.reason)
    reason = next((reason for kind, reason in _BY_ERROR if isinstance(error, kind)), Reason.MODEL_FAILED)
    known = recognise(str(error)) if reason is Reason.REFUSED else None
    return Reason(known.reason) if known else reason
