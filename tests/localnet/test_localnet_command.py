"""`crucible localnet up` as a process: house actors, restart, clear refusals."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from crucible.cli import crucible
from crucible.cli.localnet import answering
from crucible.clock import ScaledClock
from crucible.errors import ProcessError, SettingsError
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.signal import plant
from crucible.practice.simulate import SimulatedMarket
from crucible.recipe import load_recipe
from crucible.settings import Settings

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def launch(root, home, *arguments, clock="system", exchange=""):
    environ = {**os.environ, "CRUCIBLE_HOME": str(home), "CRUCIBLE_CLOCK": clock, "CRUCIBLE_EXCHANGE_URL": exchange}
    command = [sys.executable, "-m", "crucible", "localnet", "up", "--recipe", "btc_usd_5min", *arguments]
    return subprocess.Popen(command, cwd=root, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def invoke(root, home, *arguments):
    environ = {"CRUCIBLE_HOME": str(home), "CRUCIBLE_RECIPES": str(root / "recipes")}
    return CliRunner(env=environ).invoke(crucible, ["localnet", "up", "--recipe", "btc_usd_5min", *arguments])


def wait_file(path, process, seconds=30):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return json.loads(path.read_text())


def scored(state_file):
    if not state_file.exists():
        return []
    [topic] = json.loads(state_file.read_text())["topics"]
    return [nonce for nonce in topic["nonces"].values() if nonce["scores"]]


@pytest.mark.processes
def test_house_actors_play_and_a_second_start_continues(tmp_path, pytestconfig):
    clock = ScaledClock.starting(NOW, 600.0)
    market = SimulatedMarket(("BTCUSDT",), NOW - timedelta(days=3), 1, plant(0.0, timedelta(minutes=5)))
    with EmbeddedExchange(market, clock) as exchange:
        arguments = ("--block-time", "25s", "--ready-file", str(tmp_path / "ready.json"))
        process = launch(pytestconfig.rootpath, tmp_path, *arguments, clock=clock.text(), exchange=exchange.url)
        ready = wait_file(tmp_path / "ready.json", process)
        assert ready["chain_id"] == "allora-testnet-1"
        assert ready["topics"] == [77]
        state_file = tmp_path / "data" / "localnet" / "state.json"
        deadline = time.monotonic() + 40
        while len(scored(state_file)) < 2:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=10)[0]
        assert process.returncode == 0, output
        assert time.monotonic() - started < 6  # 0.3 s of its own; the rest is a busy machine's
        state = json.loads(state_file.read_text())
        nonces = state["topics"][0]["nonces"].values()
        assert len(scored(state_file)) >= 2, output
        assert all(len(nonce["scores"]) == 4 for nonce in scored(state_file))
        assert all(nonce["time"] % 300 == 0 for nonce in nonces)
        (tmp_path / "ready.json").unlink()
        again = launch(pytestconfig.rootpath, tmp_path, *arguments, clock=clock.text(), exchange=exchange.url)
        assert wait_file(tmp_path / "ready.json", again)["height"] == state["height"]
        again.send_signal(signal.SIGINT)
        again.communicate(timeout=10)
        assert again.returncode == 0


@pytest.mark.processes
def test_fast_for_people_with_a_funded_wallet_and_faults_from_another_terminal(tmp_path, pytestconfig):
    process = launch(
        pytestconfig.rootpath, tmp_path, "--fast", "--wallet", "me", "--forecasters", "1", "--reputers", "2"
    )
    folder = tmp_path / "data" / "localnet"
    endpoints = wait_file(folder / "endpoints.json", process)
    assert endpoints["control_url"].startswith("http://127.0.0.1:")
    environ = {**os.environ, "CRUCIBLE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "crucible", "localnet", "fault", "node-behind", "--for", "30", "--value", "3"]
    told = subprocess.run(command, cwd=pytestconfig.rootpath, env=environ, capture_output=True, text=True, check=False)
    assert told.stdout.startswith("on: node-behind"), told
    deadline = time.monotonic() + 40
    while not scored(folder / "state.json"):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=10)[0]
    assert process.returncode == 0, output
    address = json.loads((tmp_path / "data" / "keystore" / "me.json").read_text())["address"]
    assert f"wallet     me, {address}, funded" in output
    assert "CRUCIBLE_CLOCK=" in output
    state = json.loads((folder / "state.json").read_text())
    assert state["ledger"]["accounts"][address]["balance"] == 10**18
    assert not (folder / "endpoints.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--block-time", "7s"), "at least 12 whole blocks of 7s"),
        (("--block-time", "1m"), "at least 12 whole blocks of 1m"),
    ],
)
def test_impossible_block_times_are_one_sentence(arguments, words, tmp_path, pytestconfig):
    result = invoke(pytestconfig.rootpath, tmp_path, *arguments)
    assert isinstance(result.exception, SettingsError)
    assert words in str(result.exception)


def test_recipes_of_another_network_are_left_out_and_named(tmp_path, pytestconfig, capsys):
    settings = Settings.load({"CRUCIBLE_HOME": str(tmp_path), "CRUCIBLE_NETWORK": "mainnet"})
    every = [load_recipe(path) for path in sorted((pytestconfig.rootpath / "recipes").glob("*.toml"))]
    assert [recipe.name for recipe in answering(settings, every)] == ["btc_usd_8h"]
    assert "left out           btc_usd_1d, btc_usd_5min  (no topic on mainnet)" in capsys.readouterr().out
    with pytest.raises(SettingsError, match="answers a topic of mainnet"):
        answering(settings, every[:1])


def test_a_port_in_use_is_one_sentence(tmp_path, pytestconfig):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = invoke(pytestconfig.rootpath, tmp_path, "--grpc-port", str(taken.getsockname()[1]))
    assert isinstance(result.exception, ProcessError)
    assert "Localnet cannot listen" in str(result.exception)
