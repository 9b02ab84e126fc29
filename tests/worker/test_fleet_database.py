"""The fleet's state in SQLite and in PostgreSQL: the same answers, several processes, and what an outage does."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, replace

import pytest
from worker.test_lease import live_through, never_two_holders

from crucible.errors import SettingsError, StoreError
from crucible.settings import Settings
from crucible.worker.deployment import (
    Actual,
    Deployment,
    ask_restart,
    deploy,
    desired_of,
    history,
    read_actual,
    read_actuals,
    read_desired,
    read_served,
    read_wanted,
    remove_desired,
    set_running,
    write_actual,
    write_desired,
    write_served,
)
from crucible.worker.fleet_database import FleetDatabase, open_database

ONE = Deployment("one", 0, "a" * 64, "/bundles/a", 1, 77, "main", "now", epoch_seconds=300.0)


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request, tmp_path):
    url = ""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres")
        database = FleetDatabase(url)
        for table in ("desired", "deployed", "served", "actual", "lease", "wallet", "meta"):
            database.change(f"DROP TABLE IF EXISTS {table}")
        database.close()
    made = Settings.load({"CRUCIBLE_HOME": str(tmp_path), "CRUCIBLE_FLEET_DATABASE": url})
    yield made
    open_database(made).close()


def report(**changes):
    return replace(Actual("one", 1, 1.0, "ready", "a" * 64, 1, 1, 0, "allo1", 10, 100.0, "serving"), **changes)


def test_what_is_written_is_read_again(settings):
    first = deploy(settings, ONE)
    assert (first.generation, first.role) == (1, "inferer")
    assert read_desired(settings, "one") == first
    second = deploy(settings, replace(ONE, bundle="b" * 64))
    assert [item.generation for item in history(settings, "one")] == [2, 1]
    assert desired_of(settings, "main") == [second]
    set_running(settings, "one", False)
    ask_restart(settings, "one")
    [wanted] = read_wanted(settings)
    assert (wanted.deployment, wanted.running, wanted.restarts) == (second, False, 1)
    assert desired_of(settings, "main") == []
    write_desired(settings, replace(second, generation=3))  # an operator's stop survives a deployment
    assert not read_wanted(settings)[0].running
    remove_desired(settings, "one")
    assert read_desired(settings, "one") is None
    assert deploy(settings, ONE).generation == 4  # no worker ever sees a generation twice
    assert read_served(settings, "one") is None
    write_served(settings, first)
    assert read_served(settings, "one") == first


def test_reports_of_several_hosts_and_the_last_acceptance(settings):
    assert read_actual(settings, "one") is None
    write_actual(settings, report(accepted_at=50.0, refusal="r'--"))
    write_actual(settings, report(beat=101.0))
    write_actual(settings, report(beat=300.0, host="elsewhere", state="stopped"))
    newest, ours = read_actuals(settings, "one")
    assert (newest.host, newest.here, newest.alive) == ("elsewhere", False, False)
    assert (ours.here, ours.beat, ours.accepted_at) == (True, 101.0, 50.0)
    assert read_actual(settings, "one").host == "elsewhere"


def test_several_that_deploy_at_once_get_a_generation_each(settings):
    deploy(settings, ONE)
    got = []
    threads = [
        threading.Thread(target=lambda: got.extend(deploy(settings, ONE).generation for _ in range(5)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(2, 22))


def test_leases_are_as_safe_in_either_database(settings):
    import random

    database = open_database(settings)
    if settings.fleet_database:
        for seed in range(5):
            live_through(database, random.Random(seed), seed, quick="SET synchronous_commit = off")
    else:
        live_through(database, random.Random(0), 0)


@pytest.mark.processes
@pytest.mark.skipif(not os.environ.get("CRUCIBLE_PROVE"), reason="CRUCIBLE_PROVE is not set")
def test_processes_contend_for_a_lease_in_postgres(postgres, tmp_path):
    never_two_holders(postgres, tmp_path, rounds=30)


def test_files_of_an_earlier_version_are_taken_over_once(tmp_path, caplog):
    settings = Settings.load({"CRUCIBLE_HOME": str(tmp_path)})
    for kind in ("desired", "served"):
        folder = settings.fleet / kind
        folder.mkdir(parents=True)
        old = {key: value for key, value in asdict(ONE).items() if key not in ("role", "epoch_seconds")}
        (folder / "one.json").write_text(json.dumps({**old, "generation": 7}))
    (settings.fleet / "desired" / "bad.json").write_text("{")
    found = read_desired(settings, "one")
    assert (found.generation, found.epoch_seconds) == (7, 3600.0)  # an hour, where the bundle does not say
    assert read_served(settings, "one").generation == 7
    assert "bad.json is damaged" in caplog.text
    assert deploy(settings, ONE).generation == 8
    remove_desired(settings, "one")
    script = (
        "from crucible.settings import *; from crucible.worker.deployment import *; print(read_wanted(Settings.load()))"
    )
    again = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **settings.environment()}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert again.stdout == "[]\n"


def test_another_hosts_bundle_is_looked_for_here(tmp_path):
    settings = Settings.load({"CRUCIBLE_HOME": str(tmp_path)})
    (settings.bundles / ONE.bundle).mkdir(parents=True)
    deploy(settings, ONE)
    assert read_desired(settings, "one").bundle_path == str(settings.bundles / ONE.bundle)


@pytest.mark.parametrize("url", ["mysql://x", "sqlite://", "fleet.db", "sqlite:relative"])
def test_a_url_that_names_no_database_is_refused(url):
    with pytest.raises(SettingsError, match="CRUCIBLE_FLEET_DATABASE"):
        FleetDatabase(url)


def test_a_password_is_nowhere_to_be_seen(tmp_path, monkeypatch):
    url = "postgresql://fleet:hunter2@127.0.0.1:9/fleet"
    settings = Settings.load({"CRUCIBLE_HOME": str(tmp_path), "CRUCIBLE_FLEET_DATABASE": url})
    assert "hunter2" not in repr(settings)
    # without the driver the one, with it the other
    with pytest.raises((SettingsError, StoreError), match=r"127\.0\.0\.1/fleet refuses|not installed") as caught:
        FleetDatabase(url).query("SELECT 1")
    assert "hunter2" not in str(caught.value)


def test_damage_and_later_versions_are_named(tmp_path):
    path = tmp_path / "fleet.db"
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        FleetDatabase(f"sqlite:///{path}").query("SELECT 1")
    path.unlink()
    database = FleetDatabase(f"sqlite:///{path}")
    database.change("UPDATE meta SET value = '99'")
    with pytest.raises(StoreError, match="version 99"):
        FleetDatabase(f"sqlite:///{path}").query("SELECT 1")


def test_a_report_that_nobody_takes_is_logged_once_and_ends_nothing(tmp_path, caplog):
    settings = Settings.load({"CRUCIBLE_HOME": str(tmp_path)})
    write_actual(settings, report())
    database = settings.fleet / "fleet.db"
    database.rename(settings.fleet / "away.db")
    database.mkdir()
    for _ in range(3):
        write_actual(settings, report())
    assert len([line for line in caplog.messages if "a report is lost" in line]) == 1
    database.rmdir()
    (settings.fleet / "away.db").rename(database)
    write_actual(settings, report(beat=7.0))
    assert read_actual(settings, "one").beat == 7.0
