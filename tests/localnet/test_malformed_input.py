"""Whatever arrives on the wires, the node answers with a refusal and makes its next block."""

import asyncio
import json
import os
from contextlib import contextmanager, suppress
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from allora_sdk.rpc_client.protos.cosmos.base.v1beta1 import Coin
from allora_sdk.rpc_client.protos.cosmos.tx import v1beta1 as tx
from allora_sdk.rpc_client.protos.emissions import v3, v9
from allora_sdk.rpc_client.protos.emissions import v10 as e
from chain_world import SPEC, chain, key, payload, register, report, signed, stake, step_to
from grpclib import GRPCError, Status
from grpclib.client import Channel, UnaryUnaryMethod
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crucible.localnet.abci import Refusal
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.events import Query
from crucible.localnet.grpc import Service
from crucible.localnet.messages import HANDLERS

WORKER, REPUTER = key("worker"), key("reputer")


@pytest.fixture(autouse=True)
def nothing_unforeseen(caplog):
    """Refusals are foreseen; a handler or a query that fails in its own code is not."""
    yield
    assert [
        record.getMessage() for record in caplog.get_records("call") if record.name.startswith("crucible.localnet")
    ] == []


EXAMPLES = 2000 if os.environ.get("CRUCIBLE_PROVE") else 80
FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def node():
    with EmbeddedLocalnet([SPEC], block_seconds=0) as net:
        net.fund(WORKER.address)
        yield net


@pytest.fixture(scope="module")
def core():
    made = chain(funded=(WORKER, REPUTER))
    register(made, WORKER)
    register(made, REPUTER, is_reputer=True)
    stake(made, REPUTER)
    step_to(made, 12)
    return made


@FUZZ
@given(st.binary(max_size=400))
def test_random_bytes_as_a_transaction(core, content):
    _, refusal = core.broadcast(content)
    assert refusal is not None
    assert refusal.code
    with pytest.raises(Refusal):
        core.simulate(content)


@FUZZ
@given(st.data())
def test_a_real_transaction_with_some_bytes_changed(core, data):
    content = bytearray(signed(core, WORKER, payload(WORKER, 12)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    before = core.height
    core.broadcast(bytes(content))
    core.step(float(core.height + 1))
    assert core.height == before + 1


@FUZZ
@given(st.sampled_from(sorted(HANDLERS)), st.binary(max_size=200))
def test_random_bytes_as_any_message(core, type_url, content):
    from crucible.localnet.client import sign_transaction

    class Raw:
        def __bytes__(self):
            return content

    Raw.__module__, Raw.__name__ = "x.protos." + type_url[1:].rpartition(".")[0], type_url.rpartition(".")[2]
    account = core.pending_account(WORKER.address)
    made = sign_transaction(WORKER, Raw(), chain_id=core.chain_id, number=account.number, sequence=account.sequence)
    core.broadcast(made)
    with suppress(Refusal):
        core.simulate(made)
    core.step(float(core.height + 1))


ODD = [
    "",
    "-1",
    "0",
    "NaN",
    "Infinity",
    "1e999999999",
    "-0",
    "1_000",
    "\u0663",
    "1e-41",
    "9" * 200,
    "0x10",
    " 1",
    "1\n",
]
TEXT = st.one_of(st.text(max_size=20), st.sampled_from(ODD))


@FUZZ
@given(TEXT, TEXT, TEXT)
def test_random_texts_where_numbers_belong(core, first, second, third):
    messages = [
        e.AddStakeRequest(sender=REPUTER.address, topic_id=77, amount=first),
        e.FundTopicRequest(sender=REPUTER.address, topic_id=77, amount=second),
        e.DelegateStakeRequest(sender=REPUTER.address, topic_id=77, reputer=first, amount=third),
        e.RemoveStakeRequest(sender=REPUTER.address, topic_id=77, amount=third),
        e.CreateNewTopicRequest(creator=REPUTER.address, metadata=first, loss_method=second or "x", epoch_length=12,
                                ground_truth_lag=12, worker_submission_window=5, p_norm=third, epsilon=first),
        e.BulkAddToTopicWorkerWhitelistRequest(sender=REPUTER.address, topic_id=77, addresses=[first, second]),
        payload(REPUTER, 12, first, {second: third}),
    ]  # fmt: skip
    for message in messages:
        content = signed(core, REPUTER, message)
        try:
            core.simulate(content)
        except Refusal:
            continue


@FUZZ
@given(st.dictionaries(st.text(max_size=12), TEXT, max_size=4), TEXT)
def test_random_loss_bundles(core, losses, combined):
    bundle = v9.InputValueBundle(
        topic_id=77, reputer_request_nonce=v3.ReputerRequestNonce(v3.Nonce(12)), reputer=REPUTER.address,
        combined_value=combined, naive_value="1",
        inferer_values=[v9.InputWorkerAttributedValue(name, value) for name, value in losses.items()],
    )  # fmt: skip
    message = report(REPUTER, 12, {"combined": -1.0, "naive": -1.0, f"inferer:{WORKER.address}": -1.0})
    message.reputer_value_bundle.value_bundle = bundle
    message.reputer_value_bundle.signature = REPUTER.sign(bytes(bundle))
    with pytest.raises(Refusal):
        core.simulate(signed(core, REPUTER, message))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(max_size=80))
def test_random_subscriptions(text):
    with suppress(ValueError):
        Query(text).matches("NewBlockEvents", {})


@pytest.mark.parametrize("coin", ["-5", "1e5", "", "٣", "9" * 100])
def test_fees_that_are_no_numbers(core, coin):
    content = tx.TxRaw.parse(signed(core, WORKER, payload(WORKER, 12)))
    auth = tx.AuthInfo.parse(content.auth_info_bytes)
    auth.fee.amount = [Coin("uallo", coin)]
    content.auth_info_bytes = bytes(auth)
    _, refusal = core.broadcast(bytes(content))
    assert refusal.code in (2, 4)


@contextmanager
def session_of(node):
    loop = asyncio.new_event_loop()
    session = loop.run_until_complete(_session())
    try:
        yield loop, session
    finally:
        loop.run_until_complete(session.close())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def _session():
    return aiohttp.ClientSession()


KEYS = ["id", "method", "params", "query", "jsonrpc", "name", "count", "seconds", "topic", "value"]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


def test_random_json_over_the_websocket_and_to_the_control_endpoint(node):
    with session_of(node) as (loop, session):

        @settings(max_examples=EXAMPLES // 2, deadline=None)
        @given(
            JSON
            | st.fixed_dictionaries({"id": JSON, "method": st.sampled_from(["subscribe", "status"]), "params": JSON})
        )
        def play(value):
            async def talk():
                async with session.ws_connect(node.websocket_url) as socket:
                    await socket.send_str(json.dumps(value))
                    answer = await socket.receive_json(timeout=5)
                    assert "result" in answer or "error" in answer
                response = await session.post(f"{node.control_url}/faults", json=value)
                assert response.status in (200, 400)
                node.core.faults.clear()

            loop.run_until_complete(talk())

        play()


def test_random_paths_queries_and_forms(node):
    with session_of(node) as (loop, session):

        @settings(max_examples=EXAMPLES // 2, deadline=None)
        @given(st.text(max_size=20), st.text(max_size=20), st.binary(max_size=60))
        def play(name, value, body):
            async def talk():
                base = node.api_url
                for method, url, data in (
                    ("GET", f"{base}/allora/{quote(name, safe='')}/topics?continuation_token={quote(value)}", None),
                    ("GET", f"{base}/allora/allora-testnet-1/topics?continuation_token={quote(value)}", None),
                    ("POST", f"{node.faucet_url}/api/request", {"chain": name, "address": value}),
                    ("POST", f"{node.faucet_url}/api/request", body),
                    ("DELETE", f"{node.control_url}/faults?name={quote(name)}", None),
                    ("GET", f"{node.faucet_url}/{quote(name, safe='')}", None),
                ):
                    response = await session.request(method, url, data=data)
                    assert response.status < 500, (method, url)
                multipart = {"Content-Type": "multipart/form-data; boundary=x"}
                response = await session.post(f"{node.faucet_url}/api/request", data=body, headers=multipart)
                assert response.status < 500

            loop.run_until_complete(talk())

        play()


def test_every_grpc_method_takes_an_empty_and_a_damaged_request(node):
    statuses, messages = {}, []

    async def ask():
        parts = urlsplit(node.grpc_url)
        channel = Channel(parts.hostname, parts.port)

        class Damaged:
            """Field 1 as an unfinished length, then a wrong wire type."""

            def SerializeToString(self):
                return b"\x0a\xff\xff\x0f"

        try:
            for path, handler in Service(node.core).__mapping__().items():
                for request in (handler.request_type(), Damaged()):
                    kind = type(request)
                    method = UnaryUnaryMethod(channel, path, kind, handler.reply_type)
                    try:
                        await method(request, timeout=5)
                        statuses[path, kind.__name__] = Status.OK
                    except GRPCError as error:
                        statuses[path, kind.__name__] = error.status
                        messages.append(error.message)
        finally:
            channel.close()

    asyncio.run(ask())
    assert len(statuses) > 230
    assert not [message for message in messages if "Traceback" in message]
    allowed = {Status.OK, Status.NOT_FOUND, Status.UNIMPLEMENTED, Status.INVALID_ARGUMENT, Status.UNKNOWN}
    assert set(statuses.values()) <= allowed, {path: s for path, s in statuses.items() if s not in allowed}
    # the decoder passes over a text that ends early, where the chain would not; but never into a failure
    damaged = [status for (_, name), status in statuses.items() if name == "Damaged"]
    assert damaged.count(Status.INVALID_ARGUMENT) > 60
    node.step()


def test_a_transaction_with_a_field_that_the_chain_does_not_know_is_refused(core):
    """What a client of a later protocol would send: the upgrade that broke deployed workers."""
    message = e.RegisterRequest(sender=REPUTER.address, topic_id=77, owner=REPUTER.address)
    content = signed(core, REPUTER, e.RegisterRequest.parse(bytes(message) + b"\xa2\x06\x01x"))
    _, refusal = core.broadcast(content)
    assert (refusal.code, "unknown fields" in refusal.log) == (2, True)


@pytest.mark.parametrize("content", [b"\x10\x05", b"\x15\x05\x00\x00\x00", b"\x08\x01"])
def test_a_message_that_was_sent_as_a_number_is_refused(node, content):
    """Found by the five minutes of test_wire_fuzz: the decoder leaves the number in the message's place."""

    class Raw:
        def SerializeToString(self):
            return content

    async def ask():
        parts = urlsplit(node.grpc_url)
        channel = Channel(parts.hostname, parts.port)
        path = "/cosmos.staking.v1beta1.Query/Validators"
        try:
            await UnaryUnaryMethod(channel, path, Raw, Service(node.core).__mapping__()[path].reply_type)(
                Raw(), timeout=5
            )
        finally:
            channel.close()

    with pytest.raises(GRPCError) as refused:
        asyncio.run(ask())
    assert refused.value.status is Status.INVALID_ARGUMENT


def test_a_body_in_another_encoding_than_it_claims_is_refused(node):
    with session_of(node) as (loop, session):

        async def ask():
            headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"}
            answer = await session.post(f"{node.faucet_url}/api/request", data=b"chain=x", headers=headers)
            return answer.status

        assert loop.run_until_complete(ask()) == 400
