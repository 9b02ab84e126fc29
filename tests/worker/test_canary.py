"""A challenger on a playground topic: asked for by the stage, served by a real worker, counted for its promotion."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from worker_world import stop

from crucible import canary_stages
from crucible.canary_stages import follow_challenger
from crucible.chain.keystore import Keystore
from crucible.cli.workers import workers
from crucible.errors import RecipeError
from crucible.monitor import admission
from crucible.monitor.submissions import canary_epochs, canary_name, deployment_of
from crucible.recipe import parse_recipe
from crucible.worker.deployment import read_actual

TOPIC = 978
CANARY = f"""
[deploy.canary]
topic = {TOPIC}
wallet = "yellow-bird"
epochs = 2
"""


@pytest.fixture
def careful(recipe_text):
    """The shipped recipe with a canary."""
    return parse_recipe(recipe_text + CANARY, "careful")


@pytest.fixture
def waiting(world, careful, monkeypatch):
    """Version 2 waits behind champion 1, and passed its gates."""
    cautious = replace(world, recipe=careful)
    bundle = cautious.bundle("zero")
    version = SimpleNamespace(tags={"verdict": "passed", "bundle_sha256": bundle.digest})
    aliases = {"challenger": 2, "champion": 1}
    monkeypatch.setattr(canary_stages, "alias_version", lambda _, name, alias: aliases[alias])
    monkeypatch.setattr(canary_stages, "get_version", lambda *_: version)
    monkeypatch.setattr(canary_stages, "fetch_bundle", lambda *_: bundle)
    monkeypatch.setattr(admission, "alias_version", lambda _, name, alias: aliases[alias])
    monkeypatch.setattr(admission, "get_version", lambda _, name, number: version)
    return SimpleNamespace(world=cautious, bundle=bundle, aliases=aliases, version=version)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("topic = 978", "topic = 77", "the recipe's own; a canary needs another one"),
        ("topic = 978", "topic = 69", "another question than the recipe's"),
        ('wallet = "yellow-bird"', 'wallet = "btc-usd-5min"', "a wallet of its own"),
        ("topic = 978", "topics = 978", "the nearest valid one is 'topic'"),
    ],
)
def test_a_canary_that_makes_no_sense_is_refused_in_one_sentence(recipe_text, old, new, words):
    with pytest.raises(RecipeError, match=words) as refused:
        parse_recipe(recipe_text + CANARY.replace(old, new), "careful")
    assert "\n" not in str(refused.value)


def test_a_recipe_without_a_canary_keeps_its_identity(recipe, careful):
    assert "canary" not in recipe.canonical()
    assert careful.digest != recipe.digest


def test_who_has_no_wallet_or_no_testnet_is_told_and_nothing_is_deployed(waiting):
    world, recipe = waiting.world, waiting.world.recipe
    assert follow_challenger(world.settings, recipe) == (
        "no canary runs: There is no wallet 'yellow-bird'; make it with `crucible wallet create yellow-bird`."
    )
    real = replace(world.settings, network="mainnet")
    assert "submits on the testnet, and this home is on mainnet" in follow_challenger(real, recipe)
    assert deployment_of(world.settings, canary_name(recipe.name)) is None


@pytest.mark.processes
def test_a_challenger_submits_as_canary_and_is_promoted_after_enough_scored_epochs(waiting):
    world, recipe, name = waiting.world, waiting.world.recipe, canary_name(waiting.world.recipe.name)
    settings = world.settings
    world.node.core.add_topic(replace(world.node.core.topics[77].spec, id=TOPIC))
    Keystore(settings.keystore).create("yellow-bird")
    assert follow_challenger(settings, recipe) == f"version 2 is the canary on topic {TOPIC}"
    assert follow_challenger(settings, recipe) == f"version 2 is the canary on topic {TOPIC}"
    assert deployment_of(settings, name).generation == 1  # asking again changes nothing
    listed = CliRunner().invoke(workers, ["ls", "--json"], env=settings.environment())
    assert f'"recipe": "{name}"' in listed.output
    assert f'"topic_id": {TOPIC}' in listed.output
    assert admission.why_not(settings, recipe, 2) == (
        f"version 2 has 0 of 2 scored epochs on topic {TOPIC}; it goes on as a canary"
    )
    process = world.start("worker", "run", "--wallet", "yellow-bird")
    try:
        world.wait(lambda: canary_epochs(settings, recipe, waiting.bundle.digest) >= 2, "two scored canary epochs", 60)
        assert admission.why_not(settings, recipe, 2) == ""
        assert canary_epochs(settings, recipe, "f" * 64) == 0  # of another bundle they say nothing
        address = Keystore(settings.keystore).address("yellow-bird")
        nonces = world.node.core.topics[TOPIC].nonces.values()
        assert sum(address in nonce.inferences for nonce in nonces) >= 2
        assert world.accepted(address) == {}  # and nothing on the topic of the champion
        waiting.aliases["champion"] = 2
        assert follow_challenger(settings, recipe) == "no canary is needed"
        assert deployment_of(settings, name) is None
        world.wait(lambda: read_actual(settings, name).state == "stopped", "the worker to let go", 20)
    finally:
        stop(process)


@pytest.mark.processes
def test_a_topic_that_the_chain_does_not_know_is_told_in_one_sentence(waiting):
    settings, name = waiting.world.settings, canary_name(waiting.world.recipe.name)
    Keystore(settings.keystore).create("yellow-bird")
    follow_challenger(settings, waiting.world.recipe)
    process = waiting.world.start("worker", "run", "--wallet", "yellow-bird")
    try:

        def told():
            actual = read_actual(settings, name)
            return actual if actual and actual.state == "failed" else None

        words = waiting.world.wait(told, "the refusal", 30).message
        assert str(TOPIC) in words
        assert "\n" not in words
    finally:
        stop(process)
