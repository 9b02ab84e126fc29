import json
import re

import pytest

from crucible.duration import format_duration, parse_duration
from crucible.errors import RecipeError
from crucible.recipe import _KINDS, Recipe, find_recipe, parse_recipe
from crucible.topics import catalogue, find_topic


@pytest.mark.parametrize("name", ["btc_usd_5min", "btc_usd_1d", "btc_usd_8h"])
def test_shipped_recipes_are_valid_and_survive_their_canonical_form(name, pytestconfig):
    recipe = find_recipe(pytestconfig.rootpath / "recipes", name)
    again = parse_recipe(recipe.canonical(), "canonical")
    assert again == recipe
    assert again.digest == recipe.digest


def test_the_digest_ignores_layout_and_notices_every_value(recipe_text):
    base = parse_recipe(recipe_text, "r")
    assert parse_recipe("# a comment\n\n" + recipe_text, "r").digest == base.digest
    assert parse_recipe(recipe_text.replace("seed = 7", "seed = 8"), "r").digest != base.digest


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("alpha = 300.0", "alfa = 300.0", ["unknown key 'models.ridge.alfa'", "'alpha'"]),
        ("[deploy]", "[deploi]", ["unknown key 'deploi'", "'deploy'"]),
        ("[data]\n", "[data]\nsymbl = 'X'\n", ["unknown key 'data.symbl'", "'symbol'"]),
        ('cadence = "5m"', 'cadence = "7m"', ["topic.cadence is 7m", "no multiple of the bar interval 5m"]),
        ("testnet = 77\n", "", ["state the topic's id"]),
        ("testnet = 77", "testnet = 69", ["topic 69 on testnet is", "1d"]),
        ('horizon = "5m"', 'horizon = "five minutes"', ["topic.horizon", "is not a duration"]),
        ("bins = 63", "bins = 6000", ["models.lightgbm.bins"]),
        ("seed = 7", "", ["validation.seed is missing"]),
        ('history = "90d"', 'history = "10d"', ["validation needs 80d", "10d"]),
        ('"catboost", "mean"', '"mean"', ["[models.catboost] is there"]),
        ("name =", "name", ["not valid TOML"]),
        ('retrain = "0 3 * * *"', 'retrain = "every day"', ["deploy.retrain", "write five fields"]),
        ('wallet = "btc-usd-5min"', 'wallet = "../x"', ["deploy.wallet is '../x'; it may hold only small letters"]),
        ('symbol = "BTCUSDT"', 'symbol = "btc"', ["data.symbol is 'btc'; it may hold only capital letters and digits"]),
        ("folds = 3", "folds = -1", ["search.folds is -1; it should be greater than or equal to 2"]),
        ("folds = 3", 'folds = "three"', ["search.folds is 'three'; it should be a valid integer"]),
    ],
)
def test_each_fault_is_one_sentence_that_says_where_and_what(recipe_text, old, new, words):
    assert old in recipe_text
    with pytest.raises(RecipeError) as caught:
        parse_recipe(recipe_text.replace(old, new), "my.toml")
    message = str(caught.value)
    assert message.startswith("my.toml")
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_every_pattern_of_the_schema_is_told_in_words():
    text = json.dumps(Recipe.model_json_schema())
    assert set(re.findall(r'"pattern": "(.*?)"', text)) - {"^P"} <= set(_KINDS)


def test_a_horizon_that_is_no_multiple_of_the_bar_is_refused(recipe_text):
    text = recipe_text.replace("testnet = 77", "testnet = 9077").replace('horizon = "5m"', 'horizon = "7m"')
    with pytest.raises(RecipeError, match=r"topic\.horizon is 7m, which is no multiple of the bar interval 5m"):
        parse_recipe(text, "r.toml")


def test_a_missing_recipe_names_the_nearest_one(pytestconfig):
    with pytest.raises(RecipeError, match="did you mean btc_usd_5min"):
        find_recipe(pytestconfig.rootpath / "recipes", "btc_usd_5mins")


def test_file_and_name_must_agree(tmp_path, recipe_text):
    (tmp_path / "other.toml").write_text(recipe_text)
    with pytest.raises(RecipeError, match="calls itself 'btc_usd_5min'"):
        find_recipe(tmp_path, "other")


def test_a_recipe_without_an_id_on_a_network_says_so(recipe):
    assert recipe.topic_id("testnet") == 77
    with pytest.raises(RecipeError, match="no topic id for mainnet"):
        recipe.topic_id("mainnet")


@pytest.mark.parametrize("text", ["5m", "8h", "1d", "90s", "36h"])
def test_durations_round_trip(text):
    assert parse_duration(format_duration(parse_duration(text))) == parse_duration(text)


@pytest.mark.conformance
def test_the_catalogue_holds_every_row_of_the_networks_table(shared):
    rows = [line.split("|") for line in (shared / "topics.md").read_text().splitlines() if line.startswith("| ")]
    main = [[cell.strip() for cell in row[1:-1]] for row in rows if len(row) == 6 and row[1].strip().isdigit()]
    play = [[cell.strip() for cell in row[1:-1]] for row in rows if len(row) == 4 and row[1].strip().isdigit()]
    assert len(main) + len(play) == len(catalogue()) == 13
    for mainnet, name, testnet, _ in main:
        topic = find_topic("mainnet", int(mainnet))
        assert topic is not None
        assert topic.mainnet_name == name
        assert (str(topic.testnet) if topic.testnet else "—") == testnet
    for testnet, name in play:
        topic = find_topic("testnet", int(testnet))
        assert topic is not None
        assert topic.playground
        assert topic.testnet_name == name
