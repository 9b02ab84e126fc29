"""The fault table, one row a test: a fault that clears while the window is open costs no window and no second payload.

Faults of endpoints are in ``tests/chain/test_endpoints.py``, of models in ``test_pool.py``, SIGKILL in
``test_kill_nine.py``, faults that last in ``test_reasons.py``.
"""

import asyncio
import contextlib
import sqlite3
from dataclasses import replace

import pytest
from grpclib import GRPCError, Status
from worker_desk import MISMATCH, SPEC, Steady, run_scene

from crucible.chain.wallet import Wallet, new_mnemonic
from crucible.errors import GapError, NodeUnreachable, SourceError, StaleError, StoreError, Withheld
from crucible.localnet.abci import Refusal
from crucible.worker.reasons import Reason


@pytest.fixture(scope="module")
def wallet():
    return Wallet(new_mnemonic())


def answers(name, error):
    """A method of the node fails so."""

    def inject(desk):
        def fail(*arguments):
            raise error

        kept = getattr(desk.core, name)
        setattr(desk.core, name, fail)
        return lambda: setattr(desk.core, name, kept)

    return inject


def checktx(codespace, code, words="no"):
    """Every CheckTx is refused so."""

    def inject(desk):
        kept = desk.core.broadcast
        desk.core.broadcast = lambda content: ("", Refusal(codespace, code, words))
        return lambda: setattr(desk.core, "broadcast", kept)

    return inject


def once(**faults):
    """A switch of the node's own."""

    def inject(desk):
        for name, value in faults.items():
            setattr(desk.core.faults, name, value)
        return lambda: None

    return inject


def delay(blocks):
    def inject(desk):
        desk.core.faults.inclusion_delay = blocks
        return lambda: setattr(desk.core.faults, "inclusion_delay", 0)

    return inject


def model(error):
    def inject(desk):
        desk.predictor.error = error
        return lambda: setattr(desk.predictor, "error", None)

    return inject


def forgets(desk):
    return desk.forget_mempool


def poor(desk):
    account = desk.core.ledger.accounts[desk.wallet.address]
    kept, account.balance = account.balance, 0
    desk.core._recheck()

    def pay():
        desk.core.fund(desk.wallet.address, kept)

    return pay


def gas(desk):
    kept = desk.core.simulate
    desk.core.simulate = lambda content: int(kept(content) * 0.6)
    return lambda: setattr(desk.core, "simulate", kept)


def crash(desk):
    return desk.restart


def leaseless(desk):
    desk.lease = False
    return lambda: setattr(desk, "lease", True)


def full_disk(desk):
    real = desk.journal._transaction

    @contextlib.contextmanager
    def full():
        try:
            raise sqlite3.OperationalError("database or disk is full")
        except sqlite3.Error as error:
            raise StoreError(f"The journal refuses: {error}; nothing is sent before it is well again.") from error
        yield

    desk.journal._transaction = full
    return lambda: setattr(desk.journal, "_transaction", real)


FAULTS = {
    "rpc refused or 5xx": answers("simulate", GRPCError(Status.UNAVAILABLE, "Received :status = '503'")),
    "simulate mismatch": answers("simulate", Refusal("sdk", 32, MISMATCH.format(1, 9))),
    "simulate fails": answers("simulate", Refusal("sdk", 1, "internal")),
    "broadcast mismatch": once(refuse=("sdk", 32, MISMATCH.format(5, 1))),
    "broadcast mismatch, lasting": checktx("sdk", 32, MISMATCH.format(5, 1)),
    "tx already in cache": once(refuse=("sdk", 19, "tx already in mempool")),
    "mempool full": checktx("sdk", 20, "mempool is full"),
    "fee too low": checktx("sdk", 13, "got: 1uallo required: 2uallo: insufficient fee"),
    "out of gas": gas,
    "included late, inside the window": delay(2),
    "response lost": once(lose_responses=1),
    "responses lost": once(lose_responses=3),
    "mempool forgets": forgets,
    "wallet unfunded": poor,
    "venue stale": model(StaleError("old")),
    "venue silent": model(SourceError("silence")),
    "venue misses bars": model(GapError("holes")),
    "venue wrong by 1000": model(Withheld(Reason.MODEL_ABSURD, "far away")),
    "model raises": model(Withheld(Reason.MODEL_FAILED, "x")),
    "model hangs": model(Withheld(Reason.MODEL_HUNG, "x")),
    "model crashes": model(Withheld(Reason.MODEL_CRASHED, "x")),
    "another host holds the lease": leaseless,
    "disk full": full_disk,
    "killed": crash,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("begun", [False, True], ids=["before", "after the broadcast"])
def test_a_fault_that_clears_in_the_window_costs_nothing(fault, begun, tmp_path, wallet):
    async def scene(desk):
        if begun:
            await look(desk)
        clear = fault(desk)
        for _ in range(2):
            await look(desk)
            desk.step()
        clear()
        for _ in range(6):
            await look(desk)
            desk.step()
        await look(desk)
        row = desk.row()
        assert (row.state, row.code) == ("included", 0), row
        assert row.height <= row.window_end
        held = desk.core.topics[77].nonces[12].inferences[desk.wallet.address]
        assert float(held) == row.value
        assert [log for log in desk.delivered() if "out of gas" not in log] == []

    run_scene(scene, tmp_path, wallet, Steady())


async def look(desk):
    """What a worker does when it wakes, whatever happens."""
    with contextlib.suppress(NodeUnreachable, StoreError):
        if desk.core.height < 20:
            await desk.handle()
        await desk.submitter.settle()


@pytest.mark.parametrize("change", ["epoch_length", "worker_window"])
def test_a_topic_that_changes_is_followed(change, tmp_path, wallet):
    async def scene(desk):
        desk.core.topics[77].spec = replace(SPEC, **{change: 6, "worker_window": 6}, ground_truth_lag=12)
        found = await desk.client.topic(77)
        assert getattr(found, change) == 6
        desk.submitter.topic = found
        row = await desk.handle()
        assert row.window_end == 12 + found.worker_window

    run_scene(scene, tmp_path, wallet, Steady())


def test_a_halted_chain_pays_once_when_its_blocks_come_in_a_burst(tmp_path, wallet):
    async def scene(desk):
        for _ in range(20):  # no block, for as long as one likes
            await look(desk)
        desk.step(30)
        await look(desk)
        assert desk.row().state == "included"
        assert desk.predictor.calls == 1
        nonces = await desk.client.open_nonces(77)
        for nonce in nonces:
            await desk.handle(nonce)
        assert {desk.row(nonce).state for nonce in nonces} <= {"broadcast", "missed"}

    run_scene(scene, tmp_path, wallet, Steady())


def test_topics_whose_windows_open_in_one_block_go_out_in_one_go(tmp_path, wallet):
    """Ten topics of one wallet: successive numbers, no mismatch, one block."""
    from crucible.chain.account import Account
    from crucible.chain.client import ChainClient
    from crucible.chain.fees import FeePolicy
    from crucible.clock import SystemClock
    from crucible.localnet.embedded import EmbeddedLocalnet
    from crucible.worker.introduction import introduce
    from crucible.worker.journal import Journal
    from crucible.worker.submitter import Submitter

    specs = [replace(SPEC, id=topic) for topic in range(77, 87)]

    async def act(node):
        from datetime import timedelta

        from crucible.settings import Settings

        settings = Settings.load({"CRUCIBLE_HOME": str(tmp_path), "CRUCIBLE_FAUCET_URL": node.faucet_url})
        refused = []
        broadcast = node.core.broadcast
        node.core.broadcast = lambda content: (answer := broadcast(content), refused.append(answer[1]))[0]
        async with ChainClient(node.grpc_url) as client:
            account = Account(client, wallet, "allora-testnet-1", FeePolicy())

            async def meet():
                return await asyncio.gather(
                    *(introduce(account, settings, spec.id, report=lambda words: None) for spec in specs)
                )

            meeting = asyncio.create_task(meet())
            while not meeting.done():
                await asyncio.sleep(0.05)
                if node.core._pending or node.core.height < 2:
                    await asyncio.to_thread(node.step, float(node.core.height + 1))
            topics = await meeting
            while node.core.height % 12:
                await asyncio.to_thread(node.step, float(node.core.height + 1))
            nonce = node.core.height
            with contextlib.ExitStack() as stack:
                submitters = [
                    Submitter(
                        account,
                        stack.enter_context(
                            Journal(
                                tmp_path / "wallet.db", SystemClock(), chain_id="allora-testnet-1", topic_id=topic.id,
                                address=wallet.address,
                            )
                        ),
                        SystemClock(), topic=topic, block=timedelta(seconds=1),
                    )
                    for topic in topics
                ]  # fmt: skip
                rows = await asyncio.gather(*(submitter.handle(nonce, Steady()) for submitter in submitters))
                assert [row.state for row in rows] == ["broadcast"] * 10
                sequences = sorted(row.sequence for row in rows)
                assert sequences == list(range(sequences[0], sequences[0] + 10))
                await asyncio.to_thread(node.step, float(node.core.height + 1))
                moved = [row for submitter in submitters for row in await submitter.settle()]
                assert [row.state for row in moved] == ["included"] * 10
                assert {row.height for row in moved} == {nonce + 1}
        assert [refusal for refusal in refused if refusal is not None] == []

    with EmbeddedLocalnet(specs, block_seconds=0) as node:
        asyncio.run(act(node))
