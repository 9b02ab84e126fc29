"""The fleet against workers that die, hang, and are misconfigured; and workers that are told to stop."""

import json
import signal
import socket
import time
from dataclasses import replace

import psutil
import pytest
from click.testing import CliRunner
from worker_world import stop

from crucible.errors import ProcessError
from crucible.worker.deployment import read_served, remove_desired, wait_served, write_desired
from crucible.worker.fleet import Fleet

pytestmark = pytest.mark.processes


@pytest.fixture
def fleet(world):
    kept = Fleet(world.settings)
    yield kept
    kept.end()


def ready(world, fleet, beyond=0):
    """Reconcile until a worker other than ``beyond`` is ready, and return what it reports."""

    def look():
        fleet.reconcile()
        actual = world.actual()
        return actual if actual and actual.alive and actual.state == "ready" and actual.pid != beyond else None

    return world.wait(look, "a ready worker")


def test_a_worker_that_dies_or_hangs_is_replaced_and_nothing_else_ends_it(world, fleet, caplog):
    first = world.bundle("zero")
    world.deploy(1, first)
    one = ready(world, fleet)

    # a database that is away is told once, and the worker goes on
    database = world.settings.fleet / "fleet.db"
    away = database.rename(database.with_name("away.db"))
    database.mkdir()
    for _ in range(3):
        fleet.reconcile()
    assert len([line for line in caplog.messages if "fleet.db refuses" in line]) == 1
    time.sleep(1)
    database.rmdir()
    away.rename(database)
    fleet.reconcile()
    assert ready(world, fleet).pid == one.pid

    # the desired bundle is no good, and the worker dies: its successor serves what was served before
    bad = world.deploy(2, first, digest="f" * 64)
    with pytest.raises(ProcessError, match="refused the bundle"):
        wait_served(world.settings, bad, 20)
    psutil.Process(one.pid).kill()
    two = ready(world, fleet, one.pid)
    assert (two.generation, two.refused_generation, two.bundle) == (1, 2, first.digest)
    assert "was asked for" in two.refusal
    from crucible.cli.fleet import fleet as command

    [status] = json.loads(CliRunner(env=world.settings.environment()).invoke(command, ["status", "--json"]).output)
    assert (status["state"], status["generation"], status["wanted_generation"]) == ("ready", 1, 2)
    assert status["message"].startswith("generation 2 refused: ")
    assert status["silence"] < 10
    assert read_served(world.settings, world.recipe.name).generation == 1

    # hung: alive for the system, silent for us
    world.deploy(1, first)
    psutil.Process(two.pid).send_signal(signal.SIGSTOP)
    patience, fleet.hung_after = fleet.hung_after, 3.0
    world.wait(lambda: fleet.reconcile() or not psutil.pid_exists(two.pid), "the hung worker to be killed")
    fleet.hung_after = patience
    ready(world, fleet, two.pid)
    assert any("no heartbeat" in line for line in caplog.messages)


def test_another_wallet_is_another_process_and_no_deployment_is_none(world, fleet):
    deployment = world.deploy(1, world.bundle("zero"))
    one = ready(world, fleet)
    write_desired(world.settings, replace(deployment, generation=2, wallet="second"))
    two = ready(world, fleet, one.pid)
    assert two.address != one.address
    assert not psutil.pid_exists(one.pid)
    remove_desired(world.settings, world.recipe.name)
    fleet.reconcile()
    assert not psutil.pid_exists(two.pid)
    assert world.actual().state == "stopped"
    with pytest.raises(ProcessError, match="is a fleet running"):
        wait_served(world.settings, deployment, 0.5)


def test_a_start_that_fails_shows_in_the_status_and_is_tried_again(world):
    dead = replace(world.settings, grpc_url="grpc+http://127.0.0.1:9")
    world.deploy(1, world.bundle("zero"))
    fleet = Fleet(dead)
    try:

        def failed():
            fleet.reconcile()
            return (a := world.actual()) and a.state == "failed" and a

        first = world.wait(failed, "a failure")
        assert "127.0.0.1:9 cannot be reached" in first.message
        from crucible.cli.fleet import fleet as command

        [status] = json.loads(CliRunner(env=world.settings.environment()).invoke(command, ["status", "--json"]).output)
        assert status["state"] == "failed"
        assert "cannot be reached" in status["message"]
        # the process goes on for the wallet's other topics, and tries this one again
        world.wait(lambda: (a := world.actual()) and a.state == "starting", "another try")
        assert world.wait(failed, "another failure").pid == first.pid
    finally:
        fleet.end()


def test_a_bundle_that_never_worked_is_refused_at_once(world, fleet):
    bad = world.deploy(1, world.bundle("zero"), digest="f" * 64)
    fleet.reconcile()
    started = time.monotonic()
    with pytest.raises(ProcessError, match=r"refused the bundle: .*was asked for"):
        wait_served(world.settings, bad, 60)
    assert time.monotonic() - started < 30


def test_a_worker_in_a_hanging_prediction_stops_at_once_and_is_alone(world):
    world.deploy(1, world.bundle("zero"))
    with socket.socket() as silent:  # accepts, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        settings = replace(world.settings, exchange_url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        worker = replace(world, settings=settings).start("worker", "run", world.recipe.name)
        try:
            world.wait(lambda: world.rows("seen"), "a window")
            second = world.start("worker", "run", world.recipe.name)
            output = second.communicate(timeout=20)[0]
            assert second.returncode == 1
            assert f"Another process serves {world.recipe.name} already" in output
            assert "Traceback" not in output
            assert world.actual().pid == worker.pid
            started = time.monotonic()
        finally:
            output = stop(worker)
        assert time.monotonic() - started < 2.5
    assert worker.returncode == 0, output
    assert world.actual().state == "stopped"
    assert {row.state for row in world.rows()} <= {"seen", "missed"}


def test_a_worker_that_waits_for_its_start_stops_at_once(world):
    world.deploy(1, world.bundle("zero"))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        settings = replace(world.settings, faucet_url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        worker = replace(world, settings=settings).start("worker", "run", world.recipe.name)
        try:
            world.wait(lambda: (a := world.actual()) and a.message == "asking the faucet", "the faucet to be asked")
            started = time.monotonic()
        finally:
            output = stop(worker, signal.SIGINT)
    assert time.monotonic() - started < 2.5
    assert worker.returncode == 0, output
    assert "Traceback" not in output
