"""The whole way with real processes and ports: demo, then up on the same home, then Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import psutil
import pytest
from secret_search import leaks

from crucible.chain.keystore import Keystore
from crucible.registry.models import alias_version, versions
from crucible.registry.store import client
from crucible.settings import Settings
from crucible.worker.deployment import journal_path, read_actual
from crucible.worker.journal import read_journal

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]
NAME = "btc_usd_5min"
PROMPT = 9.0  # seconds to end everything; three to five where other tests leave a core free
# a shell shows 130 for both; CPython ends by the signal itself when it interrupted an exec, as dataclasses use
INTERRUPTED = (130, -signal.SIGINT)


def processes_of(home):
    """Every process that was started for this home, by the environment that it was given."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("CRUCIBLE_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def read_url(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.read().decode()
    except OSError:
        return ""  # not listening yet, or too busy to answer


def lives(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def command(home, *arguments):
    return [sys.executable, "-m", "crucible", *arguments, "--home", str(home)]


@contextmanager
def running(home, root, *arguments):
    log = (home.parent / f"{arguments[0]}.log").open("w+")
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        command(home, *arguments), cwd=root, stdout=log, stderr=subprocess.STDOUT, env={**environ, "COLUMNS": "160"}
    )
    try:
        yield process, lambda: (log.seek(0), log.read())[1]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for left in processes_of(home):
            left.kill()
        log.close()


def wait(condition, what, seconds=180.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


@pytest.fixture(scope="module")
def demo(tmp_path_factory, pytestconfig):
    home = tmp_path_factory.mktemp("demo") / "home"
    with running(home, pytestconfig.rootpath, "demo") as (process, output):
        code = process.wait(timeout=600)
        # read at once: another test goes on in this home
        rows = read_journal(journal_path(Settings.load({"CRUCIBLE_HOME": str(home)}), NAME))
        chain = json.loads((home / "data" / "localnet" / "state.json").read_text())
        left = [*processes_of(home), *home.glob("data/endpoints.json")]
        return home, code, output(), rows, chain, left


def test_the_demo_goes_from_bars_to_scored_submissions(demo):
    _, code, output, rows, chain, left = demo
    assert code == 0, output[-3000:]
    for words in (
        "the gates passed: version 1 is @champion",
        "3 scored",
        "look next",
        "grade",
        "nothing is left running",
    ):
        assert words in output, output[-3000:]
    scored = [row for row in rows if row.state == "scored"]
    assert len(scored) >= 3
    assert all(row.tx_hash and row.height and row.code == 0 for row in scored)
    # the worker may begin in the last moments of a window; that one alone may be too late
    first, *others = sorted(rows, key=lambda row: row.nonce)
    assert {row.state for row in others} <= {"scored", "included", "broadcast", "signed", "predicted", "seen"}
    assert first.state != "missed" or first.reason_code in ("nonce_fulfilled", "window_closed")
    held = {int(height): nonce["inferences"] for height, nonce in chain["topics"][0]["nonces"].items()}
    for row in scored:
        assert float(held[row.nonce][row.address]) == pytest.approx(row.value)
        assert len(held[row.nonce]) == 5  # ours and four house competitors
    assert left == []


def test_no_secret_of_a_wallet_is_anywhere_but_in_the_keystore(demo):
    """In the journal, the fleet's database, Dagster's events and metadata, MLflow's store, any log, or the output."""
    home, _, output, *_ = demo
    assert leaks(home, Keystore(home / "data" / "keystore"), output) == []
    kinds = [path.relative_to(home).parts[:2] for path in home.rglob("*") if path.is_file()]
    assert {("data", "fleet"), ("data", "dagster"), ("mlruns", "mlflow.db")} <= set(kinds)


def test_up_continues_and_deploys_every_move_of_the_champion(demo, pytestconfig):
    home = demo[0]
    settings = Settings.load({"CRUCIBLE_HOME": str(home)})
    before = max(row.nonce for row in read_journal(journal_path(settings, NAME)))
    source = versions(settings, NAME)[0]
    client(settings).create_model_version(NAME, source.source, tags=dict(source.tags))
    first = read_actual(settings, NAME).generation
    ports = [part for name in ("dagster", "mlflow", "dashboard") for part in (f"--{name}-port", "0")]
    with running(home, pytestconfig.rootpath, "up", *ports) as (process, output):
        wait(lambda: "Dagster is ready after" in output() or process.poll() is not None, "up to be up")
        assert process.poll() is None, output()
        live = Settings.load({"CRUCIBLE_HOME": str(home)})
        wait(lambda: '"dagster_webserver_version"' in read_url(f"{live.dagster_url}/server_info"), "the Dagster UI")
        wait(lambda: "<title>MLflow</title>" in read_url(live.mlflow_url), "the MLflow UI")
        dashboard = re.search(r"dashboard +(http://\S+)", output())[1]
        wait(lambda: NAME in read_url(dashboard), "the dashboard")
        for step, version in enumerate((2, 1, 2), start=1):
            # what a person does in the MLflow UI, and nothing else
            client(settings).set_registered_model_alias(NAME, "champion", str(version))
            wait(
                lambda step=step, version=version: (
                    (actual := read_actual(settings, NAME)).state == "ready"
                    and (actual.generation, actual.model_version) == (first + step, version)
                ),
                f"version {version} to be served as generation {first + step}",
            )
        wait(
            lambda: any(
                row.state == "scored" and row.nonce > before for row in read_journal(journal_path(settings, NAME))
            ),
            "a new submission to be scored",
        )
        assert alias_version(settings, NAME, "champion") == 2
        started = time.monotonic()
        # a person in a hurry presses it twice
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
        assert time.monotonic() - started < PROMPT
        assert processes_of(home) == []
    rows = read_journal(journal_path(settings, NAME))
    assert len({(row.nonce, row.address) for row in rows}) == len(rows)


@pytest.mark.parametrize("after", [1.0, 6.0])
def test_ctrl_c_while_starting_leaves_nothing(after, tmp_path, pytestconfig):
    home = tmp_path / "home"
    with running(home, pytestconfig.rootpath, "demo") as (process, output):
        time.sleep(after)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=10)
        assert time.monotonic() - started < PROMPT
        assert code in INTERRUPTED, output()
        assert "Traceback" not in output()
        assert processes_of(home) == []


def test_a_killed_up_is_cleaned_up_by_the_next_start(tmp_path, pytestconfig):
    home = tmp_path / "home"
    with running(home, pytestconfig.rootpath, "demo") as (process, _):
        wait(lambda: len(processes_of(home)) >= 3, "some processes", 30)
        process.kill()
        process.wait()
        orphans = processes_of(home)
        assert orphans
        with running(home, pytestconfig.rootpath, "demo") as (second, output):
            wait(lambda: not any(lives(orphan) for orphan in orphans), "the orphans to end", 20)
            wait(lambda: "localnet" in output(), "the second start to come up", 30)
            second.send_signal(signal.SIGINT)
            assert second.wait(timeout=10) in INTERRUPTED


def test_a_second_start_in_the_same_home_is_refused(tmp_path, pytestconfig):
    home = tmp_path / "home"
    with running(home, pytestconfig.rootpath, "demo") as (process, _):
        wait(lambda: (home / "data" / ".running").exists() and processes_of(home), "the first start", 30)
        second = subprocess.run(
            command(home, "demo"), cwd=pytestconfig.rootpath, capture_output=True, text=True, timeout=30
        )
        assert second.returncode == 1
        assert "is running already" in second.stderr
        assert second.stderr.count("\n") == 1
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
