"""A worker's life against a real node and a real exchange, with the faults that lose windows elsewhere."""

import json
import os
import random
import signal
import time
from dataclasses import replace
from datetime import datetime
from statistics import median

import psutil
import pytest
from click.testing import CliRunner
from journal_steps import read_steps
from worker_world import SPEED, stop

from crucible.errors import ProcessError
from crucible.worker.deployment import journal_path, wait_served

pytestmark = pytest.mark.processes


def test_funded_registered_submitting_scored_and_swapped(world):
    zero, last = world.bundle("zero"), world.bundle("last_value")
    first = world.deploy(1, zero)
    fleet = world.start("fleet", "run")
    try:
        actual = wait_served(world.settings, first, 40)
        world.wait(lambda: world.rows("scored"), "a score")
        row = world.rows("scored")[0]
        assert (row.bundle, row.model_version, row.code) == (zero.digest, 1, 0)
        assert float(world.accepted(actual.address)[row.nonce]) == pytest.approx(row.value)
        assert _median_latency(world) < 1.0
        # a price topic gets a price: the last close, since the zero model predicts no change
        assert 1_000 < row.value < 1_000_000
        assert row.nonce < row.height <= row.window_end

        # v2, then back to v1, then v2 again: three generations, one process, no restart
        for generation, bundle in ((2, last), (3, zero), (4, last)):
            served = wait_served(world.settings, world.deploy(generation, bundle, version=generation), 20)
            assert served.pid == actual.pid
        world.wait(lambda: any(row.bundle == last.digest for row in world.rows("included", "scored")), "the new model")

        # a bundle that does not verify is refused with its reason, and the old one goes on serving
        bad = world.deploy(5, zero, digest="f" * 64)
        with pytest.raises(ProcessError, match=r"refused the bundle: .*was asked for"):
            wait_served(world.settings, bad, 20)
        kept = world.actual()
        assert (kept.state, kept.bundle, kept.generation, kept.pid) == ("ready", last.digest, 4, actual.pid)

        result = CliRunner(env=world.settings.environment()).invoke(_fleet(), ["status", "--json"])
        [status] = json.loads(result.output)
        assert (status["state"], status["generation"], status["wanted_generation"]) == ("ready", 4, 5)

        second = world.start("fleet", "run")
        output = second.communicate(timeout=20)[0]
        assert second.returncode == 1
        assert "A fleet is running" in output
        worker = psutil.Process(actual.pid)
        started = time.monotonic()
    finally:
        output = stop(fleet)
    assert fleet.returncode == 0, output
    assert time.monotonic() - started < 4
    assert not worker.is_running()
    assert world.actual().state == "stopped"
    result = CliRunner(env=world.settings.environment()).invoke(_fleet(), ["journal", world.recipe.name, "--json"])
    rows = json.loads(result.output)
    assert [item["state"] for item in rows if item["nonce"] == row.nonce] == ["scored"]
    assert all(item["tx_hash"] for item in rows if item["state"] == "scored")
    # no secret in what the worker logged
    log = (world.settings.fleet / "logs" / "test.log").read_text()
    assert f"nonce {row.nonce} scored" in log
    assert (world.settings.keystore / ".passphrase").read_text().strip() not in log + output
    _one_payload_per_nonce(world, actual.address)


def _median_latency(world):
    """Real seconds from the block that opened a window to the answered broadcast."""
    steps = read_steps(journal_path(world.settings, world.recipe.name))
    sent = {step.nonce: datetime.fromisoformat(step.at).timestamp() for step in steps if step.state == "broadcast"}
    return median((at - world.node.core.times[nonce]) / SPEED for nonce, at in sent.items())


def _fleet():
    from crucible.cli.fleet import fleet

    return fleet


def _one_payload_per_nonce(world, address):
    held = world.accepted(address)
    for row in world.rows("included", "scored"):
        assert float(held[row.nonce]) == pytest.approx(row.value)
    duplicates = [result for result in world.node.core.results.values() if "already submitted" in result.log]
    assert duplicates == []


def test_a_worker_killed_at_any_moment_never_submits_twice(world):
    world.deploy(1, world.bundle("zero"))
    generator = random.Random(4)
    for _ in range(60 if os.environ.get("CRUCIBLE_PROVE") else 6):
        # within its start, or within the two epochs after it
        worker = world.start("worker", "run", world.recipe.name)
        time.sleep(generator.uniform(0.5, 6.0))
        worker.send_signal(signal.SIGKILL)
        worker.communicate(timeout=10)
    worker = world.start("worker", "run", world.recipe.name)
    try:
        done = len(world.rows("included", "scored"))
        world.wait(lambda: len(world.rows("included", "scored")) > done, "life to go on")
    finally:
        stop(worker)
    _one_payload_per_nonce(world, world.actual().address)
    assert all(row.reason for row in world.rows("missed"))
    assert world.rows("rejected") == []


def test_a_stale_market_is_not_guessed_at(world):
    world.deploy(1, world.bundle("zero"))
    # an exchange that nobody listens at any more
    settings = replace(world.settings, exchange_url="http://127.0.0.1:9")
    stuck = replace(world, settings=settings)
    worker = stuck.start("worker", "run", world.recipe.name)
    try:
        row = world.wait(lambda: world.rows("missed"), "a missed window", 60)[0]
    finally:
        stop(worker)
    assert row.value is None
    assert "127.0.0.1:9" in row.reason
    assert world.accepted(world.actual().address) == {}


def test_a_node_that_refuses_the_connection_is_one_sentence(world):
    world.deploy(1, world.bundle("zero"))
    settings = replace(world.settings, grpc_url="grpc+http://127.0.0.1:9")
    worker = replace(world, settings=settings).start("worker", "run", world.recipe.name)
    output = worker.communicate(timeout=30)[0]
    assert worker.returncode == 1
    assert "crucible: The node at grpc+http://127.0.0.1:9 cannot be reached" in output
    assert "Traceback" not in output
    assert world.actual().state == "failed"
    assert "cannot be reached" in world.actual().message
    nothing = world.start("worker", "run", "btc_usd_8h")
    assert "Nothing is deployed for btc_usd_8h" in nothing.communicate(timeout=30)[0]
    assert nothing.returncode == 1
