"""The unmodified official clients against a node on loopback."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.topic import TopicSpec

SPEC = TopicSpec(
    id=77, metadata="test", loss_method="sqe", asset="BTC/USD", target="price", symbol="BTCUSDT", interval_seconds=300,
    horizon_seconds=6, cadence_seconds=6, epoch_length=24, ground_truth_lag=24, worker_window=20,
)  # fmt: skip


@pytest.fixture(scope="module")
def node():
    with EmbeddedLocalnet([SPEC], block_seconds=0.25) as net:
        yield net


def test_the_unmodified_sdk_worker_registers_and_submits(node):
    script = Path(__file__).with_name("sdk_worker.py")
    arguments = [node.grpc_url, node.websocket_url, node.faucet_url, "77", "2"]
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=90, check=False
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == 2, done.stdout + done.stderr
    assert all("WorkerResult(submission=101.5" in line["outcome"] for line in lines), lines
    address = lines[0]["address"]
    topic = node.core.topics[77]
    assert address in topic.workers
    accepted = [nonce for nonce in topic.nonces.values() if nonce.inferences.get(address) == "101.5"]
    assert len(accepted) == 2


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
