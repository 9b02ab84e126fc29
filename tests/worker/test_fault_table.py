"""Every fault of localnet's table, by its own switch: what the worker does about it, and that nothing is paid twice.

Two topics side by side: the fault finds the window of one unanswered, and that of the other just broadcast. The test
makes the blocks, so that nothing depends on how busy the machine is.
"""

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass, field, replace
from datetime import timedelta

import fault_answers
import pytest
from chain_world import key, payload
from fault_answers import ANSWERED, ANSWERS, NOTHING_OWED
from payload_witness import Witness
from worker_desk import SPEC

from crucible.chain.account import Account
from crucible.chain.client import ChainClient
from crucible.chain.fees import FeePolicy
from crucible.chain.payloads import registration
from crucible.chain.protos import e
from crucible.chain.transaction import sign, unsigned
from crucible.chain.wakeup import Waker
from crucible.chain.wallet import Wallet, new_mnemonic
from crucible.clock import SystemClock
from crucible.errors import ChainError, NodeUnreachable
from crucible.localnet.client import submit
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.fault_table import FAULTS
from crucible.worker.hindsight import Hindsight
from crucible.worker.journal import Journal
from crucible.worker.roles.inferer import Inferer
from crucible.worker.roles.role import Answer
from crucible.worker.submitter import Submitter

FRESH, BEGUN = 77, 78
RIVAL = key("rival")
CHAIN = "allora-testnet-1"


@pytest.fixture(scope="module")
def wallet():
    return Wallet(new_mnemonic())


@dataclass
class Desk:
    """A wallet with two topics."""

    node: EmbeddedLocalnet
    client: ChainClient
    wallet: Wallet
    journals: dict[int, Journal]
    values: float = 100.0
    owed_blocks: int = 0
    submitters: dict[int, Submitter] = field(default_factory=dict)

    @property
    def core(self):
        return self.node.core

    async def join(self, client):
        self.node.fund(self.wallet.address)
        self.node.fund(RIVAL.address)
        for sequence, topic in enumerate(self.journals):
            request = e.RegisterRequest(sender=RIVAL.address, topic_id=topic, owner=RIVAL.address)
            assert submit(self.core, RIVAL, request) == ""
            message = registration(self.wallet.address, topic)
            gas = await client.simulate(unsigned(message, self.wallet, sequence))
            made = sign(message, self.wallet, chain_id=CHAIN, number=0, sequence=sequence, gas=gas, fee=10**8,
                        timeout_height=0)  # fmt: skip
            await client.broadcast(made.content, made.hash)
        self.step(12)
        account = Account(self.client, self.wallet, CHAIN, FeePolicy())
        for topic, journal in self.journals.items():
            info = await client.topic(topic)
            self.submitters[topic] = Submitter(
                account, journal, SystemClock(), topic=info, block=timedelta(seconds=0.1)
            )

    def step(self, blocks=1):
        for _ in range(blocks):
            faults = self.core.faults
            if faults.active("halted") or faults.active("halted-burst"):
                self.owed_blocks += bool(faults.active("halted-burst"))
                continue
            for _ in range(1 + self.owed_blocks):
                self.node.step(float(self.core.height + 1))
            self.owed_blocks = 0
            for topic in self.journals:
                for nonce in self.core.topics[topic].worker_nonces():
                    if RIVAL.address not in self.core.topics[topic].nonces[nonce].inferences:
                        submit(self.core, RIVAL, payload(RIVAL, nonce, topic=topic))

    async def predict(self, nonce, seconds):
        self.values += 1
        return Answer(self.values, predicted_for="t", bundle="d" * 64, model_version=1)

    async def look(self, *topics):
        """What a worker does when it wakes."""
        for topic in topics or self.journals:
            submitter = self.submitters[topic]
            with contextlib.suppress(NodeUnreachable):
                height = await self.client.height()
                for nonce in await self.client.open_nonces(topic):
                    if nonce + submitter.topic.worker_window > height:
                        await submitter.handle(nonce, self.predict, height)
                await submitter.settle()

    async def pass_by(self, blocks):
        for _ in range(blocks):
            await self.look()
            self.step()

    async def arm(self, name, **options):
        """Arm a fault; where the node must first close its port, wait until it has."""
        self.core.faults.arm(name, **options)
        port = int(self.node.grpc_url.rpartition(":")[2])
        while name == "rpc-refused":
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                return
            await asyncio.sleep(0.02)

    async def back(self):
        """Wait until the node answers, as it does a moment after the last of its faults."""
        for _ in range(200):
            with contextlib.suppress(ChainError):
                await self.client.height()
                return
            await asyncio.sleep(0.02)

    def answered(self, topic, nonce):
        row = self.journals[topic].row(nonce)
        held = self.core.topics[topic].nonces[nonce].inferences.get(self.wallet.address)
        assert row is not None
        assert row.state in ("included", "unscored"), row
        assert row.height <= row.window_end
        assert float(held) == row.value


def play(scene, folder, wallet):
    async def act(node):
        # a deadline below the doubt of a second: a node that hangs should not hold up the test
        async with ChainClient(node.grpc_url, deadline=0.2) as client:
            with contextlib.ExitStack() as stack:
                journals = {
                    topic: stack.enter_context(
                        Journal(folder / "w.db", SystemClock(), chain_id=CHAIN, topic_id=topic, address=wallet.address)
                    )
                    for topic in (FRESH, BEGUN)
                }
                desk = Desk(node, client, wallet, journals)
                async with ChainClient(node.grpc_url) as patient:
                    await desk.join(patient)
                witness = Witness(node.core)
                await scene(desk, witness)
                assert witness.conflicts() == {}
                assert max(witness.done.values(), default=0) <= 1

    with EmbeddedLocalnet([replace(SPEC, id=topic) for topic in (FRESH, BEGUN)], block_seconds=0) as node:
        asyncio.run(act(node))


def test_every_fault_has_an_answer_and_the_page_shows_it(pytestconfig):
    assert set(ANSWERS) == set(FAULTS)
    text = (pytestconfig.rootpath / "docs" / "reference" / "faults.md").read_text()
    assert fault_answers.filled(text) == text, "run python tests/fault_answers.py docs/reference/faults.md"


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_clears_in_the_window_costs_no_window(name, tmp_path, wallet):
    async def scene(desk, witness):
        await desk.look(BEGUN)
        assert desk.journals[BEGUN].row(12).state == "broadcast"
        await desk.arm(name, value=3 if name == "included-late" else None)
        await desk.pass_by(2)
        desk.core.faults.clear(name)
        await desk.back()
        await desk.pass_by(6)
        desk.answered(FRESH, 12)
        desk.answered(BEGUN, 12)
        if not ANSWERS[name].dear:
            assert max(witness.paid.values()) == 1
        while desk.core.height < 28:  # and life goes on
            await desk.pass_by(1)
        desk.answered(FRESH, 24)
        desk.answered(BEGUN, 24)

    play(scene, tmp_path, wallet)


# halted blocks take no window; and of the HTTP answers one is enough where time is short
LASTING = [name for name in FAULTS if not name.startswith("halted")]
if not os.environ.get("CRUCIBLE_PROVE"):
    LASTING = [name for name in LASTING if name not in ("rpc-403", "rpc-429", "rpc-500", "rpc-502", "rpc-504")]


@pytest.mark.parametrize("name", LASTING)
def test_a_fault_that_takes_the_whole_window_is_recorded_with_its_reason(name, tmp_path, wallet):
    async def scene(desk, witness):
        await desk.arm(name, value=None if name != "included-late" else 30)
        await desk.pass_by(10)
        desk.core.faults.clear(name)
        await desk.back()
        lasts = ANSWERS[name].lasts
        if lasts == (NOTHING_OWED,):
            while desk.core.height < 30:
                await desk.pass_by(1)
            desk.answered(FRESH, 12)
            return
        if lasts == (ANSWERED,):
            await desk.look()
            desk.answered(FRESH, 12)
            return
        for journal in desk.journals.values():
            journal.seen(0, 8)  # an epoch that it knew of before
        await desk.pass_by(5)
        role = Inferer()
        for topic, journal in desk.journals.items():
            await Hindsight(desk.client, journal, role, desk.wallet.address).look(desk.submitters[topic].topic)
            row = journal.row(12)
            assert row is not None
            assert row.state in ("missed", "rejected")
            assert row.reason_code in lasts, row
            assert desk.wallet.address not in desk.core.topics[topic].nonces[12].inferences
        paid = [times for (_, _, nonce), times in witness.paid.items() if nonce == 12]
        assert max(paid, default=0) <= (4 if ANSWERS[name].dear else 0)
        desk.answered(FRESH, 24)

    play(scene, tmp_path, wallet)


@pytest.mark.parametrize("name", [name for name in FAULTS if name.startswith("ws-")])
def test_a_websocket_that_fails_wakes_again(name, tmp_path, wallet):
    async def scene(desk, witness):
        woken = asyncio.Event()
        waker = Waker(desk.node.websocket_url)
        waker.add(FRESH, woken)
        try:
            await asyncio.wait_for(woken.wait(), 10)  # subscribed
            desk.core.faults.arm(name, count=1)
            woken.clear()
            desk.step(12)
            if name == "ws-duplicate":
                await asyncio.wait_for(woken.wait(), 10)
            await asyncio.sleep(0.1)
            woken.clear()
            for _ in range(200):  # until it is connected again, and a window opens
                desk.step(12)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), 0.1)
                    break
            assert woken.is_set()
        finally:
            await waker.close()

    play(scene, tmp_path, wallet)
