"""SIGKILL at random moments: nothing is paid twice, nothing is said twice, and nothing that was recorded is lost."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from payload_witness import Witness

from crucible.chain.client import ChainClient
from crucible.chain.payloads import registration
from crucible.chain.transaction import sign, unsigned
from crucible.chain.wallet import Wallet, new_mnemonic
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.topic import TopicSpec
from crucible.worker.journal import FOLLOWS, TERMINAL, read_journal

pytestmark = pytest.mark.processes
BLOCK = 0.1
TOPICS = (77, 78)
KILLS = 1000 if os.environ.get("CRUCIBLE_PROVE") else 50


def spec(topic_id: int) -> TopicSpec:
    return TopicSpec(
        id=topic_id, metadata="test", loss_method="sqe", asset="BTC/USD", target="price", symbol="BTCUSDT",
        interval_seconds=300, horizon_seconds=1, cadence_seconds=1, epoch_length=10, ground_truth_lag=10,
        worker_window=7,
    )  # fmt: skip


async def register(url: str, wallet: Wallet) -> None:
    async with ChainClient(url) as client:
        for topic in TOPICS:
            account = await client.account(wallet.address)
            message = registration(wallet.address, topic)
            gas = await client.simulate(unsigned(message, wallet, account.sequence))
            made = sign(
                message, wallet, chain_id="allora-testnet-1", number=account.number, sequence=account.sequence, gas=gas,
                fee=10**8, timeout_height=0,
            )  # fmt: skip
            await client.broadcast(made.content, made.hash)
            while await client.find(made.hash) is None:
                await asyncio.sleep(0.05)


@pytest.mark.timeout(60 + KILLS * 2)
def test_a_worker_that_is_killed_at_any_moment_pays_once_says_one_thing_and_forgets_nothing(tmp_path):
    words = new_mnemonic()
    wallet, journal, log = Wallet(words), tmp_path / "wallet.db", tmp_path / "acknowledged"
    generator = random.Random(9)
    with EmbeddedLocalnet([spec(topic) for topic in TOPICS], block_seconds=BLOCK) as node:
        witness = Witness(node.core)
        node.fund(wallet.address)
        asyncio.run(register(node.grpc_url, wallet))
        mother = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("mortal.py"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, bufsize=1, start_new_session=True,
        )  # fmt: skip
        try:
            world = {
                "grpc_url": node.grpc_url, "words": words, "journal": str(journal), "log": str(log), "block": BLOCK,
                "topics": TOPICS,
            }  # fmt: skip
            mother.stdin.write(json.dumps(world) + "\n")
            for _ in range(KILLS):
                live(mother, log, generator)
            before = answered(journal)
            pid = born(mother)
            deadline = time.monotonic() + 20
            while answered(journal) < before + 3:
                assert time.monotonic() < deadline, "life does not go on"
                time.sleep(0.1)
            end(mother, pid)
        finally:
            # a life outlives its mother, and holds her output open
            mother.stdin.close()
            os.killpg(mother.pid, signal.SIGKILL)
            mother.wait()
            mother.stdout.close()
        judge(node, witness, wallet, read_journal(journal), log)


def born(mother) -> int:
    mother.stdin.write("live\n")
    return int(mother.stdout.readline())


def end(mother, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    assert mother.stdout.readline() == "ended\n"


def live(mother, log: Path, generator) -> None:
    """One life: killed at any moment, or a moment after one of its next records."""
    pid = born(mother)
    if generator.random() < 0.4:
        time.sleep(generator.uniform(0.02, 0.7))
    else:
        deadline, wanted = time.monotonic() + 0.8, records(log) + generator.randint(1, 4)
        while records(log) < wanted and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(generator.uniform(0, 0.02))
    end(mother, pid)


def records(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def answered(journal: Path) -> int:
    return sum(row.state in ("included", "scored", "unscored", "left_out") for row in read_journal(journal))


def judge(node, witness, wallet, rows, log) -> None:
    by_key = {(row.topic_id, row.nonce): row for row in rows}
    assert len(by_key) > KILLS / 10
    # one payload per nonce, whatever was handed to the node, and no transaction too many in a block
    assert witness.conflicts() == {}
    assert {key: count for key, count in witness.paid.items() if count > 1} == {}
    assert [log for (code, log) in witness.codes if "already submitted" in log] == []
    # what the chain holds is what the journal says
    for topic in TOPICS:
        for height, nonce in node.core.topics[topic].nonces.items():
            held = nonce.inferences.get(wallet.address)
            if held is not None:
                assert float(held) == by_key[topic, height].value
                assert by_key[topic, height].state not in ("missed", "rejected")
    # nothing that the journal had acknowledged is gone or was taken back
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) > KILLS / 4
    for topic, nonce, state, value, tx_hash in lines:
        row = by_key[topic, nonce]
        assert reachable(state, row.state), (state, row)
        if tx_hash:
            assert row.value == value
    assert all(row.reason_code for row in rows if row.state in ("missed", "rejected", "unscored", "left_out"))
    states = Counter(row.state for row in rows)
    assert states["rejected"] == 0
    assert set(states) <= TERMINAL | {"seen", "predicted", "signed", "broadcast", "included"}


def reachable(start: str, goal: str) -> bool:
    found, ahead = {start}, {start}
    while ahead := {following for state in ahead for following in FOLLOWS[state]} - found:
        found |= ahead
    return goal in found
