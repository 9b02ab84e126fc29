"""`--network`, the word that mainnet wants typed, topics live and filtered, completion, status."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

import crucible.cli.confirm as confirm
from crucible.cli import _COMMANDS, _LazyGroup, crucible
from crucible.errors import SettingsError, SourceError
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.process import write_json
from crucible.settings import PUBLIC, Settings
from crucible.topics.live import live_topics, read_name


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path))
    return tmp_path


def run(*arguments, typed=None):
    return CliRunner().invoke(crucible, list(arguments), input=typed)


def test_a_network_that_is_named_is_meant_whatever_runs_here(home):
    env = {"CRUCIBLE_HOME": str(home)}
    with pytest.raises(SettingsError, match="No local network runs"):
        Settings.load({**env, "CRUCIBLE_NETWORK": "local"})
    write_json(home / "data" / "endpoints.json", {"grpc_url": "grpc+http://127.0.0.1:9", "network": "testnet"})
    assert Settings.load(env).grpc_url == "grpc+http://127.0.0.1:9"
    assert Settings.load({**env, "CRUCIBLE_NETWORK": "local"}) == Settings.load(env)
    assert Settings.load({**env, "CRUCIBLE_NETWORK": "testnet"}).grpc_url == PUBLIC["testnet"]["grpc_url"]
    main = Settings.load({**env, "CRUCIBLE_NETWORK": "mainnet", "CRUCIBLE_GRPC_URL": "grpc+http://mine:1"})
    assert (main.chain_id, main.grpc_url, main.faucet_url) == ("allora-mainnet-1", "grpc+http://mine:1", "")
    assert Settings.load(main.environment()) == main
    with pytest.raises(SettingsError, match="did you mean mainnet"):
        Settings.load({**env, "CRUCIBLE_NETWORK": "mainet"})


def test_the_option_lasts_as_long_as_the_command(home):
    rows = json.loads(run("--network", "mainnet", "topics", "--active", "--json").output)
    assert rows
    assert all(row["mainnet"] for row in rows)
    assert "CRUCIBLE_NETWORK" not in os.environ
    assert "No local network" in str(run("--network", "local", "topics").exception)
    assert run("--network", "moonnet", "topics").exit_code == 2


def test_mainnet_wants_its_name_typed_where_something_is_deployed(home, monkeypatch):
    import crucible.registry.models as models

    # a store takes seconds to make, and nothing here is about it
    monkeypatch.setattr(models, "versions", lambda *_: [])
    monkeypatch.setattr(models, "alias_version", lambda *_: None)
    refused = run("--network", "mainnet", "promote", "btc_usd_5min")
    assert "nobody is there to ask" in str(refused.exception)
    assert "no versions" in str(run("--network", "mainnet", "promote", "btc_usd_5min", "--list").exception)
    monkeypatch.setattr(confirm, "may_ask", lambda: True)
    monkeypatch.delenv("CRUCIBLE_CONFIRM", raising=False)
    other = run("--network", "mainnet", "promote", "btc_usd_5min", typed="yes\n")
    assert "'yes' is not 'mainnet'; nothing was done" in str(other.exception)
    typed = run("--network", "mainnet", "promote", "btc_usd_5min", typed="mainnet\n")
    assert "no @challenger" in str(typed.exception)
    assert os.environ.pop("CRUCIBLE_CONFIRM") == "mainnet"  # for the workers that it may start
    monkeypatch.setenv("CRUCIBLE_CONFIRM", "mainnet")
    assert "no @challenger" in str(run("--network", "mainnet", "promote", "btc_usd_5min").exception)


def test_what_signs_asks_and_play_money_does_not(home):
    group = _LazyGroup()
    asking = set()
    for name in _COMMANDS:
        command = group.get_command(None, name)
        for path in (path for path in confirm.SIGNING if path[0] == name):
            found = confirm._find(command, path[1:])
            if found is not None:
                assert hasattr(found.callback, "asks_first"), path
                asking.add(path)
    assert {("promote",), ("fleet", "run"), ("worker", "run")} <= asking
    local = Settings.load(
        {"CRUCIBLE_HOME": str(home), "CRUCIBLE_NETWORK": "mainnet", "CRUCIBLE_GRPC_URL": "grpc+http://127.0.0.1:1"}
    )
    confirm.confirm_mainnet(local, "It signs")


def test_topics_are_filtered_and_near_names_are_told(home):
    rows = json.loads(run("topics", "--kind", "price", "--asset", "btc", "--json").output)
    assert {row["testnet"] for row in rows} == {42, 69, 77}
    assert 57 not in {row["testnet"] for row in json.loads(run("topics", "--active", "--json").output)}
    assert "did you mean BTC/USD?" in str(run("topics", "--asset", "btcc").exception)


def test_the_network_lists_its_topics(home, monkeypatch, recipe):
    from datetime import timedelta

    from crucible.localnet.run import topic_of

    with EmbeddedLocalnet([topic_of(recipe, "testnet", timedelta(seconds=25))], block_seconds=0) as node:
        monkeypatch.setenv("CRUCIBLE_API_URL", node.api_url)
        (row,) = json.loads(run("topics", "--live", "--active", "--json").output)
        assert (row["id"], row["asset"], row["target"], row["horizon"]) == (77, "BTC/USD", "price", "5m")
        assert (row["loss"], row["epoch_length"]) == ("sqe", 12)
        assert "77" in run("topics", "--live").output
        assert "unknown network" in str(run("--network", "mainnet", "topics", "--live").exception)
    with pytest.raises(SourceError, match="cannot be reached"):
        live_topics(node.api_url, "testnet", "allora-testnet-1", deadline=2)


def test_names_tell_what_they_tell():
    assert read_name("BTC/USD - Log Returns - 24h") == ("BTC/USD", "log_return", "1d")
    assert read_name("8h BTC/USD Log-Return (5min updates)") == ("BTC/USD", "log_return", "8h")
    assert read_name("BTC/USD - 5 Min Price Prediction") == ("BTC/USD", "price", "5m")
    assert read_name("Weather in Oslo") == ("", "", "")


def test_a_shell_completes_commands_and_recipes(home, pytestconfig):
    def complete(words, at):
        env = {**os.environ, "_CRUCIBLE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        command = [sys.executable, "-m", "crucible"]
        return subprocess.run(
            command, cwd=pytestconfig.rootpath, env=env, capture_output=True, text=True, check=True
        ).stdout.split()

    assert complete("crucible do", 1) == ["plain,doctor"]
    assert complete("crucible recipe check btc_usd_5", 3) == ["plain,btc_usd_5min"]
    for shell in ("bash", "zsh", "fish"):
        assert "_CRUCIBLE_COMPLETE" in run("completion", shell).output


def test_status_shows_every_recipe_and_a_fault_hides_nothing(home, monkeypatch, recipe_text):
    (home / "recipes").mkdir()
    (home / "recipes" / "btc_usd_5min.toml").write_text(recipe_text)
    (home / "recipes" / "bad.toml").write_text("name = 'bad'\n")
    monkeypatch.setenv("CRUCIBLE_RECIPES", str(home / "recipes"))
    bad, good = json.loads(run("status", "--json").output)
    assert "missing" in bad["fault"]
    assert (good["recipe"], good["topic"], good["bars"], good["fault"]) == ("btc_usd_5min", 77, 0, "")
    assert "btc_usd_5min" in run("status").output
    assert not (home / "mlruns").exists()  # a look makes no store


def test_every_listing_speaks_json(home):
    lists = [
        ["recipe", "list"], ["features", "list", "btc_usd_5min"], ["bars", "ls"], ["bars", "gaps"], ["wallet", "list"],
        ["fleet", "status"], ["fleet", "journal", "btc_usd_5min"], ["topics"], ["status"], ["doctor", "--offline"],
    ]  # fmt: skip
    for arguments in lists:
        done = run(*arguments, "--json")
        assert done.exit_code in (0, 1), (arguments, done.output)
        json.loads(done.output)
