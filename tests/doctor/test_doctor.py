"""Each thing that can be broken is found, with the command that mends it; a home without anything is well."""

import json
import os
import socket
import sqlite3
import time
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from crucible.cli import crucible
from crucible.clock import ScaledClock, SystemClock
from crucible.doctor import machine
from crucible.doctor.house import examine_house, format_age
from crucible.doctor.machine import examine_machine
from crucible.doctor.wires import examine_wires
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.market.series import Series
from crucible.market.store import BarStore
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.signal import plant
from crucible.practice.simulate import SimulatedMarket
from crucible.settings import Settings


@pytest.fixture
def settings(tmp_path, recipe_text):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "btc_usd_5min.toml").write_text(recipe_text)
    return load(tmp_path)


def load(folder, **more):
    return Settings.load({"CRUCIBLE_HOME": str(folder), "CRUCIBLE_RECIPES": str(folder / "recipes"), **more})


def by_check(findings):
    return {finding.check: finding for finding in findings}


def test_an_empty_home_is_well_but_for_its_bars(settings):
    found = by_check(examine_house(settings))
    assert {check for check, item in found.items() if item.state != "well"} == {"bars of btc_usd_5min"}
    assert found["bars of btc_usd_5min"].mend == "crucible bars backfill btc_usd_5min"
    assert not settings.data.exists()  # nothing is changed by looking


def test_what_is_broken_in_a_home_is_found(settings, make_bars):
    (settings.recipes / "bad.toml").write_text("name = 'bad'\n")
    settings.keystore.mkdir(parents=True, mode=0o755)
    (settings.keystore / "w.json").write_text("{}")
    (settings.keystore / "w.json").chmod(0o644)
    journal = settings.fleet / "journal" / "btc_usd_5min.db"
    journal.parent.mkdir(parents=True)
    journal.write_bytes(b"SQLite format 3\x00 and then nothing")
    (settings.dagster_home / "history").mkdir(parents=True)
    (settings.dagster_home / "history" / "runs.db").write_bytes(b"no database at all, but long enough to be read")
    settings.mlruns.mkdir()
    with sqlite3.connect(settings.mlruns / "mlflow.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num)")
        database.execute("INSERT INTO alembic_version VALUES ('0')")
    database.close()
    BarStore(settings.bars).write(Series("binance", "BTCUSDT", timedelta(minutes=5)), make_bars(50))
    found = by_check(examine_house(settings))
    broken = {check: item.mend for check, item in found.items() if item.state == "broken"}
    assert set(broken) == {"keystore", "MLflow store", "Dagster home", "recipe bad", "journal btc_usd_5min"}
    assert all(broken.values())
    assert "chmod 600" in broken["keystore"]
    assert "mlflow db upgrade" in broken["MLflow store"]
    assert "which is old" in found["bars of btc_usd_5min"].sentence
    for item in found.values():
        assert item.sentence.endswith("."), item


def test_libraries_are_compared_with_the_lock(settings, tmp_path, monkeypatch):
    (tmp_path / "requirements").mkdir()
    lock = tmp_path / "requirements" / "all.txt"
    lock.write_text("click==0.1 \\\n    --hash=sha256:0\nabsent-thing==1.0\n")
    found = by_check(examine_machine(settings, tmp_path))["libraries"]
    assert found.state == "broken"
    assert "absent-thing is missing instead of 1.0" in found.sentence
    lock.write_text("click==0.1\nabsent==1 ; sys_platform == 'win32'\n")
    assert by_check(examine_machine(settings, tmp_path))["libraries"].state == "warning"
    monkeypatch.setattr(machine, "LEAST_BYTES", 10**18)
    monkeypatch.setattr(machine, "LEAST_PYTHON", (9, 0))
    found = by_check(examine_machine(settings, tmp_path))
    assert (found["disk space"].state, found["Python"].state) == ("broken", "broken")


def test_the_lock_of_the_project_is_what_is_installed(settings):
    assert by_check(examine_machine(settings))["libraries"].state == "well"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_broken(settings):
    settings.data.mkdir()
    settings.data.chmod(0o500)
    assert by_check(examine_machine(settings))["folder data"].state == "broken"


def test_endpoints_that_answer_are_well_and_another_chain_is_not(settings, tmp_path):
    clock = ScaledClock.starting(datetime(2026, 1, 5, tzinfo=UTC), 60.0)
    market = SimulatedMarket(("BTCUSDT",), clock.start - timedelta(days=1), 1, plant(0.0, timedelta(minutes=5)))
    with EmbeddedExchange(market, clock) as exchange, EmbeddedLocalnet(clock=clock, block_seconds=0) as node:
        urls = {
            "CRUCIBLE_EXCHANGE_URL": exchange.url, "CRUCIBLE_GRPC_URL": node.grpc_url,
            "CRUCIBLE_WEBSOCKET_URL": node.websocket_url, "CRUCIBLE_FAUCET_URL": node.faucet_url,
            "CRUCIBLE_API_URL": node.api_url,
        }  # fmt: skip
        found = by_check(examine_wires(load(tmp_path, CRUCIBLE_CLOCK=clock.text(), **urls), deadline=20))
        assert {item.state for item in found.values()} == {"well"}, found
        assert set(found) == {"exchange", "clock", "node", "websocket", "topic list", "faucet"}
        # real time against a market that stands in January
        wrong = load(tmp_path, CRUCIBLE_NETWORK="mainnet", **urls)
        found = by_check(examine_wires(wrong, deadline=20))
        assert (found["clock"].state, found["node"].state) == ("broken", "broken")
        assert "not of allora-mainnet-1" in found["node"].sentence


def test_a_server_that_hangs_is_told_within_the_deadline(settings, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        hanging = load(
            tmp_path, CRUCIBLE_EXCHANGE_URL=f"http://{at}", CRUCIBLE_GRPC_URL=f"grpc+http://{at}",
            CRUCIBLE_WEBSOCKET_URL=f"ws://{at}/websocket", CRUCIBLE_API_URL=f"http://{at}/v2",
            CRUCIBLE_FAUCET_URL="http://127.0.0.1:9",
        )  # fmt: skip
        begun = time.monotonic()
        found = by_check(examine_wires(hanging, deadline=1.0))
        assert time.monotonic() - begun < 8.0  # seven of them are for a busy machine
    assert {found[name].state for name in ("exchange", "node", "websocket")} == {"broken"}
    assert {found[name].state for name in ("topic list", "faucet")} <= {"warning", "broken"}
    assert all(item.mend for item in found.values() if item.state == "broken")


def test_a_check_that_fails_itself_is_not_told_as_silence(tmp_path, monkeypatch):
    def fail(settings, deadline):
        raise KeyError("x")

    monkeypatch.setattr("crucible.doctor.wires._topics", fail)
    nowhere = load(
        tmp_path, CRUCIBLE_EXCHANGE_URL="http://127.0.0.1:9", CRUCIBLE_GRPC_URL="grpc+http://127.0.0.1:9",
        CRUCIBLE_WEBSOCKET_URL="ws://127.0.0.1:9", CRUCIBLE_FAUCET_URL="",
    )  # fmt: skip
    found = by_check(examine_wires(nowhere, deadline=1.0))
    assert found["topic list"].state == "broken"
    assert "failed with KeyError" in found["topic list"].sentence


def test_the_command_exits_1_when_something_is_broken(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path))
    monkeypatch.setenv("CRUCIBLE_RECIPES", str(tmp_path / "recipes"))
    done = CliRunner().invoke(crucible, ["doctor", "--offline", "--json"])
    told = json.loads(done.output)
    assert (done.exit_code, told["broken"]) == (0, 0)
    (tmp_path / "recipes" / "bad.toml").write_text("name = 'bad'\n")
    done = CliRunner().invoke(crucible, ["doctor", "--offline"])
    assert done.exit_code == 1
    assert "1 broken" in done.output
    assert "crucible recipe check bad" in done.output


def test_ages_are_told_as_a_person_would():
    assert [format_age(s) for s in (40, 700, 20_000, 400_000)] == ["40 s", "12 min", "6 h", "5 d"]
    assert SystemClock().now().tzinfo is UTC
