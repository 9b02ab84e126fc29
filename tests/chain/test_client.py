import asyncio
import socket

import pytest
import websockets
from aiohttp import web

from crucible.chain.client import ChainClient
from crucible.chain.error_table import ERROR_TABLE, Kind, classify, rejection
from crucible.chain.faucet import ask_faucet
from crucible.chain.fees import FeePolicy
from crucible.chain.payloads import inference, registration
from crucible.chain.transaction import Message, sign, unsigned
from crucible.chain.wakeup import Waker
from crucible.chain.wallet import Wallet, new_mnemonic
from crucible.errors import ChainError, NodeUnreachable, SequenceMismatch, SettingsError, TxRejected


@pytest.fixture(scope="module")
def wallet():
    return Wallet(new_mnemonic())


def run(node, act, deadline=5.0):
    async def talk():
        async with ChainClient(node.grpc_url, deadline=deadline) as client:
            return await act(client)

    return asyncio.run(talk())


async def signed(client, wallet, message, **changes):
    account = await client.account(wallet.address)
    gas = await client.simulate(unsigned(message, wallet, account.sequence))
    values = {
        "chain_id": await client.chain_id(), "number": account.number, "sequence": account.sequence, "gas": gas,
        "fee": FeePolicy().amount(gas, await client.gas_price()), "timeout_height": 0,
    }  # fmt: skip
    return sign(message, wallet, **{**values, **changes})


def test_queries_before_anything_happened(node, wallet):
    async def ask(client):
        return (
            await client.chain_id(), await client.height(), await client.balance(wallet.address),
            await client.account(wallet.address), await client.open_nonces(77), await client.gas_price(),
            await client.is_registered(77, wallet.address), await client.may_submit(77, wallet.address),
            await client.score(77, 12, wallet.address), await client.inference(77, 12, wallet.address),
            await client.find("AB" * 32), (await client.topic(77)).epoch_length,
        )  # fmt: skip

    expected = ("allora-testnet-1", 0, 0, None, [], 10.0, False, True, None, None, None, 12)
    assert run(node, ask) == expected
    with pytest.raises(ChainError, match="Topic 5 does not exist"):
        run(node, lambda client: client.topic(5))


def test_a_submission_is_accepted_found_and_held(node, wallet):
    node.fund(wallet.address)

    async def submit(client):
        first = await signed(client, wallet, registration(wallet.address, 77))
        await client.broadcast(first.content, first.hash)
        for height in range(1, 13):
            node.step(float(height))
        [nonce] = await client.open_nonces(77)
        second = await signed(client, wallet, inference(wallet, 77, nonce, 2.5e-7), timeout_height=nonce + 8)
        await client.broadcast(second.content, second.hash)
        waiting = await client.find(second.hash)
        node.step(13.0)
        return waiting, await client.find(second.hash), await client.inference(77, nonce, wallet.address)

    waiting, found, held = run(node, submit)
    assert waiting is None
    assert (found.code, found.height) == (0, 13)
    assert held == "2.5E-7"


def test_refusals_are_exceptions_at_once(node, wallet):
    node.fund(wallet.address)
    message = registration(wallet.address, 77)

    async def wrong_sequence(client):
        bad = await signed(client, wallet, message, sequence=9)
        await client.broadcast(bad.content, bad.hash)

    with pytest.raises(SequenceMismatch) as mismatch:
        run(node, wrong_sequence)
    assert mismatch.value.expected == 0

    async def no_fee(client):
        bad = await signed(client, wallet, message, fee=1)
        await client.broadcast(bad.content, bad.hash)

    with pytest.raises(TxRejected) as refused:
        run(node, no_fee)
    assert refused.value.code == 13
    with pytest.raises(ChainError, match=r"already registered|does not exist|refused"):
        run(node, lambda client: client.simulate(unsigned(registration(wallet.address, 5), wallet, 0)))


def test_equal_payloads_are_equal_bytes(wallet):
    assert inference(wallet, 77, 12, 101.25) == inference(wallet, 77, 12, 101.25)
    assert inference(wallet, 77, 12, 101.25) != inference(wallet, 77, 12, 101.5)
    values = {"chain_id": "c", "number": 1, "sequence": 2, "gas": 3, "fee": 4, "timeout_height": 5}
    message = Message("/x", b"y")
    assert sign(message, wallet, **values) == sign(message, wallet, **values)


def test_fees_are_capped():
    assert FeePolicy(factor=1.5, cap=10**9).amount(100_000, 10.0) == 1_500_000
    assert FeePolicy(factor=1.5, cap=10**6).amount(100_000, 10.0) == 10**6


def test_a_node_that_refuses_or_hangs_is_unreachable_in_time():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

    async def ask(url):
        async with ChainClient(url, deadline=0.5) as client:
            await client.height()

    with pytest.raises(NodeUnreachable, match=f"127.0.0.1:{port} cannot be reached"):
        asyncio.run(ask(f"grpc+http://127.0.0.1:{port}"))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(NodeUnreachable, match=r"no answer in time|cannot be reached"):
            asyncio.run(asyncio.wait_for(ask(f"grpc+http://127.0.0.1:{silent.getsockname()[1]}"), timeout=5))
    for bad in ("http://127.0.0.1:1", "grpc+http://127.0.0.1", "nonsense"):
        with pytest.raises(SettingsError, match="no gRPC endpoint"):
            ChainClient(bad)


@pytest.mark.parametrize("row", ERROR_TABLE, ids=lambda row: f"{row.codespace}-{row.code}")
def test_every_row_of_the_error_table_is_found_by_its_own_code(row):
    assert classify(row.codespace, row.code, f"text {row.words} text").kind is row.kind
    assert row.meaning


def test_missed_windows_are_missed_and_not_duplicates():
    for code in (67, 68, 75):
        assert classify("emissions", code, "").kind is Kind.MISSED
    assert classify("undefined", 1, "inference already submitted by x").kind is Kind.ALREADY
    assert classify("undefined", 1, "something else").kind is Kind.FATAL
    assert isinstance(rejection("sdk", 32, "account sequence mismatch, expected 8, got 7", "AA"), SequenceMismatch)


def test_the_faucet_pays_and_its_refusals_are_clear(node, wallet):
    asyncio.run(ask_faucet(node.faucet_url, "allora-testnet-1", wallet.address))
    assert run(node, lambda client: client.balance(wallet.address)) == 10**18
    with pytest.raises(ChainError, match="refused with status 400"):
        asyncio.run(ask_faucet(node.faucet_url, "allora-testnet-1", "nobody"))
    with pytest.raises(NodeUnreachable, match="does not answer"):
        asyncio.run(ask_faucet("http://127.0.0.1:9", "allora-testnet-1", wallet.address))


def test_a_window_wakes_whoever_waits(node):
    async def wait():
        wake = asyncio.Event()
        waker = Waker(node.websocket_url)
        waker.add(77, wake)
        await asyncio.wait_for(wake.wait(), 5)  # the subscription's confirmation
        wake.clear()
        for height in range(1, 13):
            await asyncio.to_thread(node.step, float(height))
        await asyncio.wait_for(wake.wait(), 5)
        await waker.close()

    asyncio.run(wait())


def test_a_faucet_that_was_asked_too_often_says_what_to_do(wallet):
    async def answer(request):
        return web.Response(status=429)

    async def ask():
        app = web.Application()
        app.router.add_post("/api/request", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            port = runner.addresses[0][1]
            await ask_faucet(f"http://127.0.0.1:{port}", "allora-testnet-1", wallet.address)
        finally:
            await runner.cleanup()

    with pytest.raises(ChainError, match=f"asked too often; fund {wallet.address} by hand"):
        asyncio.run(ask())


def test_the_wake_up_survives_a_refusal_nonsense_and_a_lost_connection(caplog):
    connections = []

    async def serve(socket):
        await socket.recv()
        connections.append(socket)
        match len(connections):
            case 1:
                await socket.send('{"id": "windows", "error": {"message": "max subscriptions reached"}}')
            case 2:
                await socket.send("no JSON")
            case 3:
                await socket.close(1011)
            case _:
                await socket.send('{"id": "windows", "result": {}}')
                await socket.wait_closed()

    async def wait():
        async with websockets.serve(serve, "127.0.0.1", 0) as server:
            wake = asyncio.Event()
            port = server.sockets[0].getsockname()[1]
            waker = Waker(f"ws://127.0.0.1:{port}")
            waker.add(77, wake)
            await asyncio.wait_for(wake.wait(), 15)
            await waker.close()

    asyncio.run(wait())
    assert len(connections) == 4
    assert any("max subscriptions reached" in line for line in caplog.messages)


def test_our_transaction_is_byte_for_byte_the_one_that_cosmpy_builds(wallet):
    from cosmpy.aerial.tx import SigningCfg, TxFee
    from cosmpy.aerial.tx import Transaction as Theirs
    from cosmpy.aerial.wallet import LocalWallet
    from cosmpy.protos.cosmos.bank.v1beta1.tx_pb2 import MsgSend

    words = new_mnemonic()
    theirs_wallet, ours_wallet = LocalWallet.from_mnemonic(words, prefix="allo"), Wallet(words)
    message = MsgSend(from_address=ours_wallet.address, to_address=wallet.address)
    theirs = Theirs()
    theirs.add_message(message)
    fee = TxFee("123uallo", gas_limit=4567)
    theirs.seal(SigningCfg.direct(theirs_wallet.public_key(), 7), fee=fee, timeout_height=89)
    theirs.sign(theirs_wallet.signer(), "allora-testnet-1", 5, deterministic=True)
    theirs.complete()
    ours = sign(
        Message("/cosmos.bank.v1beta1.MsgSend", message.SerializeToString()), ours_wallet,
        chain_id="allora-testnet-1", number=5, sequence=7, gas=4567, fee=123, timeout_height=89,
    )  # fmt: skip
    assert ours.content == theirs.tx.SerializeToString()
    assert str(theirs_wallet.address()) == ours_wallet.address
