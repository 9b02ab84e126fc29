"""Whatever a node answers, it is read right or refused; nothing else happens."""

import asyncio
import json
import math
from types import SimpleNamespace

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from crucible.chain.answers import attributed, network_inference, number, topic_info, whole
from crucible.chain.error_table import classify, expected_sequence, rejection
from crucible.chain.faucet import ask_faucet, keep_funded
from crucible.chain.fees import TIERS, FeePolicy, parse_fee, required_fee, runway_days
from crucible.chain.protos import e, tx
from crucible.chain.wakeup import Settled, Waker, rewards_in, settled_in, woken
from crucible.errors import ChainError, FaucetBusy, FeeAboveCap, SettingsError, TxRejected

TEXT = st.one_of(st.text(), st.decimals().map(str), st.integers().map(str), st.sampled_from(["", "NaN", "inf", "1E+9"]))


@given(TEXT)
def test_numbers_are_finite_or_refused(text):
    for read in (number, whole):
        try:
            found = read(text, "it")
        except ChainError:
            continue
        assert math.isfinite(found)
        assert read is number or (isinstance(found, int) and found >= 0)


labels = st.lists(st.builds(e.LabeledValue, value=TEXT), max_size=2)
attributes = st.lists(st.builds(e.WorkerInference, worker=st.text(max_size=3), values=labels), max_size=3)
outs = st.lists(st.builds(e.OneOutInfererValue, withheld_inferer=st.text(max_size=3), combined_inference=labels),
                max_size=3)  # fmt: skip


@given(st.none() | st.builds(e.NetworkInferenceBundle, nonce=st.integers(-9, 9), combined_value=labels,
                             naive_value=labels, inferer_values=attributes, one_out_inferer_values=outs))  # fmt: skip
def test_a_network_inference_is_read_or_refused(bundle):
    try:
        found = network_inference(bundle)
    except ChainError:
        return
    if found is None:
        assert bundle is None or not bundle.combined_value
    else:
        assert all(map(math.isfinite, [found.combined, found.naive, *found.inferers.values(), *found.without.values()]))


@given(st.integers(-5, 2**63 - 1), st.integers(-5, 2**63 - 1), st.integers(-5, 2**63 - 1))
def test_a_topic_has_lengths_or_is_refused(epoch, lag, window):
    topic = SimpleNamespace(
        metadata="m", loss_method="sqe", epoch_length=epoch, ground_truth_lag=lag, worker_submission_window=window
    )
    try:
        found = topic_info(1, topic)
    except ChainError:
        assert min(epoch, lag, window) < 0 or not 0 < window <= epoch
    else:
        assert 0 < found.worker_window <= found.epoch_length


@given(st.text(), st.integers(0, 2**32 - 1), st.text() | st.integers().map(lambda n: f"expected {n}, got 1"))
def test_every_refusal_has_a_row_and_every_text_an_expectation_or_none(codespace, code, log):
    assert classify(codespace, code, log).reason
    assert isinstance(rejection(codespace, code, log, "AA"), TxRejected)
    found = expected_sequence(log)
    assert found is None or 0 <= found < 10**19
    assert required_fee(log) >= 0


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_raise_nothing_that_an_endpoint_does_not_catch(content):
    import struct

    for kind in (tx.GetTxResponse, e.GetTopicResponse, e.GetInferencesAtBlockResponse):
        try:
            kind.parse(content)
        except (ValueError, TypeError, LookupError, EOFError, struct.error):
            continue


leaves = st.none() | st.booleans() | st.integers() | st.text()
json_values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


@given(json_values | st.fixed_dictionaries({"id": json_values}) | st.fixed_dictionaries({"error": json_values}))
def test_any_message_wakes_somebody_or_complains(value):
    queries = ["a", "b"]
    about, complaint = woken(json.dumps(value), queries)
    assert set(about) <= set(queries)
    assert bool(about) or bool(complaint) or (isinstance(value, dict) and "error" in value)


def test_a_message_wakes_the_topic_that_it_is_about():
    assert woken('{"id": "1", "result": {}}', ["a", "b"]) == (["b"], "")
    assert woken('{"id": "7"}', ["a", "b"]) == (["a", "b"], "")
    assert woken('{"id": "0", "error": "no"}', ["a"]) == ([], "no")
    with pytest.raises(ValueError, match="nested"):
        woken("[" * 100_000, ["a"])


def settled(**values):
    attributes = [{"key": key, "value": json.dumps(value)} for key, value in values.items()]
    attributes.append({"key": "mode", "value": "EndBlock"})  # as the chain has it: no JSON
    event = {"type": "emissions.v10.EventRewardsSettled", "attributes": attributes}
    return json.dumps({"id": "0", "result": {"data": {"value": {"height": "5", "events": [event, event]}}}})


def test_a_message_tells_of_rewards():
    text = settled(topic_id="77", addresses=["allo1me", "allo1you"], rewards=["12.5", "1"])
    assert rewards_in(text, "allo1me") == {"77": 25.0}
    assert rewards_in(text, "allo1other") == {}
    told = settled(topic_id="77", block_height="24", addresses=["allo1me"], rewards=["2"])
    assert settled_in(told, "allo1me") == [Settled("77", 24, 2.0)] * 2


@given(json_values, json_values, json_values)
def test_a_message_about_rewards_may_hold_anything(topic, addresses, rewards):
    found = rewards_in(settled(topic_id=topic, addresses=addresses, rewards=rewards), "a")
    assert all(math.isfinite(value) for value in found.values())
    assert rewards_in(json.dumps(addresses), "a") == {}


def test_the_fee_is_set_by_tier_and_cap():
    assert parse_fee("standard") == FeePolicy()
    assert parse_fee("priority:50000000") == FeePolicy(2.5, 50_000_000)
    for bad in ("", "fast", "eco:", "eco:0", "eco:-1", "eco:1e9", "eco:x"):
        if bad == "eco:":
            assert parse_fee(bad) == FeePolicy(1.0)
            continue
        with pytest.raises(SettingsError, match="CRUCIBLE_FEE"):
            parse_fee(bad)


def test_losses_by_worker():
    rows = [SimpleNamespace(worker="a", value="-1.5"), SimpleNamespace(worker="b", value="2E-7")]
    assert attributed(rows, "the loss") == {"a": -1.5, "b": 2e-7}


def test_fees_rise_with_each_attempt_and_never_above_the_cap():
    policy = FeePolicy(factor=TIERS["eco"], cap=10**7)
    assert [policy.amount(100_000, 10.0, attempt=attempt) for attempt in (0, 1, 2)] == [10**6, 1_500_000, 2_250_000]
    assert policy.amount(100_000, 10.0, required=4_000_000) == 4_000_000
    assert policy.amount(100_000, 10.0, attempt=9) == 10**7
    with pytest.raises(FeeAboveCap, match="at most 10000000 uallo"):
        policy.amount(100_000, 200.0)
    with pytest.raises(FeeAboveCap):
        policy.amount(100_000, 10.0, required=10**8)


@given(st.integers(1, 10**9), st.floats(0, 10**6), st.integers(0, 20), st.floats(1, 10), st.integers(1, 10**18))
def test_a_fee_is_between_the_market_and_the_cap(gas, price, attempt, factor, cap):
    try:
        found = FeePolicy(factor=factor, cap=cap).amount(gas, price, attempt=attempt)
    except FeeAboveCap:
        assert gas * price > cap * (1 - 1e-12)
    else:
        assert found <= cap
        assert found >= math.floor(gas * price)


def test_a_balance_lasts_as_long_as_it_pays():
    assert runway_days(7_000_000, 10_000, 100) == 7.0
    assert runway_days(1, 0, 100) == math.inf


def faucet(answers):
    """Serve ``answers``, one status and header after the other; return the URL and what was asked."""
    asked = []

    async def answer(request):
        asked.append(1)
        status, headers = answers[min(len(asked), len(answers)) - 1]
        return web.Response(status=status, headers=headers)

    async def start():
        app = web.Application()
        app.router.add_post("/api/request", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"

    return start, asked


def test_a_busy_faucet_is_left_alone_for_as_long_as_it_says(monkeypatch):
    start, asked = faucet([(429, {"Retry-After": "2"}), (500, {}), (200, {})])
    waits, told = [], []
    balance = [0]
    real_sleep = asyncio.sleep

    async def sleep(seconds):
        waits.append(seconds)
        await real_sleep(0)
        if len(waits) >= 4:
            raise asyncio.CancelledError

    async def act():
        runner, url = await start()
        monkeypatch.setattr("crucible.chain.faucet.asyncio.sleep", sleep)

        async def ask():
            await ask_faucet(url, "c", "allo1me")
            balance[0] = 100

        async def have():
            return balance[0]

        try:
            with pytest.raises(asyncio.CancelledError):
                await keep_funded(have, ask, 10, look=0.5, tell=lambda found, words: told.append((found, words)))
        finally:
            monkeypatch.undo()
            await runner.cleanup()

    asyncio.run(act())
    assert waits == [2.0, 15.0, 0.5, 0.5]
    assert len(asked) == 3
    assert (100, "") in told

    async def dated():
        begin, _ = faucet([(429, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"})])
        runner, url = await begin()
        try:
            await ask_faucet(url, "c", "allo1me")
        finally:
            await runner.cleanup()

    with pytest.raises(FaucetBusy) as busy:
        asyncio.run(dated())
    assert busy.value.wait == 0


def test_seven_topics_wake_by_two_connections_and_one_url_stands_in_for_another():
    import websockets

    async def act():
        sockets, subscribed = [], []

        async def serve(socket):
            sockets.append(socket)
            async for text in socket:
                call = json.loads(text)
                subscribed.append(call["params"]["query"])
                await socket.send(json.dumps({"id": call["id"], "result": {}}))

        async with websockets.serve(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            waker = Waker(f"ws://127.0.0.1:9,ws://127.0.0.1:{port}")
            events = {topic: asyncio.Event() for topic in range(7)}
            for topic, event in events.items():
                waker.add(topic, event, reputer=topic == 6)
            await asyncio.wait_for(asyncio.gather(*(event.wait() for event in events.values())), 10)
            assert len([socket for socket in sockets if socket.state.name == "OPEN"]) == 2
            assert any("ReputerSubmissionWindowOpened.topic_id = '\"6\"'" in query for query in subscribed)
            for event in list(events.values())[:5]:
                waker.remove(event)
            await waker.close()
        Waker("").add(1, asyncio.Event())  # no URL: polling only

    asyncio.run(act())
