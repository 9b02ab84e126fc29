"""The topic's contract, against a real node on loopback."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from conftest_monitor import NOW

from crucible.chain.client import ChainClient
from crucible.cli import crucible
from crucible.errors import GateError, NodeUnreachable
from crucible.monitor.contract import Contract, accept_contract, breaks, broken_contract, check_contract

AGREED = Contract(77, "sqe", 12, 12, 8)


def ask(home, recipe, url, what=check_contract):
    async def act():
        async with ChainClient(url) as client:
            return await what(home, recipe, client)

    return asyncio.run(act())


def change(node, recipe, **changes):
    topic = node.core.topics[77]
    topic.spec = replace(topic.spec, **changes)


def test_a_topic_as_agreed_is_fine_however_often_it_is_asked(home, recipe, node):
    assert ask(home, recipe, node.grpc_url) == []
    assert ask(home, recipe, node.grpc_url) == []
    assert broken_contract(home, recipe) == ""


def test_a_change_is_kept_until_it_is_taken_back_or_accepted(home, recipe, node):
    ask(home, recipe, node.grpc_url)
    change(node, recipe, worker_window=4, loss_method="abse")
    found = ask(home, recipe, node.grpc_url)
    assert found == [
        "the loss method is abse, the recipe says sqe", "the window was 8 blocks and is 4 now",
    ]  # fmt: skip
    assert broken_contract(home, recipe) == "; ".join(found)
    # a window can be agreed to; a loss method is the recipe's to say
    assert ask(home, recipe, node.grpc_url, accept_contract) == ["the loss method is abse, the recipe says sqe"]
    change(node, recipe, loss_method="sqe")
    assert ask(home, recipe, node.grpc_url) == []
    assert broken_contract(home, recipe) == ""


def test_a_node_that_does_not_answer_changes_nothing(home, recipe, node):
    ask(home, recipe, node.grpc_url)
    change(node, recipe, loss_method="abse")
    with pytest.raises(NodeUnreachable):
        ask(home, recipe, "grpc+http://127.0.0.1:9")
    assert broken_contract(home, recipe) == ""


def test_another_question_has_a_contract_of_its_own(home, recipe, node):
    change(node, recipe, loss_method="abse")
    ask(home, recipe, node.grpc_url)
    other = recipe.model_copy(update={"topic": recipe.topic.model_copy(update={"loss": "abse"})})
    assert broken_contract(home, other) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epoch_length": 24}, "the epoch length was 12 blocks and is 24 now"),
        ({"ground_truth_lag": 24}, "the ground-truth lag was 12 blocks and is 24 now"),
        ({"arity": "multi"}, "the topic's arity is multi, a recipe answers with one value"),
        ({"kind": "classification"}, "the topic is of the kind classification, a recipe answers with a number"),
    ],
)
def test_each_break_by_itself(recipe, changes, words):
    [found] = breaks(recipe, replace(AGREED, **changes), AGREED)
    assert words in found


def test_how_far_apart_epochs_are_is_read_from_the_journal(recipe):
    def journal(seconds):
        return [
            SimpleNamespace(nonce=12 * at, seen_at=(NOW + timedelta(seconds=seconds * at)).isoformat())
            for at in range(8)
        ]

    assert breaks(recipe, AGREED, AGREED, journal(310)) == []
    assert breaks(recipe, AGREED, AGREED, journal(600)[:6]) == []  # too few to say
    assert breaks(recipe, AGREED, AGREED, journal(600)) == ["epochs come every 600 s, the recipe says 5m"]


def test_the_command_exits_with_what_is_broken(home, recipe, node, monkeypatch):
    for name, value in {**home.environment(), "CRUCIBLE_GRPC_URL": node.grpc_url}.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(crucible, ["monitor", "contract", recipe.name])
    assert (done.exit_code, "is what btc_usd_5min answers" in done.output) == (0, True)
    change(node, recipe, loss_method="abse")
    done = CliRunner().invoke(crucible, ["monitor", "contract", recipe.name, "--json"])
    assert isinstance(done.exception, GateError)
    assert json.loads(done.output)["broken"] == ["the loss method is abse, the recipe says sqe"]


def test_a_topic_that_wants_several_values_or_classes_is_no_topic_for_a_recipe(home, recipe, node):
    change(node, recipe, arity="multi", kind="classification")
    assert ask(home, recipe, node.grpc_url) == [
        "the topic is of the kind classification, a recipe answers with a number",
        "the topic's arity is multi, a recipe answers with one value",
    ]
