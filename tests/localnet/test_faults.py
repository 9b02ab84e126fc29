"""Every fault of the table, over the real wires: it does what its row says, and it ends."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import aiohttp
import pytest
from allora_sdk.rpc_client.protos.cosmos.bank import v1beta1 as bank
from allora_sdk.rpc_client.protos.cosmos.base.tendermint import v1beta1 as tm
from allora_sdk.rpc_client.protos.cosmos.tx import v1beta1 as tx
from allora_sdk.rpc_client.protos.emissions import v10 as e
from allora_sdk.rpc_client.protos.feemarket.feemarket import v1 as feemarket
from chain_world import SPEC, key, payload, signed
from click.testing import CliRunner
from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.exceptions import StreamTerminatedError

from crucible.cli import crucible
from crucible.errors import SettingsError
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.fault_table import FAULTS
from crucible.localnet.faults import Faults

WORKER = key("worker")


class Hands:
    """A node whose blocks the test makes, and a channel to it."""

    def __init__(self, node):
        self.node, self.core, self.faults = node, node.core, node.core.faults

    @asynccontextmanager
    async def channel(self):
        parts = urlsplit(self.node.grpc_url)
        channel = Channel(parts.hostname, parts.port)
        try:
            yield channel
        finally:
            channel.close()

    def ask(self, stub, method, request, deadline=2.0):
        async def act():
            async with self.channel() as channel:
                return await getattr(stub(channel), method)(request, timeout=deadline)

        return asyncio.run(act())

    def balance(self):
        request = bank.QueryBalanceRequest(address=WORKER.address, denom="uallo")
        return int(self.ask(bank.QueryStub, "balance", request).balance.amount)

    def height(self):
        return self.ask(tm.ServiceStub, "get_latest_block", tm.GetLatestBlockRequest()).sdk_block.header.height

    def broadcast(self, message, **changes):
        content = signed(self.core, WORKER, message, **changes)
        request = tx.BroadcastTxRequest(tx_bytes=content, mode=tx.BroadcastMode.SYNC)
        return self.ask(tx.ServiceStub, "broadcast_tx", request).tx_response

    def nonces(self):
        request = e.GetUnfulfilledWorkerNoncesRequest(topic_id=77)
        found = self.ask(e.QueryServiceStub, "get_unfulfilled_worker_nonces", request).nonces
        return [nonce.block_height for nonce in found.nonces]

    def step(self, blocks=1):
        for _ in range(blocks):
            self.node.step(float(self.core.height + 1))

    def step_to(self, height):
        self.step(height - self.core.height)

    def last(self):
        return list(self.core.results.values())[-1]

    def register(self):
        return e.RegisterRequest(sender=WORKER.address, topic_id=77, owner=WORKER.address)

    def open_window(self):
        assert self.broadcast(self.register()).code == 0
        self.step_to(12)

    def events(self, blocks, settle=0.1):
        """What a subscriber hears of nonces opening while ``blocks`` are made; None where it was cut off."""

        async def listen():
            heard = []
            async with aiohttp.ClientSession() as session, session.ws_connect(self.node.websocket_url) as socket:
                query = "tm.event='NewBlockEvents'"
                await socket.send_json({"jsonrpc": "2.0", "method": "subscribe", "id": "1", "params": {"query": query}})
                await socket.receive_json(timeout=2)
                for _ in range(blocks):
                    await asyncio.to_thread(self.step)
                while True:
                    try:
                        message = await socket.receive(timeout=settle)
                    except TimeoutError:
                        return heard
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        return [*heard, None]
                    heard.append(int(json.loads(message.data)["result"]["data"]["value"]["height"]))

        return asyncio.run(listen())


@pytest.fixture
def hands():
    with EmbeddedLocalnet([SPEC], block_seconds=0) as node:
        node.fund(WORKER.address)
        node.step(1.0)
        yield Hands(node)


# while the port closes, grpclib's client meets a connection that is cut at any moment of its set-up
UNANSWERED = (OSError, AttributeError, StreamTerminatedError)


def refused(hands):
    hands.faults.arm("rpc-refused")
    deadline = time.monotonic() + 5
    outcome = None
    while not isinstance(outcome, ConnectionRefusedError):
        assert time.monotonic() < deadline, "the port still answers"
        try:
            outcome = hands.balance()
        except UNANSWERED as error:
            outcome = error
    hands.faults.clear("rpc-refused")
    while not isinstance(outcome, int):
        assert time.monotonic() < deadline, "the port did not open again"
        time.sleep(0.02)
        try:
            outcome = hands.balance()
        except UNANSWERED as error:
            outcome = error


def http(status, grpc):
    def scene(hands):
        hands.faults.arm(f"rpc-{status}", count=2)
        for _ in range(2):
            with pytest.raises(GRPCError) as caught:
                hands.balance()
            assert (caught.value.status, f"'{status}'" in caught.value.message) == (grpc, True)
        assert hands.balance() > 0

    return scene


def hang(hands):
    hands.faults.arm("rpc-hang", count=1)
    with pytest.raises(TimeoutError):
        hands.ask(tm.ServiceStub, "get_latest_block", tm.GetLatestBlockRequest(), deadline=0.3)
    assert hands.height() == 1


def simulate_mismatch(hands):
    hands.faults.arm("simulate-mismatch", count=1)
    request = tx.SimulateRequest(tx_bytes=signed(hands.core, WORKER, hands.register()))
    with pytest.raises(GRPCError) as caught:
        hands.ask(tx.ServiceStub, "simulate", request)
    assert "account sequence mismatch, expected 1, got 0" in caught.value.message
    assert hands.ask(tx.ServiceStub, "simulate", request).gas_info.gas_used == 120_000


def at_checktx(name, code, *, taken=False):
    def scene(hands):
        hands.faults.arm(name, count=1, topic=5)
        hands.faults.arm(name, count=1, topic=77)
        response = hands.broadcast(hands.register())
        assert (response.codespace, response.code) == ("sdk", code)
        hands.step()
        assert bool(hands.core.results) is taken
        if not taken:
            assert hands.broadcast(hands.register()).code == 0
        assert hands.faults.topics(name) == {5}

    return scene


def fee_spike(hands):
    hands.faults.arm("fee-spike", value=4)
    price = hands.ask(feemarket.QueryStub, "gas_price", feemarket.GasPriceRequest(denom="uallo")).price
    assert price.amount == str(40 * 10**18)
    state = hands.ask(feemarket.QueryStub, "state", feemarket.StateRequest()).state
    assert state.base_gas_price == price.amount
    assert hands.broadcast(hands.register()).code == 13
    assert hands.broadcast(hands.register(), fee=12_000_000).code == 0
    hands.faults.clear("fee-spike")
    assert hands.broadcast(hands.register()).code == 0


def response_lost(hands):
    hands.faults.arm("response-lost", count=1)
    with pytest.raises(GRPCError) as caught:
        hands.broadcast(hands.register())
    assert caught.value.status is Status.UNAVAILABLE
    hands.step()
    assert hands.last().code == 0


def unfunded(hands):
    hands.faults.arm("wallet-unfunded")
    assert hands.balance() == 0
    assert hands.broadcast(hands.register()).code == 5
    hands.faults.clear()
    assert hands.balance() > 0
    assert hands.broadcast(hands.register()).code == 0


def late(hands):
    hands.open_window()
    hands.faults.arm("included-late", count=1, value=9)
    assert hands.broadcast(payload(WORKER, 12)).code == 0
    hands.step(9)
    assert hands.last().height < 12
    hands.step()
    assert hands.last().code == 75  # after the window


def forgotten(hands):
    hands.faults.arm("tx-forgotten", count=1)
    assert hands.broadcast(hands.register()).code == 0
    hands.step(3)
    assert hands.core.results == {}
    assert hands.broadcast(hands.register()).code == 0
    hands.step()
    assert hands.last().code == 0


def at_delivery(name, codespace, code):
    def scene(hands):
        hands.open_window()
        hands.faults.arm(name, count=1)
        assert hands.broadcast(payload(WORKER, 12)).code == 0
        hands.step()
        assert (hands.last().codespace, hands.last().code) == (codespace, code)
        assert hands.broadcast(payload(WORKER, 12)).code == 0
        hands.step()
        assert hands.last().code == 0

    return scene


def sockets(name, expected):
    def scene(hands):
        hands.step_to(11)
        hands.faults.arm(name, count=1)
        assert hands.events(14) == expected

    return scene


def paused(hands):
    hands.faults.arm("topic-paused", topic=77)
    hands.step_to(30)
    assert hands.nonces() == []
    topic = hands.core.topics[77]
    status = e.GetWorkerSubmissionWindowStatusRequest(topic_id=77, address=WORKER.address)
    assert not hands.ask(e.QueryServiceStub, "get_worker_submission_window_status", status).is_topic_active
    hands.faults.clear("topic-paused")
    hands.step_to(36)
    assert topic.runs
    assert hands.nonces() == [36]


def described(hands):
    return hands.ask(e.QueryServiceStub, "get_topic", e.GetTopicRequest(topic_id=77)).topic


def loss_changed(hands):
    hands.faults.arm("loss-changed")
    hands.step()
    assert described(hands).loss_method == "mae"
    assert hands.core.to_json()["topics"][0]["spec"]["loss_method"] == "sqe"  # a fault does not survive a restart
    hands.faults.clear()
    hands.step()
    assert described(hands).loss_method == "sqe"


def epoch_changed(hands):
    hands.faults.arm("epoch-changed", value=2)
    hands.step_to(25)
    assert (described(hands).epoch_length, described(hands).worker_submission_window) == (24, 16)
    assert hands.nonces() == [24]  # and none at 12
    hands.faults.clear()
    hands.step_to(37)
    assert described(hands).epoch_length == 12
    assert hands.nonces() == [36]


def behind(hands):
    hands.open_window()
    hands.step(2)
    hands.faults.arm("node-behind", value=4)
    assert hands.height() == 10
    assert hands.nonces() == []
    hands.broadcast(payload(WORKER, 12))
    hands.step()
    request = tx.GetTxRequest(hash=hands.last().hash)
    with pytest.raises(GRPCError) as caught:
        hands.ask(tx.ServiceStub, "get_tx", request)
    assert caught.value.status is Status.NOT_FOUND
    hands.faults.clear()
    assert hands.ask(tx.ServiceStub, "get_tx", request).tx_response.code == 0
    assert hands.nonces() == [12]


def clock(name, sign):
    def scene(hands):
        hands.step_to(100)
        hands.faults.arm(name, value=12)
        header = hands.ask(tm.ServiceStub, "get_latest_block", tm.GetLatestBlockRequest()).sdk_block.header
        assert header.time.timestamp() == 100 + sign * 12
        hands.faults.clear()
        header = hands.ask(tm.ServiceStub, "get_latest_block", tm.GetLatestBlockRequest()).sdk_block.header
        assert header.time.timestamp() == 100

    return scene


def halting(name, caught_up):
    def scene(_):
        # one-second epochs of twenty blocks
        spec = replace(SPEC, cadence_seconds=1, epoch_length=20, ground_truth_lag=20, worker_window=15)
        with EmbeddedLocalnet([spec], block_seconds=0.05) as node:
            time.sleep(0.2)
            node.core.faults.arm(name, seconds=1.4)
            time.sleep(0.15)
            stood, at = node.core.height, node.core.time
            time.sleep(0.3)
            assert node.core.height == stood
            time.sleep(1.6)
            missing = (node.core.time - at) / 0.05 - (node.core.height - stood)
            assert node.core.height - stood > 3
            assert missing == pytest.approx(0 if caught_up else 20, abs=1)

    return scene


def faucet(hands):
    hands.faults.arm("faucet-429", count=1)

    async def ask():
        form = {"chain": "allora-testnet-1", "address": WORKER.address}
        async with aiohttp.ClientSession() as session:
            return [(await session.post(f"{hands.node.faucet_url}/api/request", data=form)).status for _ in range(2)]

    assert asyncio.run(ask()) == [429, 200]


SCENES = {
    "rpc-refused": refused,
    "rpc-403": http(403, Status.PERMISSION_DENIED),
    "rpc-429": http(429, Status.UNAVAILABLE),
    "rpc-500": http(500, Status.UNKNOWN),
    "rpc-502": http(502, Status.UNAVAILABLE),
    "rpc-503": http(503, Status.UNAVAILABLE),
    "rpc-504": http(504, Status.UNAVAILABLE),
    "rpc-hang": hang,
    "simulate-mismatch": simulate_mismatch,
    "broadcast-mismatch": at_checktx("broadcast-mismatch", 32),
    "tx-in-cache": at_checktx("tx-in-cache", 19, taken=True),
    "mempool-full": at_checktx("mempool-full", 20),
    "fee-too-low": at_checktx("fee-too-low", 13),
    "fee-spike": fee_spike,
    "response-lost": response_lost,
    "wallet-unfunded": unfunded,
    "included-late": late,
    "tx-forgotten": forgotten,
    "code-68": at_delivery("code-68", "emissions", 68),
    "code-75": at_delivery("code-75", "emissions", 75),
    "code-78": at_delivery("code-78", "emissions", 78),
    "out-of-gas": at_delivery("out-of-gas", "sdk", 11),
    "ws-drop": sockets("ws-drop", [None]),
    "ws-gap": sockets("ws-gap", [24]),
    "ws-duplicate": sockets("ws-duplicate", [12, 12, 24]),
    "ws-out-of-order": sockets("ws-out-of-order", [24, 12]),
    "topic-paused": paused,
    "loss-changed": loss_changed,
    "epoch-changed": epoch_changed,
    "node-behind": behind,
    "halted": halting("halted", False),
    "halted-burst": halting("halted-burst", True),
    "clock-ahead": clock("clock-ahead", 1),
    "clock-behind": clock("clock-behind", -1),
    "faucet-429": faucet,
}


def test_every_fault_has_a_scene():
    assert set(SCENES) == set(FAULTS)


@pytest.mark.parametrize("name", SCENES)
def test_the_fault_does_what_its_row_says_and_ends(name, hands):
    SCENES[name](hands)


def test_house_transactions_are_never_hit(hands):
    from crucible.localnet.client import submit

    for name, kind in FAULTS.items():
        if kind.part in ("CheckTx", "mempool", "delivery"):
            hands.faults.arm(name)
    hands.core.faults.refuse = ("sdk", 99, "no")
    assert submit(hands.core, WORKER, hands.register()) == ""
    hands.step()
    assert hands.last().code == 0


def test_counts_and_seconds_run_out_and_nonsense_is_refused():
    now = [100.0]
    faults = Faults(now=lambda: now[0])
    faults.arm("rpc-503", count=2, seconds=10)
    faults.arm("node-behind")
    assert [bool(faults.take("rpc-503")) for _ in range(3)] == [True, True, False]
    assert faults.value("node-behind", 0) == 5
    faults.arm("rpc-503", seconds=10)
    [behind_row, row] = faults.describe()
    assert (row["seconds"], behind_row["name"]) == (10, "node-behind")
    now[0] = 110.0
    assert faults.active("rpc-503") is None
    for asked in (
        {"name": "nothing"}, {"name": "halted", "count": 3}, {"name": "rpc-503", "count": 0},
        {"name": "rpc-503", "topic": 7},
        {"name": "rpc-503", "value": 2}, {"name": "fee-spike", "value": -1}, {"name": "rpc-503", "seconds": 0},
    ):  # fmt: skip
        with pytest.raises(SettingsError):
            faults.arm(**asked)


def test_the_command_line_switches_faults_of_a_running_node(hands):
    runner = CliRunner()

    def command(*arguments):
        return runner.invoke(crucible, ["localnet", "fault", *arguments, "--url", hands.node.control_url])

    shown = command("--list")
    assert shown.exit_code == 0, shown.output
    assert all(name in shown.output for name in FAULTS)
    assert "on: nothing" in shown.output
    assert "on: rpc-503 3 times" in command("rpc-503", "--count", "3").output
    armed = command("included-late", "--topic", "77", "--for", "60", "--value", "4").output
    assert "included-late topic 77 60 s" in armed
    assert hands.faults.active("included-late", 77).value == 4
    assert "included-late" not in command("included-late", "--clear").output
    assert "on: nothing" in command("--clear").output
    assert isinstance(command("nothing").exception, SettingsError)
    assert isinstance(runner.invoke(crucible, ["localnet", "fault", "halted", "--url", "http://example.org/control"])
                      .exception, SettingsError)  # fmt: skip
    assert command().exit_code == 2


def test_the_control_endpoint_makes_blocks_and_refuses_nonsense(hands):
    async def talk():
        async with aiohttp.ClientSession() as session:
            url = hands.node.control_url
            made = await (await session.post(f"{url}/blocks", json={"count": 7})).json()
            wrong = [
                (await session.post(f"{url}/faults", data="x")).status,
                (await session.post(f"{url}/faults", data="{", headers={"Content-Type": "application/json"})).status,
                (await session.post(f"{url}/faults", json=[1])).status,
                (await session.post(f"{url}/faults", json={"name": "halted", "seconds": "long"})).status,
                (await session.post(f"{url}/blocks", json={"count": 10**9})).status,
                (await session.delete(f"{url}/faults?name=unknown")).status,
            ]
            return made, wrong

    made, wrong = asyncio.run(talk())
    assert made["height"] == 8
    assert wrong == [400] * 6
