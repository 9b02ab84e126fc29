"""Several nodes as one: whatever one of them does, the other answers, and soon."""

import asyncio
import contextlib
import math
import socket
import time
from contextlib import contextmanager

import pytest
from grpclib import GRPCError, Status
from worker_desk import SPEC

from crucible.chain.account import Account
from crucible.chain.client import ChainClient
from crucible.chain.fees import FeePolicy
from crucible.chain.sequencer import Sequencer
from crucible.chain.wallet import Wallet, new_mnemonic
from crucible.errors import ChainError, NoAccount, NodeUnreachable, SettingsError
from crucible.localnet.embedded import EmbeddedLocalnet


@contextmanager
def refuses():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"grpc+http://127.0.0.1:{closed.getsockname()[1]}"


@contextmanager
def hangs():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(10)
        yield f"grpc+http://127.0.0.1:{silent.getsockname()[1]}"


def status(code: int):
    """A proxy that answers every request with an HTTP status, over HTTP/2."""

    @contextmanager
    def serve():
        import threading

        from h2.config import H2Configuration
        from h2.connection import H2Connection
        from h2.events import RequestReceived

        def talk(connection):
            protocol = H2Connection(config=H2Configuration(client_side=False))
            protocol.initiate_connection()
            connection.sendall(protocol.data_to_send())
            while data := connection.recv(65536):
                for event in protocol.receive_data(data):
                    if isinstance(event, RequestReceived):
                        protocol.send_headers(event.stream_id, [(":status", str(code))], end_stream=True)
                connection.sendall(protocol.data_to_send())

        def run(listener):
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=guarded, args=(connection,), daemon=True).start()

        def guarded(connection):
            try:
                talk(connection)
            except OSError:
                return
            finally:
                connection.close()

        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=run, args=(listener,), daemon=True)
        thread.start()
        try:
            yield f"grpc+http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(5)

    return serve


ILL = {"refuses": refuses, "hangs": hangs, **{f"http {code}": status(code) for code in (403, 429, 500, 502, 503, 504)}}


@pytest.mark.parametrize("ill", ILL.values(), ids=ILL)
def test_a_node_that_is_ill_is_left_for_another_within_two_seconds(node, ill):
    async def act(url):
        async with ChainClient(f"{url}, {node.grpc_url}") as client:
            started = time.monotonic()
            assert await client.chain_id() == "allora-testnet-1"
            first = time.monotonic() - started
            assert client.url == node.grpc_url
            started = time.monotonic()
            for _ in range(10):
                await client.height()
            assert time.monotonic() - started < 1  # the ill one rests, and is not asked first again
            assert client.endpoints.switches == 1
            return first

    with ill() as url:
        assert asyncio.run(act(url)) < 2


def test_when_nobody_answers_the_first_one_that_was_asked_is_named(node):
    async def act(url):
        async with ChainClient(f"{url},{url}") as client:
            await client.chain_id()

    with refuses() as url, pytest.raises(NodeUnreachable, match=url.removeprefix("grpc+http://")):
        asyncio.run(act(url))
    for bad in ("", " , ", "grpc+http://h:99999999"):
        with pytest.raises(SettingsError, match="gRPC endpoint"):
            ChainClient(bad)


def test_a_node_behind_head_is_left_and_a_chain_that_starts_anew_is_followed(node):
    async def act(old):
        for height in range(1, 31):
            await asyncio.to_thread(node.step, float(height))
        async with ChainClient(f"{node.grpc_url},{old.grpc_url}") as client:
            assert await client.height() == 30
            client.endpoints.current = client.endpoints.all[1]  # as if the first had failed in between
            assert await client.height() == 30
            assert client.url == node.grpc_url
            node.core.height = 3
            assert await client.height() == 3

    with EmbeddedLocalnet([SPEC], block_seconds=0) as old:
        asyncio.run(act(old))


def test_a_pinned_client_tells_of_one_node_or_of_none(node):
    async def act(url):
        async with ChainClient(f"{url},{node.grpc_url}", deadline=0.5) as client:
            with pytest.raises(NodeUnreachable):
                await client.pinned().height()
            await client.height()
            assert await client.pinned().height() == 0

    with refuses() as url:
        asyncio.run(act(url))


def test_an_error_of_the_node_itself_is_no_reason_to_ask_another(node, monkeypatch):
    asked = []

    def refuse(content):
        asked.append(content)
        raise GRPCError(Status.UNKNOWN, "out of luck with gas used: '0'")

    monkeypatch.setattr(node.core, "simulate", refuse)

    async def act():
        async with ChainClient(f"{node.grpc_url},{node.grpc_url}") as client:
            with pytest.raises(ChainError, match="out of luck"):
                await client.simulate(b"x")

    asyncio.run(act())
    assert len(asked) == 1


def test_one_counter_hands_out_successive_numbers_and_asks_again_when_it_was_wrong(node):
    wallet = Wallet(new_mnemonic())

    async def act():
        async with ChainClient(node.grpc_url) as client:
            sequencer = Sequencer(client, wallet.address)
            with pytest.raises(NoAccount):
                await sequencer.next()
            await asyncio.to_thread(node.fund, wallet.address)
            found = []

            async def take():
                async with sequencer.turn():
                    _, sequence = await sequencer.next()
                    await asyncio.sleep(0.01)
                    sequencer.accepted(sequence)
                    found.append(sequence)

            await asyncio.gather(*(take() for _ in range(5)))
            assert found == [0, 1, 2, 3, 4]
            sequencer.learn(9)
            assert (await sequencer.next())[1] == 9
            sequencer.learn(None)
            assert (await sequencer.next())[1] == 0

    asyncio.run(act())


def test_the_price_is_asked_seldom(node, monkeypatch):
    async def act():
        async with ChainClient(node.grpc_url) as client:
            account = Account(client, Wallet(new_mnemonic()), "c", FeePolicy())
            asked = []
            price = client.gas_price

            async def counted():
                asked.append(1)
                return await price()

            monkeypatch.setattr(client, "gas_price", counted)
            assert [await account.price() for _ in range(5)] == [10.0] * 5
            assert len(asked) == 1
            await account.price(fresh=True)
            assert len(asked) == 2

    asyncio.run(act())


def test_a_request_that_got_lost_is_asked_again_long_before_the_deadline(node):
    async def act():
        async with ChainClient(node.grpc_url) as client:
            await client.height()
            node.core.faults.arm("rpc-hang", count=1)
            started = time.monotonic()
            await client.height()
            lasted = time.monotonic() - started
            assert 1.0 <= lasted < 4.5  # the deadline is 5 s
            # the connection was left for a new one, and the next calls are as quick as ever
            started = time.monotonic()
            await asyncio.gather(*(client.height() for _ in range(5)))
            assert time.monotonic() - started < 3.0

    asyncio.run(act())


def test_a_connection_that_died_without_a_word_is_replaced(node):
    """What is sent on the first connection goes nowhere, as behind a router that has forgotten it."""

    async def act():
        accepted = []
        host, _, port = node.grpc_url.rpartition("/")[2].partition(":")

        async def pass_on(source, sink, dead):
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    if not dead.is_set():
                        sink.write(data)
            sink.close()

        async def serve(reader, writer):
            dead = asyncio.Event()
            accepted.append(dead)
            inner, outer = await asyncio.open_connection(host, int(port))
            await asyncio.gather(pass_on(reader, outer, dead), pass_on(inner, writer, dead))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"grpc+http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with ChainClient(url) as client:
            await client.height()
            accepted[0].set()
            started = time.monotonic()
            found = await asyncio.gather(*(client.height() for _ in range(6)))
            assert time.monotonic() - started < 4.5
            assert found == [0] * 6
            assert len(accepted) == 2  # one for all of them
        server.close()
        await asyncio.sleep(0.05)

    asyncio.run(act())


def test_of_those_who_wait_for_the_wallet_the_one_whose_window_ends_first_is_next():
    async def act():
        sequencer, order = Sequencer(None, "a"), []

        async def submit(name, due):
            async with sequencer.turn(due):
                order.append(name)

        async with sequencer.turn():
            tasks = [
                asyncio.create_task(submit(name, due)) for name, due in (("c", 30), ("a", 10), ("x", 5), ("b", 20))
            ]
            anybody = asyncio.create_task(submit("z", math.inf))
            await asyncio.sleep(0)
            tasks[2].cancel()  # whoever gives up holds nobody up
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, anybody, return_exceptions=True)
        assert order == ["a", "b", "c", "z"]
        # the turn was just handed to somebody who is cancelled at that moment
        async with sequencer.turn():
            unlucky = asyncio.create_task(submit("unlucky", 1))
            await asyncio.sleep(0)
        unlucky.cancel()
        await asyncio.gather(unlucky, return_exceptions=True)
        await asyncio.wait_for(submit("after", 1), 1)
        assert order[-1] == "after"

    asyncio.run(act())
