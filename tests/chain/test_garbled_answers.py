"""Whatever bytes a node answers with: every query gives something right, or an error of ours that a worker outlives."""

import asyncio
import math
import os

import pytest
from chain_world import key, payload, register, report, stake, step_to
from grpclib import GRPCError, Status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crucible.chain.client import ChainClient
from crucible.chain.endpoints import Endpoint
from crucible.chain.error_table import ERROR_TABLE, recognise
from crucible.chain.wakeup import rewards_in, woken
from crucible.errors import ChainError
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.topic import TopicSpec

SPEC = TopicSpec(
    id=77, metadata="test", loss_method="sqe", asset="BTC/USD", target="price", symbol="", interval_seconds=300,
    horizon_seconds=12, cadence_seconds=12, epoch_length=12, ground_truth_lag=12, worker_window=8,
)  # fmt: skip
WORKERS, REPUTER = [key(f"worker {number}") for number in range(3)], key("reputer")
ME = WORKERS[0].address
QUERIES = {
    "chain id": lambda client: client.chain_id(),
    "height": lambda client: client.height(),
    "block time": lambda client: client.block_time(12),
    "balance": lambda client: client.balance(ME),
    "account": lambda client: client.account(ME),
    "gas price": lambda client: client.gas_price(),
    "simulate": lambda client: client.simulate(b""),
    "broadcast": lambda client: client.broadcast(b"", "AA"),
    "find": lambda client: client.find("AA"),
    "topic": lambda client: client.topic(77),
    "registered": lambda client: client.is_registered(77, ME),
    "may submit": lambda client: client.may_submit(77, ME),
    "open nonces": lambda client: client.open_nonces(77),
    "reputer nonces": lambda client: client.reputer_nonces(77),
    "inference": lambda client: client.inference(77, 12, ME),
    "active set": lambda client: client.active_set(77, 12),
    "network": lambda client: client.network(77),
    "network then": lambda client: client.network(77, 12),
    "losses": lambda client: client.losses(77, 12),
    "score": lambda client: client.score(77, 12, ME),
    "score average": lambda client: client.score_ema(77, ME),
    "forecasters": lambda client: client.forecasters(77, 12),
    "reporters": lambda client: client.reporters(77, 12),
    "stake": lambda client: client.stake(77, REPUTER.address),
    "least stake": lambda client: client.minimum_stake(),
}
EXAMPLES = 2000 if os.environ.get("CRUCIBLE_PROVE") else 60
FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Recorder(Endpoint):
    """Keeps what a real node answers."""

    async def _insist(self, service, method, request, deadline):
        answer = await super()._insist(service, method, request, deadline)
        self.answers[method] = type(answer), bytes(answer)
        return answer


class Garbled(Endpoint):
    """Answers with such bytes, damaged."""

    async def _insist(self, service, method, request, deadline):
        if method not in self.answers:  # what the node refused was not recorded
            raise GRPCError(Status.UNKNOWN, "no")
        kind, content = self.answers[method]
        return kind.parse(self.damage(content))


@pytest.fixture(scope="module")
def answers():
    """What a node with two settled epochs answers to every query, as bytes."""
    with EmbeddedLocalnet([SPEC], block_seconds=0) as node:
        core = node.core
        for each in (*WORKERS, REPUTER):
            core.fund(each.address, 10**18)
        register(core, *WORKERS)
        register(core, REPUTER, is_reputer=True)
        stake(core, REPUTER)
        from crucible.localnet.client import submit

        for nonce in (12, 24, 36):
            step_to(core, nonce)
            for number, each in enumerate(WORKERS):
                assert submit(core, each, payload(each, nonce, f"10{number}.5")) == ""
            step_to(core, nonce + 9)
            for waiting in core.topics[77].reputer_nonces():
                if core.topics[77].reputer_window_open(waiting, core.height + 1):
                    losses = {name: -1.0 - len(name) / 100 for name in core.topics[77].nonces[waiting].network}
                    submit(core, REPUTER, report(REPUTER, waiting, losses))
        step_to(core, 48)

        async def ask():
            async with ChainClient(node.grpc_url) as client:
                recorder = Recorder(client.url)
                recorder.answers = found
                client.endpoints.all = [recorder]
                client.endpoints.current = recorder
                for query in QUERIES.values():
                    try:
                        await query(client)
                    except ChainError:
                        continue  # an empty transaction, and a hash that nobody knows

        found = {}
        asyncio.run(ask())
        return found


def test_the_recorded_answers_are_those_of_a_chain_with_a_history(answers):
    assert len(answers) >= 18
    assert all(len(content) > 0 for kind, content in answers.values() if "Forecasts" not in kind.__name__)


def damages():
    """A function from bytes to bytes: some are changed, cut out, or put in; or the end is missing."""
    changes = st.lists(st.tuples(st.sampled_from("xdi"), st.integers(0, 10**6), st.binary(min_size=1, max_size=4)),
                       min_size=1, max_size=4)  # fmt: skip

    def made(found):
        def damage(content):
            bytes_ = bytearray(content)
            for how, where, what in found:
                place = where % (len(bytes_) + 1)
                match how:
                    case "x":
                        bytes_[place : place + len(what)] = what
                    case "d":
                        del bytes_[place : place + len(what)]
                    case _:
                        bytes_[place:place] = what
            return bytes(bytes_)

        return damage

    return changes.map(made)


@pytest.mark.parametrize("name", QUERIES)
@FUZZ
@given(damage=damages())
def test_a_damaged_answer_is_read_or_refused(name, answers, damage):
    async def act():
        async with ChainClient("grpc+http://127.0.0.1:9") as client:
            node = Garbled("grpc+http://127.0.0.1:9")
            node.answers, node.damage = answers, damage
            client.endpoints.all, client.endpoints.current = [node], node
            return await QUERIES[name](client)

    try:
        found = asyncio.run(act())
    except ChainError:
        return
    if isinstance(found, float):
        assert math.isfinite(found)


@FUZZ
@given(st.text(max_size=60) | st.binary(max_size=60) | st.sampled_from(['{"id": 1', "[1,", '{"result": {"data":']))
def test_text_that_is_no_message_wakes_nobody_by_mistake(text):
    assert isinstance(rewards_in(text, "a"), list)
    try:
        about, complaint = woken(text, ["q"])
    except ValueError:
        return
    assert set(about) <= {"q"}
    assert isinstance(complaint, str)


@given(st.text(max_size=80), st.sampled_from([row for row in ERROR_TABLE if row.said]), st.text(max_size=80))
def test_a_simulations_words_are_recognised_wherever_they_stand(before, row, after):
    found = recognise(f"{before}{row.said}{after}")
    assert found is not None
    assert recognise(before) is None or any(other.said in before for other in ERROR_TABLE if other.said)
