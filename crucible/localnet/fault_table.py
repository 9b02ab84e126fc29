"""The faults that localnet can be told to have: one row each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FaultKind:
    """One fault.

    Attributes
    ----------
    name : str
        As the command line and the control endpoint take it.
    part : str
        Which part of the node misbehaves.
    text : str
        What happens.
    value : str
        What the fault's value means; empty if it has none.
    default : float or None
        The value where none is given.
    by_count : bool
        Whether a count of occurrences makes sense; otherwise the fault lasts until it is cleared or its time is up.
    by_topic : bool
        Whether it can be limited to one topic.
    """

    name: str
    part: str
    text: str
    value: str = ""
    default: float | None = None
    by_count: bool = True
    by_topic: bool = False


FAULTS: dict[str, FaultKind] = {
    kind.name: kind
    for kind in (
        FaultKind("rpc-refused", "gRPC", "the port is closed and every connection is dropped", by_count=False),
        FaultKind("rpc-403", "gRPC", "calls are answered with HTTP 403"),
        FaultKind("rpc-429", "gRPC", "calls are answered with HTTP 429"),
        FaultKind("rpc-500", "gRPC", "calls are answered with HTTP 500"),
        FaultKind("rpc-502", "gRPC", "calls are answered with HTTP 502"),
        FaultKind("rpc-503", "gRPC", "calls are answered with HTTP 503"),
        FaultKind("rpc-504", "gRPC", "calls are answered with HTTP 504"),
        FaultKind("rpc-hang", "gRPC", "calls are never answered"),
        FaultKind("simulate-mismatch", "gRPC", "Simulate fails with an account sequence mismatch"),
        FaultKind("broadcast-mismatch", "CheckTx", "refused with sdk 32, account sequence mismatch", by_topic=True),
        FaultKind("tx-in-cache", "CheckTx", "taken, and answered with sdk 19, tx already in mempool", by_topic=True),
        FaultKind("mempool-full", "CheckTx", "refused with sdk 20, mempool is full", by_topic=True),
        FaultKind("fee-too-low", "CheckTx", "refused with sdk 13, insufficient fee", by_topic=True),
        FaultKind(
            "fee-spike", "CheckTx", "gas costs a multiple, in queries and in CheckTx",
            "times the price", 10.0, by_count=False,
        ),
        FaultKind("response-lost", "CheckTx", "taken, and the answer is lost (UNAVAILABLE)", by_topic=True),
        FaultKind("wallet-unfunded", "CheckTx", "balances are 0 and no fee can be paid", by_count=False),
        FaultKind(
            "included-late", "mempool", "transactions wait in the mempool", "blocks that they wait", 20.0, by_topic=True
        ),
        FaultKind("tx-forgotten", "mempool", "taken by CheckTx and then lost from the mempool", by_topic=True),
        FaultKind("code-68", "delivery", "in a block with emissions 68, reputer window not available", by_topic=True),
        FaultKind("code-75", "delivery", "in a block with emissions 75, unfulfilled nonce not found", by_topic=True),
        FaultKind("code-78", "delivery", "in a block with emissions 78, EMA updated already", by_topic=True),
        FaultKind("out-of-gas", "delivery", "in a block with sdk 11, out of gas", by_topic=True),
        FaultKind("ws-drop", "websocket", "instead of sending a block's events all sockets are closed"),
        FaultKind("ws-gap", "websocket", "a block's events are not sent"),
        FaultKind("ws-duplicate", "websocket", "a block's events are sent twice"),
        FaultKind("ws-out-of-order", "websocket", "a block's events are sent after those of the next block"),
        FaultKind("topic-paused", "topic", "no epoch ends, as if the weight had fallen", by_count=False, by_topic=True),
        FaultKind("loss-changed", "topic", "the loss method becomes mae (or sqe)", by_count=False, by_topic=True),
        FaultKind(
            "epoch-changed", "topic", "the epoch, the lag and the window become longer", "times as long", 2.0,
            by_count=False, by_topic=True,
        ),
        FaultKind(
            "node-behind", "chain", "queries answer as if the newest blocks were not there", "blocks", 5.0,
            by_count=False,
        ),
        FaultKind("halted", "chain", "no blocks; afterwards whole epochs that passed are left out", by_count=False),
        FaultKind("halted-burst", "chain", "no blocks; afterwards all missed ones at once", by_count=False),
        FaultKind("clock-ahead", "chain", "block times are ahead", "seconds", 30.0, by_count=False),
        FaultKind("clock-behind", "chain", "block times are behind", "seconds", 30.0, by_count=False),
        FaultKind("faucet-429", "faucet", "requests are answered with HTTP 429"),
    )
}  # fmt: skip
"""By name."""
