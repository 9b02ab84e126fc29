"""Steering workers by command: what is written, what is printed, and what is refused."""

import json
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner

from crucible.cli import crucible
from crucible.clock import SystemClock
from crucible.errors import BundleError, ProcessError
from crucible.models.bundle import Training, write_bundle
from crucible.models.candidates import build_model
from crucible.settings import Settings
from crucible.worker.deployment import Actual, history, read_desired, read_wanted, write_actual
from crucible.worker.host import host_id
from crucible.worker.lock import hold


@pytest.fixture
def settings(tmp_path, monkeypatch, pytestconfig):
    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path))
    monkeypatch.setenv("CRUCIBLE_RECIPES", str(pytestconfig.rootpath / "recipes"))
    monkeypatch.setenv("COLUMNS", "200")
    return Settings.load()


@pytest.fixture
def bundles(settings, recipe):
    from crucible.features.library import CORE

    training = Training(bars_digest="0" * 64, rows=1, first="t", last="t")
    models = {name: build_model(name, recipe, CORE.names) for name in ("zero", "last_value")}
    return {
        name: write_bundle(settings.bundles, recipe, name, CORE.names, training, model)
        for name, model in models.items()
    }


def run(*arguments):
    return CliRunner().invoke(crucible, ["workers", *map(str, arguments)])


def deployed(bundles, *names):
    for name in names:
        done = run("deploy", "--bundle", bundles[name].path, "--wallet", "main", "--wait", "0")
        assert done.exit_code == 0, done.output


def test_a_bundle_is_deployed_without_a_registry_and_listed(settings, bundles, recipe):
    assert "Nothing is deployed" in run("ls").output
    deployed(bundles, "zero")
    desired = read_desired(settings, recipe.name)
    assert (desired.bundle, desired.wallet, desired.epoch_seconds) == (bundles["zero"].digest, "main", 300.0)
    [line] = json.loads(run("ls", "--json").output)
    assert (line["state"], line["wanted_generation"], line["message"]) == ("not running", 1, "no worker has started")
    assert recipe.name in run("ls").output
    refused = run("deploy", "--bundle", bundles["zero"].path, "--wait", "0.5")
    assert isinstance(refused.exception, ProcessError)
    assert "is a fleet running" in str(refused.exception)
    assert read_desired(settings, recipe.name).wallet == "main"  # stays with the wallet that it has
    assert run("deploy").exit_code == run("deploy", "x", "--bundle", bundles["zero"].path).exit_code == 2


def test_stop_start_restart_and_rm(settings, bundles, recipe):
    deployed(bundles, "zero")
    name = recipe.name
    assert run("stop", name).exit_code == 0
    assert json.loads(run("ls", "--json").output)[0]["state"] == "stopped"
    waited = run("deploy", "--bundle", bundles["zero"].path, "--wait", "5")
    assert f"crucible workers start {name}" in str(waited.exception)
    assert run("start", name).exit_code == run("restart", name).exit_code == 0
    [wanted] = read_wanted(settings)
    assert (wanted.running, wanted.restarts) == (True, 1)
    assert run("rm", name).exit_code == 0
    assert read_wanted(settings) == []


def test_a_name_that_is_not_deployed_gets_the_nearest_one(bundles, settings):
    assert "deployed: nothing" in str(run("stop", "btc").exception)
    deployed(bundles, "zero")
    for command in ("stop", "start", "restart", "rm", "rollback", "logs"):
        assert "did you mean btc_usd_5min?" in str(run(command, "btc_usd_5mn").exception)


def test_rolling_back_goes_to_the_bundle_before_and_back_again(settings, bundles, recipe):
    name, zero, last = recipe.name, bundles["zero"].digest, bundles["last_value"].digest
    deployed(bundles, "zero")
    assert "never served another bundle" in str(run("rollback", name, "--wait", "0").exception)
    deployed(bundles, "last_value", "last_value")
    for expected in (zero, last, zero):
        done = run("rollback", name, "--wait", "0")
        assert done.exit_code == 0, done.exception
        assert "@champion stays where it is" in done.output
        assert read_desired(settings, name).bundle == expected
    assert [item.generation for item in history(settings, name)] == [6, 5, 4, 3, 2, 1]
    assert run("rollback", name, "--to", "2", "--wait", "0").exit_code == 0
    assert read_desired(settings, name).bundle == last
    assert "earlier generations: 6, 5" in str(run("rollback", name, "--to", "99", "--wait", "0").exception)
    assert len(run("rollback", name, "--history").output.splitlines()) == 7
    # what was altered is not put back, and what is desired stays
    (bundles["zero"].path / "manifest.json").write_text("{}")
    refused = run("rollback", name, "--wait", "0")
    assert isinstance(refused.exception, BundleError)
    assert read_desired(settings, name).bundle == last


def test_a_worker_that_beats_and_submits_nothing_is_late(settings, bundles, recipe):
    deployed(bundles, "zero")
    now = SystemClock().now().timestamp()
    # another host's, so that no process need run here
    report = Actual(recipe.name, 1, 1.0, "ready", "b", 1, 1, 0, "a", 5, now, "serving", host="far", accepted_at=now)
    write_actual(settings, report)
    assert json.loads(run("ls", "--json").output)[0]["state"] == "ready"
    write_actual(settings, replace(report, host="farther", accepted_at=now - 4 * 300, beat=now + 1))
    [line] = json.loads(run("ls", "--json").output)
    assert (line["state"], line["host"]) in (("ready", "far"), ("late", "farther"))
    write_actual(settings, replace(report, state="stopped"))
    [line] = json.loads(run("ls", "--json").output)
    assert (line["state"], round(line["silent_epochs"])) == ("late", 4)


def test_the_log_and_the_journal_of_a_worker(settings, bundles, recipe):
    deployed(bundles, "zero")
    assert "no log" in str(run("logs", recipe.name).exception)
    log = settings.fleet / "logs" / "main.log"  # the wallet's: its topics share a process
    log.parent.mkdir(parents=True)
    log.write_text("one\ntwo\nthree\n")
    assert run("logs", recipe.name, "-n", "2").output == "two\nthree\n"
    assert json.loads(run("journal", recipe.name, "--json").output) == []


def test_a_log_is_followed_beyond_the_moment_at_which_it_is_emptied(settings, bundles, recipe, monkeypatch):
    deployed(bundles, "zero")
    log = settings.fleet / "logs" / "main.log"
    log.parent.mkdir(parents=True)
    log.write_text("one\ntwo\nthree\n")
    texts = iter(["one\ntwo\nthree\nfour\n", "", "five\n"])

    def pause(_):
        text = next(texts, None)
        if text is None:
            raise KeyboardInterrupt
        log.write_text(text)

    monkeypatch.setattr(time, "sleep", pause)
    assert run("logs", recipe.name, "-f").output.split()[:5] == ["one", "two", "three", "four", "five"]


def test_a_probe_tells_a_fleet_that_is_well_from_one_that_is_not(settings, bundles, recipe):
    probe = ["fleet", "health"]
    assert "No fleet runs" in str(CliRunner().invoke(crucible, probe).exception)
    with hold(settings.fleet / ".lock", "held"):
        assert "0 workers" in CliRunner().invoke(crucible, probe).output
        deployed(bundles, "zero")
        failed = Actual(recipe.name, 1, 1.0, "failed", "", 0, 0, 0, "", 0, 1.0, "no", host=host_id(settings))
        write_actual(settings, failed)
        assert "btc_usd_5min is failed" in str(CliRunner().invoke(crucible, probe).exception)


def test_every_command_says_what_it_does():
    from crucible.cli.workers import workers

    assert set(workers.commands) == {
        "ls", "deploy", "start", "stop", "restart", "rm", "logs", "journal", "rollback"
    }  # fmt: skip
    for name in workers.commands:
        shown = run(name, "--help")
        assert shown.exit_code == 0
        assert len(shown.output.splitlines()) > 5
