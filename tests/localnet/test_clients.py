"""The unmodified official clients against a node on loopback."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from crucible.localnet.decimals import payable
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.keys import GENESIS_VALIDATOR
from crucible.localnet.topic import TopicSpec

SPEC = TopicSpec(
    id=77, metadata="test", loss_method="sqe", asset="BTC/USD", target="price", symbol="BTCUSDT", interval_seconds=300,
    horizon_seconds=3, cadence_seconds=3, epoch_length=15, ground_truth_lag=15, worker_window=13,
)  # fmt: skip


@pytest.fixture(scope="module")
def node():
    with EmbeddedLocalnet([SPEC], block_seconds=0.2) as net:
        yield net


def wait(condition, process, what, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


@pytest.mark.processes
@pytest.mark.timeout(240)
def test_unmodified_sdk_workers_of_every_role_live_a_full_life(node, tmp_path):
    """Faucet, registration, stake, submissions, scores, rewards, and rewards staked on by themselves."""
    script = Path(__file__).with_name("sdk_worker.py")
    arguments = [node.grpc_url, node.websocket_url, node.faucet_url, "77", GENESIS_VALIDATOR]
    with (tmp_path / "errors.txt").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            text=True,
        )  # fmt: skip
    try:
        who = json.loads(next(line for line in process.stdout if line.startswith("{")))["addresses"]

        def topic():
            return node.core.topics[77]

        wait(lambda: topic().stake_of(who["reputer"]) >= 50_000, process, "the reputer's registration and stake")
        process.stdin.write("go\n")
        process.stdin.flush()
        wait(lambda: topic().delegations.get(who["reputer"]), process, "an inferer's stake on the reputer")
        wait(
            lambda: who["validator_inferer"] in node.core.ledger.validators[GENESIS_VALIDATOR],
            process,
            "an inferer's stake with the validator",
        )
        wait(lambda: any(nonce.forecaster_scores for nonce in topic().nonces.values()), process, "a forecaster's score")
    finally:
        process.kill()
        lines = [json.loads(line) for line in process.communicate()[0].splitlines() if line.startswith("{")]
    for role in who:
        outcomes = [line["outcome"] for line in lines if line["role"] == role]
        assert any("WorkerResult(" in outcome for outcome in outcomes), (role, outcomes)
    full = [nonce for nonce in topic().nonces.values() if nonce.rewards]
    assert {who["inferer"], who["validator_inferer"]} >= set(full[-1].scores)
    # each of them staked exactly what it was paid for one of its epochs
    staked = topic().delegations[who["reputer"]]
    assert set(staked) == {who["inferer"]}
    paid = [payable(nonce.rewards["inferer"].get(who["inferer"], 0.0)) for nonce in full]
    assert staked[who["inferer"]] in {
        sum(paid[first:last]) for first in range(len(paid)) for last in range(len(paid) + 1)
    }
    refused = [result for result in node.core.results.values() if result.code]
    assert not [result for result in refused if "signature" in result.log or "validation" in result.log], refused


def test_cosmpys_ledger_client_queries_and_sends(node):
    from cosmpy.aerial.client import LedgerClient, NetworkConfig
    from cosmpy.aerial.wallet import LocalWallet

    sender, receiver = LocalWallet.generate(prefix="allo"), LocalWallet.generate(prefix="allo")
    node.fund(str(sender.address()), 10**12)
    client = LedgerClient(
        NetworkConfig(
            chain_id="allora-testnet-1", url=node.grpc_url, fee_minimum_gas_price=10, fee_denomination="uallo",
            staking_denomination="uallo",
        )
    )  # fmt: skip
    assert client.query_bank_balance(sender.address(), "uallo") == 10**12
    transaction = client.send_tokens(receiver.address(), 1234, "uallo", sender)
    transaction.wait_to_complete()
    assert client.query_bank_balance(receiver.address(), "uallo") == 1234
    assert client.query_account(sender.address()).sequence == 1
    [validator] = client.query_validators()
    assert str(validator.address) == GENESIS_VALIDATOR
    client.delegate_tokens(validator.address, 5678, sender).wait_to_complete()
    assert node.core.ledger.validators[GENESIS_VALIDATOR][str(sender.address())] == 5678
    assert client.query_height() > 0
    assert client.query_latest_block().chain_id == "allora-testnet-1"


def test_the_websocket_confirms_before_the_first_event_and_refuses_nonsense(node):
    query = "tm.event='NewBlockEvents' AND emissions.v10.EventWorkerSubmissionWindowOpened.topic_id = '\"77\"'"

    async def talk():
        async with aiohttp.ClientSession() as session, session.ws_connect(node.websocket_url) as socket:
            call = {"jsonrpc": "2.0", "method": "subscribe", "id": "one", "params": {"query": query}}
            await socket.send_json(call)
            first = await socket.receive_json(timeout=10)
            second = await socket.receive_json(timeout=10)
            await socket.send_json({**call, "id": "two", "params": {"query": "nonsense"}})
            third = await socket.receive_json(timeout=10)
            await socket.send_str("{")
            fourth = await socket.receive_json(timeout=10)
            await socket.send_json({**call, "method": "unsubscribe"})
            return first, second, third, fourth

    confirmed, event, refused, garbage = asyncio.run(talk())
    assert confirmed == {"jsonrpc": "2.0", "id": "one", "result": {}}
    assert event["id"] == "one"
    assert event["result"]["query"] == query
    value = event["result"]["data"]["value"]
    assert isinstance(value["height"], str)
    assert "emissions.v10.EventWorkerSubmissionWindowOpened" in {item["type"] for item in value["events"]}
    assert "failed to parse query" in refused["error"]["message"]
    assert garbage["error"]["code"] == -32700


def test_the_faucet_and_the_topic_list(node):
    async def ask():
        async with aiohttp.ClientSession() as session:
            form = {"chain": "allora-testnet-1", "address": "allo1q0y8axsfzr4t2z8fzs0h6kz2qz7qf5uj0tn4my"}
            bad = await session.post(f"{node.faucet_url}/api/request", data={**form, "address": "nobody"})
            topics = await session.get(f"{node.api_url}/allora/allora-testnet-1/topics")
            return bad.status, await topics.json()

    status, topics = asyncio.run(ask())
    assert status == 400
    assert topics["status"] is True
    assert [topic["topic_id"] for topic in topics["data"]["topics"]] == [77]


def test_an_unknown_method_answers_unimplemented(node):
    from allora_sdk.rpc_client.protos.emissions import v10 as e
    from grpclib import GRPCError, Status
    from grpclib.client import Channel

    async def ask():
        host, port = node.grpc_url.removeprefix("grpc+http://").split(":")
        channel = Channel(host, int(port))
        try:
            with pytest.raises(GRPCError) as caught:
                await e.QueryServiceStub(channel).get_latest_regret_std_norm(e.GetLatestRegretStdNormRequest())
            return caught.value.status
        finally:
            channel.close()

    assert asyncio.run(ask()) is Status.UNIMPLEMENTED
