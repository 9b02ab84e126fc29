"""Every reason that a journal may record: documented, and reached by what it says."""

import asyncio
import contextlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from chain_world import key, payload
from grpclib import GRPCError, Status
from worker_desk import MISMATCH, SPEC, Steady, run_scene

from crucible.chain.error_table import ERROR_TABLE
from crucible.chain.fees import FeePolicy
from crucible.chain.protos import e
from crucible.chain.wallet import Wallet, new_mnemonic
from crucible.deploy_settings import RUNGS
from crucible.errors import BundleError, GapError, NodeUnreachable, SourceError, StaleError, Withheld
from crucible.localnet.abci import Refusal
from crucible.localnet.client import submit
from crucible.worker.hindsight import Hindsight
from crucible.worker.journal import FOLLOWS, TERMINAL
from crucible.worker.metrics import METRICS
from crucible.worker.reasons import REASONS, Reason
from crucible.worker.roles.inferer import Inferer

DOC = Path(__file__).resolve().parents[2] / "docs" / "reference" / "worker.md"


@pytest.fixture(scope="module")
def wallet():
    return Wallet(new_mnemonic())


async def to_the_end(desk, blocks=9):
    for _ in range(blocks):
        desk.step()
        await settle(desk)


async def settle(desk):
    with contextlib.suppress(NodeUnreachable):
        await desk.submitter.settle()


async def try_once(desk):
    with contextlib.suppress(NodeUnreachable):
        await desk.handle()


def refused(codespace, code, words="no"):
    """Every broadcast is refused so."""

    async def scene(desk):
        desk.core.broadcast = lambda content: ("", Refusal(codespace, code, words))
        await try_once(desk)
        await to_the_end(desk)

    return scene


def failing(error):
    """Every prediction fails so."""

    async def scene(desk):
        desk.predictor.error = error
        await try_once(desk)
        await to_the_end(desk)

    return scene


async def late(desk):
    desk.step(8)
    await try_once(desk)


async def unseen(desk):
    desk.journal.seen(0, 8)  # an epoch that it knew of
    rival = key("rival")
    desk.core.fund(rival.address, 10**18)
    register = e.RegisterRequest(sender=rival.address, topic_id=77, owner=rival.address)
    assert [submit(desk.core, rival, message) for message in (register, payload(rival, 12))] == ["", ""]
    desk.step(12)
    await desk.handle(24)
    hindsight = Hindsight(desk.client, desk.journal, Inferer(), desk.wallet.address)
    assert [row.nonce for row in await hindsight.look(desk.topic)] == [12]
    assert await hindsight.look(desk.topic) == []


async def crowded(desk):
    async with desk.account.sequencer.turn():
        waiting = asyncio.create_task(desk.handle())
        while desk.row() is None or desk.row().state != "predicted":
            await asyncio.sleep(0.01)
        desk.step(8)
        await desk.client.height()
    await waiting
    await to_the_end(desk)


async def delayed(desk):
    desk.core.faults.inclusion_delay = 1000
    await try_once(desk)
    await to_the_end(desk)


def simulation(answer):
    async def scene(desk):
        desk.core.simulate = answer
        await try_once(desk)
        await to_the_end(desk)

    return scene


def unavailable(content):
    raise GRPCError(Status.UNAVAILABLE, "no")


def mismatched(content):
    raise Refusal("sdk", 32, MISMATCH.format(7, 1))


async def out_of_gas(desk):
    simulate = desk.core.simulate
    desk.core.simulate = lambda content: simulate(content) // 10
    await try_once(desk)
    await to_the_end(desk)


async def without_lease(desk):
    desk.lease = False
    await try_once(desk)
    await to_the_end(desk)


async def stopped(desk):
    desk.journal.seen(12, 20)
    desk.restart()
    await to_the_end(desk)


async def sent(desk):
    await try_once(desk)
    desk.step()
    await settle(desk)
    assert desk.row().state == "included"


async def earlier_value(desk):
    await sent(desk)
    desk.restart(desk.path.with_name("new.db"))
    await try_once(desk)


async def without_transaction(desk):
    await try_once(desk)
    desk.step()
    desk.core.results.clear()
    await to_the_end(desk)


async def left_out(desk):
    await sent(desk)
    inferences = desk.core.topics[77].nonces[12].inferences
    inferences["allo1better"] = inferences.pop(desk.wallet.address)
    await to_the_end(desk)
    assert desk.row().state == "left_out"


async def unscored(desk):
    await sent(desk)
    desk.step(100)
    await settle(desk)
    assert desk.row().state == "unscored"


async def nothing(desk):
    await try_once(desk)
    await to_the_end(desk)


SCENES = {
    Reason.WINDOW_CLOSED: refused("emissions", 67),
    Reason.NONCE_FULFILLED: refused("emissions", 75),
    Reason.SEEN_LATE: late,
    Reason.NOT_IN_A_BLOCK: delayed,
    Reason.UNSEEN: unseen,
    Reason.NODE_UNREACHABLE: simulation(unavailable),
    Reason.SEQUENCE: simulation(mismatched),
    Reason.CROWDED: crowded,
    Reason.FEE_TOO_LOW: refused("sdk", 13, "got: 1uallo required: 2uallo"),
    Reason.FEE_ABOVE_CAP: nothing,
    Reason.OUT_OF_GAS: out_of_gas,
    Reason.MEMPOOL_FULL: refused("sdk", 20),
    Reason.NO_FUNDS: refused("sdk", 5),
    Reason.NO_LEASE: without_lease,
    Reason.STALE_BARS: failing(StaleError("old")),
    Reason.MISSING_BARS: failing(GapError("holes")),
    Reason.NO_BARS: failing(SourceError("silence")),
    Reason.MODEL_FAILED: failing(BundleError("torn")),
    Reason.MODEL_HUNG: failing(Withheld("model_hung", "hung")),
    Reason.MODEL_CRASHED: failing(Withheld("model_crashed", "crashed")),
    Reason.MODEL_ABSURD: failing(Withheld("model_absurd", "absurd")),
    Reason.ABSTAINED: failing(Withheld("abstained", "as told")),
    Reason.WORKER_NONCE_OPEN: refused("emissions", 45),
    Reason.STOPPED: stopped,
    Reason.NOT_REGISTERED: refused("emissions", 13),
    Reason.NO_TOPIC: refused("emissions", 6),
    Reason.LOW_STAKE: refused("emissions", 17),
    Reason.MALFORMED: refused("emissions", 26),
    Reason.BAD_SIGNATURE: refused("sdk", 4),
    Reason.DUPLICATE: refused("emissions", 78),
    Reason.REFUSED: refused("other", 999, "for reasons of its own"),
    Reason.EARLIER_VALUE: earlier_value,
    Reason.WITHOUT_TRANSACTION: without_transaction,
    Reason.LEFT_OUT: left_out,
    Reason.NO_REPUTER: unscored,
}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_reached_by_what_it_says(reason, tmp_path, wallet):
    async def scene(desk):
        await SCENES[reason](desk)
        row = desk.row()
        assert (row.reason_code, row.state in REASONS[reason].states) == (reason, True), row
        assert row.reason

    fee = FeePolicy(cap=1) if reason is Reason.FEE_ABOVE_CAP else None
    run_scene(scene, tmp_path, wallet, Steady(), fee=fee)


@pytest.mark.parametrize("row", [row for row in ERROR_TABLE if row.said], ids=lambda row: row.said)
def test_a_simulation_that_refuses_in_the_chains_words_ends_with_the_reason_of_that_code(row, tmp_path, wallet):
    async def scene(desk):
        def refuse(content):
            raise Refusal(row.codespace, row.code, f"nonce 12 of topic 77: {row.said}")

        await simulation(refuse)(desk)
        found = desk.row()
        assert (found.state, found.reason_code) == ("missed", row.reason), found
        assert "missed" in REASONS[Reason(row.reason)].states
        assert row.said in found.reason

    run_scene(scene, tmp_path, wallet, Steady())


@pytest.mark.parametrize("closed", ["before", "while it was signed"])
def test_a_window_that_the_chain_has_closed_early_is_closed_and_no_mystery(closed, tmp_path, wallet):
    async def scene(desk):
        desk.core.topics[77].spec = replace(SPEC, worker_window=2)  # the worker still believes in eight blocks
        if closed == "before":
            desk.step(2)
            await try_once(desk)
        else:
            desk.step()
            await try_once(desk)
            desk.core.faults.inclusion_delay = 0
            desk.core._pending = [(desk.core.height + 2, pending) for _, pending in desk.core._pending]
        await to_the_end(desk)
        row = desk.row()
        assert (row.state, row.reason_code) in (("missed", "window_closed"), ("missed", "nonce_fulfilled")), row

    run_scene(scene, tmp_path, wallet, Steady())


def test_every_reason_rung_metric_and_state_is_documented():
    text = DOC.read_text()
    for reason, meaning in REASONS.items():
        [line] = [line for line in text.splitlines() if line.startswith(f"| `{reason}` |")]
        assert line == f"| `{reason}` | {', '.join(meaning.states)} | {meaning.happened} | {meaning.do} |"
    for name, (kind, words) in METRICS.items():
        assert f"| `{name}` | {kind} | {words} |" in text
    for rung in RUNGS:
        assert f"| `{rung}` |" in text
    for state in FOLLOWS:
        assert f"`{state}`" in text
    for row in ERROR_TABLE:
        assert f"| {row.codespace} | {row.code} | " in text
        assert row.meaning in text
    assert set(re.findall(r"^\| `(\w+)` \| (?:missed|rejected|included|left_out|scored|unscored)", text, re.M)) == set(
        Reason
    )


def test_the_table_is_whole_and_every_terminal_state_has_reasons():
    assert set(REASONS) == set(Reason) == set(SCENES)
    assert {row.reason for row in ERROR_TABLE} <= set(Reason)
    ends = {state for meaning in REASONS.values() for state in meaning.states}
    assert ends - {"included"} == set(TERMINAL)
