"""`crucible init`: three questions, options in their place, nothing overwritten, near names."""

import sys

import pytest
from click.testing import CliRunner

from crucible.cli import crucible
from crucible.errors import RecipeError
from crucible.recipe import load_recipe
from crucible.recipe_draft import STRENGTHS, draft_name, draft_recipe
from crucible.topics.catalogue import catalogue


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path))
    monkeypatch.setenv("CRUCIBLE_RECIPES", str(tmp_path / "recipes"))
    return tmp_path / "recipes"


def run(*arguments, typed=None):
    return CliRunner().invoke(crucible, ["init", *arguments], input=typed)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_every_topic_makes_a_valid_recipe_at_every_strength(strength):
    names = set()
    for topic in catalogue():
        recipe, text = draft_recipe(topic, draft_name(topic), "w", strength)
        names.add(recipe.name)
        assert (recipe.topic.testnet, recipe.topic.mainnet) == (topic.testnet, topic.mainnet)
        assert text.count("#") > 10
    assert len(names) == len(catalogue()) - 1  # topic 69's price a day ahead is called as 15's log return


def test_options_answer_the_questions_and_nothing_is_overwritten(folder):
    done = run("--topic", "eth log 8h", "--strength", "quick", "--wallet", "mine")
    assert done.exit_code == 0, done.output
    made = load_recipe(folder / "eth_usd_8h.toml")
    assert (made.topic.mainnet, made.deploy.wallet, made.search.trials) == (2, "mine", 2)
    before = (folder / "eth_usd_8h.toml").read_text()
    again = run("--topic", "2", "--name", "eth_usd_8h")
    assert isinstance(again.exception, RecipeError)
    assert "not overwritten; choose another --name, for example eth_usd_8h_2" in str(again.exception)
    assert run("--topic", "2").exit_code == 0  # the next free name
    assert (folder / "eth_usd_8h_2.toml").exists()
    assert (folder / "eth_usd_8h.toml").read_text() == before


@pytest.mark.parametrize(
    ("topic", "words"),
    [
        ("bct 8h", "did you mean 'btc 8h'"),
        ("btc 8h", "means 2 topics; say the id of one"),
        ("4711", "crucible topics"),
    ],
)
def test_a_topic_that_is_none_or_many_is_told(folder, topic, words):
    done = run("--topic", topic)
    assert isinstance(done.exception, RecipeError)
    assert words in str(done.exception)
    assert not folder.exists()


def test_words_of_a_name_find_their_topic(folder):
    for words, name in (("btc 5min", "btc_usd_5min"), ("sol 24h", "sol_usd_1d"), ("77", "btc_usd_5min_2")):
        assert run("--topic", words).exit_code == 0
        assert (folder / f"{name}.toml").exists()


def test_without_a_terminal_the_topic_must_be_said(folder):
    done = run()
    assert isinstance(done.exception, RecipeError)
    assert "--topic" in str(done.exception)


def test_a_person_is_asked_three_questions_and_may_narrow_the_list(folder, monkeypatch):
    import crucible.cli.ask as ask

    monkeypatch.setattr(ask, "may_ask", lambda: True)
    done = run(typed="dogecoin\neth\neth price\nquick\nMy Wallet\nmy-wallet\n")
    assert done.exit_code == 0, done.output
    assert "No topic is like 'dogecoin'" in done.output
    assert "How strong a search?" in done.output
    assert "a wallet's name is of small letters" in done.output  # asked again, and nothing of what was typed is lost
    made = load_recipe(folder / "eth_usd_8h_price.toml")
    assert (made.deploy.wallet, made.topic.testnet) == ("my-wallet", 41)


def test_a_wrong_wallet_name_writes_nothing(folder):
    done = run("--topic", "2", "--wallet", "No Name")
    assert isinstance(done.exception, RecipeError)
    assert "deploy.wallet" in str(done.exception)
    assert not folder.exists()
    assert sys.stdin is not None
