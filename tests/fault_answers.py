"""What the worker does about each fault of localnet, and what becomes of the window: one row a fault, all of it tested.

``docs/reference/faults.md`` shows the table: ``python tests/fault_answers.py docs/reference/faults.md`` makes it anew.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from crucible.localnet.fault_table import FAULTS

ANSWERED = "answered"
NOTHING_OWED = "no window"


@dataclass(frozen=True)
class FaultAnswer:
    """One row.

    Attributes
    ----------
    does : str
        What the worker does about it.
    lasts : tuple of str
        What becomes of a window all of which the fault takes: ``answered``, ``no window``, or the reasons of which one
        is recorded.
    dear : bool
        Whether what fails in a block costs its fee each time; otherwise one fee is paid, or none.
    """

    does: str
    lasts: tuple[str, ...] = (ANSWERED,)
    dear: bool = False


_ASKS_AGAIN = "asks again, at least once a second, or another node at once; writes down afterwards what it did not see"
_UNSEEN = ("unseen", "node_unreachable")
_POLLS = "polls: the websocket only wakes"

ANSWERS: dict[str, FaultAnswer] = {
    "rpc-refused": FaultAnswer(_ASKS_AGAIN, _UNSEEN),
    **{f"rpc-{status}": FaultAnswer(_ASKS_AGAIN, _UNSEEN) for status in (403, 429, 500, 502, 503, 504)},
    "rpc-hang": FaultAnswer("asks the same again after a second, over a new connection; then as for `rpc-refused`",
                            _UNSEEN),
    "simulate-mismatch": FaultAnswer("takes the number that was named, and simulates again", ("sequence",)),
    "broadcast-mismatch": FaultAnswer(
        "looks its hash up, asks for the account, and signs the same payload with the number that fits", ("sequence",)),
    "tx-in-cache": FaultAnswer("waits for the block: the node has these very bytes"),
    "mempool-full": FaultAnswer("sends the same bytes again, every half block", ("mempool_full",)),
    "fee-too-low": FaultAnswer(
        "signs again with the same number for the fee that was asked for, or half as much again, up to the cap",
        ("fee_too_low", "fee_above_cap")),
    "fee-spike": FaultAnswer("asks for the price again and pays it, up to the cap"),
    "response-lost": FaultAnswer("looks the hash up before it sends the same bytes again"),
    "wallet-unfunded": FaultAnswer("sends the same bytes again, every half block; asks the faucet", ("no_funds",)),
    "included-late": FaultAnswer(
        "waits; the timeout height lets no block take it after the window", ("not_in_a_block",)),
    "tx-forgotten": FaultAnswer("sends the same bytes again after two blocks", ("not_in_a_block",)),
    "code-68": FaultAnswer(
        "asks the simulation, and if that disagrees signs again: at once, half-way to the window's end, and in its "
        "last fifth", ("window_closed",), dear=True),
    "code-75": FaultAnswer("as for `code-68`", ("nonce_fulfilled",), dear=True),
    "code-78": FaultAnswer("looks whether the chain has its value; if not, as for `code-68`", ("duplicate",),
                           dear=True),
    "out-of-gas": FaultAnswer("signs again with half as much gas again; else as for `code-68`", ("out_of_gas",),
                              dear=True),
    "ws-drop": FaultAnswer(f"connects again; {_POLLS}"),
    "ws-gap": FaultAnswer(_POLLS),
    "ws-duplicate": FaultAnswer("looks twice; the journal knows the nonce"),
    "ws-out-of-order": FaultAnswer(_POLLS),
    "topic-paused": FaultAnswer("waits; an open window is answered", (NOTHING_OWED,)),
    "loss-changed": FaultAnswer("answers, says so, and counts `crucible_contract_changes_total`"),
    "epoch-changed": FaultAnswer("answers, and goes by the new lengths from the next epoch on"),
    "node-behind": FaultAnswer(
        "sends what it sees open; a window counts as missed only when the node itself is past it; another node takes "
        "over from three blocks on"),
    "halted": FaultAnswer("waits; the window waits too"),
    "halted-burst": FaultAnswer("waits; what it has sent is in the first block"),
    "clock-ahead": FaultAnswer("nothing: windows are counted in blocks"),
    "clock-behind": FaultAnswer("nothing: windows are counted in blocks"),
    "faucet-429": FaultAnswer("leaves the faucet alone for as long as it says; no submission waits for it"),
}  # fmt: skip
"""By name."""


def table() -> str:
    """Return the table in Markdown."""
    rows = ["| fault | what happens | what the worker does | if it clears in the window | if it lasts |",
            "|---|---|---|---|---|"]  # fmt: skip
    for name, kind in FAULTS.items():
        answer = ANSWERS[name]
        clears = "answered, one value; each failure in a block costs its fee" if answer.dear else "answered, one value"
        if answer.lasts == (NOTHING_OWED,):
            lasts = "no window opens"
        elif answer.lasts == (ANSWERED,):
            lasts = "answered, one value"
        else:
            lasts = "not answered: " + " or ".join(f"`{reason}`" for reason in answer.lasts)
        rows.append(f"| `{name}` | {kind.text} | {answer.does} | {clears} | {lasts} |")
    return "\n".join(rows)


def filled(text: str) -> str:
    """Return the page ``text`` with the table between its markers made anew."""
    marked = re.compile(r"(<!-- answers -->\n).*?(\n<!-- /answers -->)", re.DOTALL)
    return marked.sub(lambda found: found[1] + table() + found[2], text)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(filled(page.read_text()))
