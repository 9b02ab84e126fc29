"""Localnet's four wires under whatever can be sent: HTTP by schemathesis and raw, the websocket, gRPC.

Some seconds by default; ``CRUCIBLE_PROVE=1`` goes on for five minutes.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp.http_exceptions import HttpProcessingError
from chain_world import SPEC, key
from grpclib import GRPCError, Status
from grpclib.client import Channel, UnaryUnaryMethod
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis_run import NONSENSE, PROVE, fuzz, send_raw

from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.fault_table import FAULTS
from crucible.localnet.grpc import Service

pytestmark = pytest.mark.processes
WORKER = key("worker")

TEXT = {"type": "string"}
NUMBER = {"type": ["number", "null"]}


def body(schema, kind="application/json"):
    return {"required": True, "content": {kind: {"schema": {"type": "object", **schema}}}}


def query(name, *known):
    return {"name": name, "in": "query", "schema": {"anyOf": [{"enum": list(known)}, TEXT]}}


def operation(*parameters, **more):
    return {"parameters": list(parameters), "responses": {"200": {"description": "done"}}, **more}


FAULT = {
    "name": {"anyOf": [{"enum": sorted(FAULTS)}, TEXT]},
    **dict.fromkeys(("count", "seconds", "topic", "value"), NUMBER),
}
NETWORK = {
    "name": "network",
    "in": "path",
    "required": True,
    "schema": {"anyOf": [{"enum": ["allora-testnet-1"]}, TEXT]},
}
GRANT = {
    "chain": {"anyOf": [{"enum": ["allora-testnet-1"]}, TEXT]},
    "address": {"anyOf": [{"enum": [WORKER.address]}, TEXT]},
}
PATHS = {
    "/api/request": {
        "post": operation(requestBody=body({"properties": GRANT}, "application/x-www-form-urlencoded")),
    },
    "/v2/allora/{network}/topics": {"get": operation(NETWORK, query("continuation_token", "0", "100"))},
    "/control/faults": {
        "get": operation(),
        "post": operation(requestBody=body({"properties": FAULT, "required": ["name"]})),
        "delete": operation(query("name", *sorted(FAULTS))),
    },
    "/control/blocks": {
        "post": operation(requestBody=body({"properties": {"count": {"type": "integer", "minimum": 1, "maximum": 3}}})),
    },
    "/websocket": {"get": operation()},
}
DOCUMENT = {"openapi": "3.1.0", "info": {"title": "localnet", "version": "1"}, "paths": PATHS}


@pytest.fixture
def node():
    with EmbeddedLocalnet([SPEC], block_seconds=0) as net:
        net.fund(WORKER.address)
        yield net


@pytest.fixture(autouse=True)
def nothing_unforeseen(caplog):
    yield
    # aiohttp logs as an error, and answers with 400, what its parser refuses before a handler of ours sees it
    assert [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.ERROR
        and not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
    ] == []


@pytest.mark.timeout(900)
def test_nothing_that_schemathesis_asks_breaks_localnet(node, tmp_path):
    base = node.control_url.removesuffix("/control")
    fuzzed = fuzz(DOCUMENT, base, tmp_path)
    print(f"{fuzzed.requests} cases of schemathesis, height {node.core.height}")
    assert fuzzed.found == []
    assert fuzzed.requests > 10
    node.core.faults.clear()
    for nonsense in NONSENSE:
        said = send_raw(base, nonsense, patience=0.15)
        assert not said.startswith(b"HTTP/1.1 5"), nonsense[:80]
        assert b"Traceback (most" not in said
        assert b"root:x:" not in said
    before = node.core.height
    node.step()
    assert node.core.height == before + 1


class Raw:
    """A gRPC request of any bytes."""

    def __init__(self, content):
        self.content = content

    def SerializeToString(self):
        return self.content


known = ["tm.event='Tx'", "tm.event='NewBlockEvents' AND a.b='c'", "tm.event=", "a CONTAINS 'b' AND"]
methods_called = ["subscribe", "unsubscribe", "unsubscribe_all", "health", "status", "", "x"]
calls = st.builds(
    dict, id=st.integers() | st.text(max_size=5), method=st.sampled_from(methods_called),
    params=st.builds(dict, query=st.text(max_size=40) | st.sampled_from(known)),
)  # fmt: skip
frames = st.binary(max_size=300) | st.text(max_size=200) | calls.map(json.dumps)
fields = st.lists(
    st.builds(lambda tag, value: bytes([tag]) + value, st.sampled_from(range(8, 90)), st.binary(max_size=12)),
    max_size=5,
)


@pytest.mark.timeout(900)
def test_nothing_on_the_websocket_or_over_grpc_breaks_localnet(node):
    methods = {path: handler.reply_type for path, handler in Service(node.core).__mapping__().items()}
    answers, said = Counter(), []
    parts = urlsplit(node.grpc_url)

    async def talk(session, channel, frame, path, content):
        async with session.ws_connect(node.websocket_url) as socket:
            await (socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_str(frame))
            await socket.send_str('{"id": "last", "method": "health"}')
            while (answer := await socket.receive_json(timeout=10)).get("id") != "last":
                assert "result" in answer or "error" in answer
        method = UnaryUnaryMethod(channel, path, Raw, methods[path])
        try:
            await method(Raw(content), timeout=10)
            answers["OK"] += 1
        except GRPCError as error:
            answers[error.status.name] += 1
            said.append(error.message or "")

    with asyncio.Runner() as runner:

        async def opened():
            return aiohttp.ClientSession(), Channel(parts.hostname, parts.port)

        session, channel = runner.run(opened())
        end = time.monotonic() + (300 if PROVE else 2)

        @settings(max_examples=1000 if PROVE else 60, database=None, suppress_health_check=list(HealthCheck))
        @given(frames, st.sampled_from(sorted(methods)), st.binary(max_size=200) | fields.map(b"".join))
        def play(frame, path, content):
            runner.run(talk(session, channel, frame, path, content))

        play()
        while time.monotonic() < end:
            play()

        async def closed():
            channel.close()
            await session.close()
            await asyncio.sleep(0)

        runner.run(closed())
    print(f"websocket frames and gRPC calls: {sum(answers.values())} each, answers {dict(answers)}")
    assert sum(answers.values()) >= 60
    assert Status.INTERNAL.name not in answers
    assert not [message for message in said if "Traceback" in message]
    node.step()
