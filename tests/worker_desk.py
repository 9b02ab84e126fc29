"""One wallet, one topic and a node whose blocks the test makes: where a submission can go wrong in every way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace

from crucible.chain.account import Account
from crucible.chain.client import ChainClient
from crucible.chain.fees import FeePolicy
from crucible.chain.payloads import registration
from crucible.chain.transaction import sign, unsigned
from crucible.clock import SystemClock
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.topic import TopicSpec
from crucible.worker.journal import Journal
from crucible.worker.roles.role import Answer
from crucible.worker.submitter import Submitter

SPEC = TopicSpec(
    id=77, metadata="test", loss_method="sqe", asset="BTC/USD", target="price", symbol="BTCUSDT", interval_seconds=300,
    horizon_seconds=12, cadence_seconds=12, epoch_length=12, ground_truth_lag=12, worker_window=8,
)  # fmt: skip
MISMATCH = "account sequence mismatch, expected {}, got {}: incorrect account sequence"


@dataclass
class Steady:
    """Answers 100, 101, 102 …: a second prediction of one nonce would show. Raises ``error`` until it is ``None``."""

    calls: int = 0
    error: Exception | None = None

    async def __call__(self, nonce: int, seconds: float) -> Answer:
        if self.error:
            raise self.error
        self.calls += 1
        return Answer(99.0 + self.calls, predicted_for="t", bundle="d" * 64, model_version=1)


class Desk:
    """A registered wallet, a node and a journal; :meth:`restart` is what a crash leaves behind."""

    def __init__(self, client, node, path, wallet, predictor, fee):
        self.fee = fee
        self.client, self.node, self.path, self.wallet, self.predictor = client, node, path, wallet, predictor
        self.core = node.core
        self.lease = True
        self.restart()

    def restart(self, path=None):
        journal = getattr(self, "journal", None)
        if journal:
            journal.__exit__(None, None, None)
        self.path = path or self.path
        key = {"chain_id": "allora-testnet-1", "topic_id": 77, "address": self.wallet.address}
        self.journal = Journal(self.path, SystemClock(), **key).__enter__()
        self.account = Account(self.client, self.wallet, "allora-testnet-1", self.fee)
        self.submitter = Submitter(
            self.account, self.journal, SystemClock(), topic=self.topic, block=timedelta(seconds=0.1),
            may_sign=lambda address, topic: self.lease,
        )  # fmt: skip

    @property
    def topic(self):
        return SimpleNamespace(id=77, epoch_length=12, ground_truth_lag=12, worker_window=8)

    def step(self, blocks=1):
        for _ in range(blocks):
            self.node.step(float(self.core.height + 1))

    async def handle(self, nonce=12):
        return await self.submitter.handle(nonce, self.predictor)

    def row(self, nonce=12):
        return self.journal.row(nonce)

    async def send_other(self):
        """A transaction of the same wallet that the submitter knows nothing of."""
        account = await self.client.account(self.wallet.address)
        sequence = self.core.pending_account(self.wallet.address).sequence
        message = registration(self.wallet.address, 77)
        other = sign(
            message, self.wallet, chain_id="allora-testnet-1", number=account.number, sequence=sequence,
            gas=300_000, fee=10**8, timeout_height=0,
        )  # fmt: skip
        await self.client.broadcast(other.content, other.hash)

    def forget_mempool(self):
        self.core._pending.clear()
        self.core._recheck()

    def delivered(self):
        """By nonce, how many transactions of this wallet took effect; and the logs of those that did not."""
        return [result.log for result in self.core.results.values() if result.code]


def run_scene(scene, folder, wallet, predictor=None, *, fee=None, start=12):
    """Run ``scene(desk)`` with the window of nonce 12 open; or without a block, for ``start`` 0."""

    async def act(node):
        async with ChainClient(node.grpc_url) as client:
            if start:
                message = registration(wallet.address, 77)
                gas = await client.simulate(unsigned(message, wallet, 0))
                signed = sign(
                    message, wallet, chain_id="allora-testnet-1", number=0, sequence=0, gas=gas, fee=10**8,
                    timeout_height=0,
                )  # fmt: skip
                await client.broadcast(signed.content, signed.hash)
            desk = Desk(client, node, folder / "j.db", wallet, predictor or Steady(), fee or FeePolicy())
            desk.step(start)
            try:
                await scene(desk)
            finally:
                desk.journal.__exit__(None, None, None)

    with EmbeddedLocalnet([SPEC], block_seconds=0) as node:
        if start:
            node.fund(wallet.address)
        asyncio.run(act(node))


async def included(desk, value=100.0):
    desk.step()
    await desk.submitter.settle()
    row = desk.row()
    assert (row.state, row.code, row.value) == ("included", 0, value), row
    assert float(desk.core.topics[77].nonces[12].inferences[desk.wallet.address]) == value
    assert not [log for log in desk.delivered() if "already submitted" in log]
