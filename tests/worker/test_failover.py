"""Two hosts and one database: the standby takes over from a killed host, and a killed fleet's workers are adopted."""

import os
import shutil
import signal
import time
from dataclasses import replace

import psutil
import pytest
from secret_search import leaks
from worker_world import stop

from crucible.chain.keystore import Keystore
from crucible.worker.deployment import read_actual, read_actuals, wait_served
from crucible.worker.fleet_database import open_database
from crucible.worker.lease import LeaseWatch
from crucible.worker.lock import is_held
from crucible.worker.overview import overview

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]
SLOWER = 33.0  # an epoch of five minutes takes nine seconds, and a worker's start half of that on a busy machine
SLOW = 60.0


def kill_host(fleet, home):
    """What a power cut does: nobody is told, and nothing is given up."""
    everything = [psutil.Process(fleet.pid)]
    for process in psutil.process_iter():
        try:
            if process.environ().get("CRUCIBLE_FLEET") == str(home):
                everything.append(process)
        except psutil.Error:
            continue
    for process in everything:
        process.suspend()
    for process in everything:
        process.kill()
    fleet.communicate(timeout=10)


def steer(world, action):
    done = world.start("workers", action, world.recipe.name)
    output = done.communicate(timeout=30)[0]
    assert done.returncode == 0, output


@pytest.mark.parametrize("kind", ["sqlite", "postgres"] if os.environ.get("CRUCIBLE_PROVE") else ["sqlite"])
@pytest.mark.parametrize("world", [SLOWER], indirect=True)
def test_a_standby_takes_over_within_two_epochs_and_nothing_is_submitted_twice(world, tmp_path, kind, request):
    shared = f"sqlite:///{tmp_path}/shared.db" if kind == "sqlite" else request.getfixturevalue("postgres")
    wallet = Keystore(world.settings.keystore).create("test")
    one = replace(world, settings=replace(world.settings, fleet_database=shared))
    two = replace(world, settings=replace(one.settings, home=tmp_path / "standby"))
    shutil.copytree(one.settings.keystore, two.settings.keystore)
    bundle = one.bundle("zero")
    shutil.copytree(one.settings.bundles, two.settings.bundles)
    one.deploy(1, bundle)
    first, second = one.start("fleet", "run"), None
    try:
        one.wait(lambda: one.rows("included", "scored"), "the first host's submission")
        second = two.start("fleet", "run")
        time.sleep(3.0)
        assert [actual.host for actual in read_actuals(two.settings, two.recipe.name)] == [one.actual().host]
        # the standby has its own copy only, so that it cannot live on the other's
        shutil.rmtree(one.settings.bundles)
        seen = len(one.rows("included", "scored"))
        one.wait(lambda: len(one.rows("included", "scored")) > seen, "one more with the standby watching")
        kill_host(first, one.settings.home)
        before = max(world.accepted(wallet.address))
        two.wait(lambda: two.rows("included", "scored"), "the standby's submission", 60)
        after = min(nonce for nonce in world.accepted(wallet.address) if nonce > before)
        missed = [nonce for nonce in world.node.core.topics[77].nonces if before < nonce < after]
        assert len(missed) <= 2, missed
        watch = LeaseWatch(open_database(two.settings), two.settings.chain_id)
        watch.look()
        [lease] = watch.leases()
        assert lease.host == read_actual(two.settings, two.recipe.name).host
        assert lease.generation >= 3  # the first fleet, its worker, the standby's
        assert not any("already submitted" in result.log for result in world.node.core.results.values())
        mine = {row.nonce for row in one.rows("included", "scored")}
        theirs = {row.nonce for row in two.rows("included", "scored")}
        assert mine & theirs == set()
        assert mine | theirs == set(world.accepted(wallet.address))
    finally:
        if second is not None:
            output = stop(second)
            assert "Traceback" not in output
        if first.poll() is None:
            stop(first)


@pytest.mark.parametrize("world", [SLOW], indirect=True)
def test_a_killed_fleets_worker_goes_on_and_is_adopted_and_at_last_ended(world, caplog):
    keystore = Keystore(world.settings.keystore)
    keystore.create("test")
    world.deploy(1, world.bundle("zero"))
    fleet = world.start("fleet", "run")
    again = None
    try:
        world.wait(lambda: world.rows("included", "scored"), "a submission")
        worker = world.actual()
        adopted = worker.pid
        fleet.send_signal(signal.SIGKILL)
        fleet.communicate(timeout=10)
        done = len(world.rows("included", "scored"))
        world.wait(lambda: len(world.rows("included", "scored")) > done, "life without a fleet")
        again = world.start("fleet", "run")
        world.wait(lambda: is_held(world.settings.fleet / ".lock"), "the next fleet")
        time.sleep(1.0)
        assert world.actual().pid == worker.pid

        # and one command puts the previous bundle back: no restart, no missed epoch
        wait_served(world.settings, world.deploy(2, world.bundle("last_value"), version=2), 20)
        lost = len(world.rows("missed"))
        begun = time.monotonic()
        done = world.start("workers", "rollback", world.recipe.name)
        told = done.communicate(timeout=60)[0]
        assert time.monotonic() - begun < 60
        assert "bundle" in told
        assert "@champion stays where it is" in told  # there is no registry here, and it says so
        assert (done.returncode, world.actual().generation, world.actual().model_version) == (0, 3, 1)
        assert world.actual().pid == worker.pid
        count = len(world.rows("included", "scored"))
        world.wait(lambda: len(world.rows("included", "scored")) > count, "the next epoch")
        assert len(world.rows("missed")) == lost

        # stopped by a person: no process, still deployed; and back
        steer(world, "stop")
        world.wait(lambda: world.actual().state == "stopped", "the stop")
        assert overview(world.settings)[0].state == "stopped"
        steer(world, "start")
        world.wait(lambda: (a := world.actual()).state == "ready" and a.pid != worker.pid, "the start")
        worker = world.actual()
        os.kill(worker.pid, signal.SIGKILL)
        world.wait(lambda: (a := world.actual()) and a.pid != worker.pid and a.state == "ready" and a, "a successor")
        successor = psutil.Process(world.actual().pid)
        fleet.wait(timeout=1)
    finally:
        output = stop(again) if again else ""
    assert f"adopting the worker of test, pid {adopted}" in output
    assert not successor.is_running()
    assert world.actual().state == "stopped"
    # and no secret in the database, the journals, the logs, or what was printed; also not when a wallet does not open
    keystore.path("test").write_text(keystore.path("test").read_text().replace('"sealed": "', '"sealed": "0'))
    broken = world.start("wallet", "--help"), world.start("--debug", "wallet", "show", "test")
    printed = [process.communicate(timeout=30)[0] for process in broken]
    assert "damaged" in printed[1]
    keystore.path("test").write_text(keystore.path("test").read_text().replace('"sealed": "0', '"sealed": "'))
    assert leaks(world.settings.home, keystore, output, told, caplog.text, *printed) == []
    assert len(list(world.settings.fleet.rglob("*.log")) + list(world.settings.fleet.rglob("*.db"))) >= 3
