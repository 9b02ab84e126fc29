"""A worker's life against a real node and a real exchange, with the faults that lose windows elsewhere."""

import json
import os
import random
import signal
import time
from dataclasses import replace

import psutil
import pytest
from click.testing import CliRunner
from worker_world import stop

from crucible.errors import ProcessError
from crucible.worker.deployment import wait_served

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
        assert (status["state"], status["generation"]) == ("ready", "4 of 5")

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


def _fleet():
    from crucible.cli.fleet import fleet

    return fleet


def test_a_refusal_and_a_lost_answer_cost_neither_the_window_nor_a_second_payload(world):
    world.deploy(1, world.bundle("zero"))
    worker = world.start("worker", "run", world.recipe.name)
    faults = world.node.core.faults
    try:
        world.wait(lambda: len(world.rows("included", "scored")) >= 1, "a first submission")
        faults.lose_responses = 2
        world.wait(lambda: faults.lose_responses == 0, "the answers to be lost")
        lost_at = max(row.nonce for row in world.rows())
        faults.refuse = ("sdk", 32, "account sequence mismatch, expected 0, got 1: incorrect account sequence")
        world.wait(lambda: faults.refuse is None, "a refusal")
        done = len(world.rows("included", "scored"))
        world.wait(lambda: len(world.rows("included", "scored")) >= done + 2, "two more submissions")
    finally:
        stop(worker)
    address = world.actual().address
    settled = [row for row in world.rows() if row.nonce <= lost_at]
    assert {row.state for row in settled} <= {"included", "scored"}, settled
    _one_payload_per_nonce(world, address)


def _one_payload_per_nonce(world, address):
    held = world.accepted(address)
    for row in world.rows("included", "scored"):
        assert float(held[row.nonce]) == pytest.approx(row.value)
    duplicates = [result for result in world.node.core.results.values() if "already submitted" in result.log]
    assert duplicates == []


def test_a_worker_killed_at_any_moment_never_submits_twice(world):
    world.deploy(1, world.bundle("zero"))
    fleet = world.start("fleet", "run")
    generator = random.Random(4)
    try:
        world.wait(lambda: world.rows("included", "scored"), "a first submission")
        for _ in range(40 if os.environ.get("CRUCIBLE_PROVE") else 4):
            time.sleep(generator.uniform(0.0, 3.0))
            victim = world.wait(lambda: (a := world.actual()).alive and a.state == "ready" and a, "a living worker")
            psutil.Process(victim.pid).send_signal(signal.SIGKILL)
            world.wait(lambda pid=victim.pid: (a := world.actual()).pid != pid and a.state == "ready", "its successor")
        done = len(world.rows("included", "scored"))
        world.wait(lambda: len(world.rows("included", "scored")) > done, "life to go on")
    finally:
        stop(fleet)
    _one_payload_per_nonce(world, world.actual().address)
    assert all(row.reason for row in world.rows("missed", "rejected"))


def test_a_halted_chain_makes_no_second_payload_and_an_honest_journal(world):
    world.deploy(1, world.bundle("zero"))
    worker = world.start("worker", "run", world.recipe.name)
    core = world.node.core
    try:
        world.wait(lambda: world.rows("included", "scored"), "a first submission")
        core.faults.inclusion_delay = 1000  # accepted by the mempool, and never in a block
        world.wait(lambda: world.rows("missed"), "a missed window")
        core.faults.inclusion_delay = 0
        done = len(world.rows("included", "scored"))
        world.wait(lambda: len(world.rows("included", "scored")) > done, "life to go on")
    finally:
        stop(worker)
    missed = world.rows("missed")[0]
    assert missed.reason == "not in a block before the window ended"
    address = world.actual().address
    assert missed.nonce not in world.accepted(address)
    _one_payload_per_nonce(world, address)


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


def test_the_journal_command_shows_what_became_of_each_nonce(world):
    world.deploy(1, world.bundle("zero"))
    worker = world.start("worker", "run", world.recipe.name)
    try:
        world.wait(lambda: world.rows("scored"), "a score")
    finally:
        output = stop(worker)
    result = CliRunner(env=world.settings.environment()).invoke(_fleet(), ["journal", world.recipe.name, "--json"])
    rows = json.loads(result.output)
    assert rows[0]["state"] == "scored"
    assert rows[0]["tx_hash"]
    # no secret in what the worker logged
    words = (world.settings.keystore / ".passphrase").read_text().strip()
    assert words not in output
    assert worker.returncode == 0
