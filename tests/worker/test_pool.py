"""The processes that predict: bundles that raise, hang, crash or answer nonsense cost an attempt and nothing else."""

import asyncio
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from crucible.errors import Withheld
from crucible.settings import Settings
from crucible.worker import pool as pool_module
from crucible.worker.deployment import Deployment
from crucible.worker.pool import ModelPool
from crucible.worker.reasons import Reason

pytestmark = pytest.mark.processes
PYTHON = sys.executable

# the very process, with a model that does on command what models do in bad dreams
PROGRAM = """
import os, sys, time
from crucible.worker import model_process
from crucible.worker.predictor import Prediction
from crucible.worker.sanity import require_sane_return
from datetime import datetime, UTC

class Dream(model_process.ModelProcess):
    def _load(self, request):
        return {"cadence": 300.0, "target": "price", "loss": "sqe", "fallback": ["champion"], "distance": 25.0,
                "trained": ""}
    def _predict(self, request):
        act = request["digest"]
        if act == "hang": time.sleep(60)
        if act == "freeze": sum(range(10**12))
        if act == "crash": os._exit(11)
        if act == "raise": raise ZeroDivisionError("x")
        if act == "nan": require_sane_return(float("nan"))
        if act == "print": print("a library that talks to stdout")
        if act == "slow": time.sleep(0.4)
        return {"value": 1.0, "time": "t", "close": 1.0, "scale": float(os.getpid())}

model_process.ModelProcess = Dream
model_process.main()
"""


def deployment(recipe: str, act: str) -> Deployment:
    return Deployment(recipe, 1, act, "/nowhere", 1, 77, "w", "now")


@pytest.fixture
def dreams(tmp_path, monkeypatch):
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\nexec {PYTHON} -c '{PROGRAM.replace(chr(39), chr(34))}'\n")
    script.chmod(0o755)
    monkeypatch.setattr(pool_module.sys, "executable", str(script))
    return Settings.load({"CRUCIBLE_HOME": str(tmp_path)})


def run(settings, scene):
    async def act():
        pool = ModelPool(settings)
        try:
            for recipe, what in (("good", "fine"), ("bad", "hang"), ("bad", "crash"), ("bad", "raise")):
                await pool.load(deployment(recipe, what))
            await scene(pool)
        finally:
            await pool.close()

    asyncio.run(act())


async def fails(pool, act, seconds=20.0, recipe="bad"):
    with pytest.raises(Withheld) as caught:
        await pool.predict(recipe, act, "champion", seconds)
    return Reason(caught.value.reason), str(caught.value)


def test_what_raises_or_is_no_number_costs_an_attempt_and_not_the_process(dreams):
    async def scene(pool):
        first = (await pool.predict("good", "fine", "champion", 20)).scale
        assert await fails(pool, "raise") == (Reason.MODEL_FAILED, "The prediction failed with ZeroDivisionError: x")
        assert (await fails(pool, "nan"))[0] is Reason.MODEL_ABSURD
        assert (await pool.predict("good", "print", "champion", 20)).value == 1.0
        assert (await pool.predict("good", "fine", "champion", 20)).scale == first
        assert pool.restarts == 0

    run(dreams, scene)


@pytest.mark.parametrize("act", ["hang", "freeze"])
def test_what_hangs_is_replaced_and_from_then_on_alone(dreams, monkeypatch, act):
    monkeypatch.setattr(pool_module, "_PATIENCE", 1.0)
    monkeypatch.setattr(pool_module, "_SIGN_OF_LIFE", 1.5)

    async def scene(pool):
        first = (await pool.predict("good", "fine", "champion", 20)).scale
        started = time.monotonic()
        reason, words = await fails(pool, act, 0.5)
        assert time.monotonic() - started < 2
        assert (reason, "0.5 s" in words) == (Reason.MODEL_HUNG, True)
        if act == "hang":  # its neighbours notice nothing for now
            assert (await pool.predict("good", "fine", "champion", 20)).scale == first
        while not pool.restarts:
            await asyncio.sleep(0.05)
        second = (await pool.predict("good", "fine", "champion", 20)).scale
        assert second != first
        # it hangs once more, in a process of its own, and nobody else notices
        assert (await pool.predict("bad", "fine", "champion", 20)).scale != second
        assert (await fails(pool, act, 0.5))[0] is Reason.MODEL_HUNG
        while pool.restarts < 2:
            await asyncio.sleep(0.05)
        assert (await pool.predict("good", "fine", "champion", 20)).scale == second

    run(dreams, scene)


def test_on_a_machine_that_is_too_slow_answers_are_late_and_nothing_is_started(dreams):
    async def scene(pool):
        for place in range(6):
            await pool.load(deployment(f"slow{place}", "slow"))
        for place in (*range(6), *range(6)):
            assert (await fails(pool, "slow", 0.02, f"slow{place}"))[0] is Reason.MODEL_HUNG
        assert (pool.restarts, len(pool.pids)) == (0, 1)
        for place in range(6):
            assert (await pool.predict(f"slow{place}", "slow", "champion", 20)).value == 1.0
        assert (pool.restarts, len(pool.pids)) == (0, 1)

    run(dreams, scene)


def test_processes_of_one_s_own_are_few(dreams, monkeypatch):
    monkeypatch.setattr(pool_module, "_PATIENCE", 0.2)

    async def scene(pool):
        names = [f"bad{place}" for place in range(pool_module._MOST_OWN + 2)]
        for name in names:
            await pool.load(deployment(name, "hang"))
            before = pool.restarts
            assert (await fails(pool, "hang", 0.1, name))[0] is Reason.MODEL_HUNG
            while pool.restarts == before:
                await asyncio.sleep(0.05)
            assert (await pool.predict("good", "fine", "champion", 20)).value == 1.0
        assert len(pool._own) == pool_module._MOST_OWN

    run(dreams, scene)


def test_what_crashes_is_found_out_among_its_neighbours(dreams):
    async def scene(pool):
        slow = asyncio.create_task(pool.predict("good", "slow", "champion", 20))
        await asyncio.sleep(0.1)
        assert (await fails(pool, "crash"))[0] is Reason.MODEL_CRASHED
        with pytest.raises(Withheld):  # it was in the same process, and costs an attempt
            await slow
        kept = (await pool.predict("good", "fine", "champion", 20)).scale  # a suspect no longer
        assert (await fails(pool, "crash"))[0] is Reason.MODEL_CRASHED  # alone: it was this one
        assert (await pool.predict("good", "fine", "champion", 20)).scale != kept
        kept = (await pool.predict("good", "fine", "champion", 20)).scale
        await fails(pool, "crash")
        assert (await pool.predict("good", "fine", "champion", 20)).scale == kept

    run(dreams, scene)


def test_a_process_that_cannot_start_says_so(dreams, tmp_path):
    async def scene():
        pool = ModelPool(dreams)
        (tmp_path / "python").write_text("#!/bin/sh\nexit 3\n")
        with pytest.raises(Withheld, match="ended with code 3"):
            await pool.load(deployment("good", "fine"))
        with pytest.raises(Withheld):
            await pool.predict("good", "fine", "champion", 0.2)
        await pool.close()

    asyncio.run(scene())


def test_the_process_ends_with_its_parent(dreams, tmp_path):
    program = (
        "import asyncio, sys\nfrom crucible.settings import Settings\nfrom crucible.worker.pool import ModelPool\n"
        "from crucible.worker import pool\n"
        f"pool.sys.executable = {str(tmp_path / 'python')!r}\n"
        "from crucible.worker.deployment import Deployment\n"
        "async def go():\n"
        "    p = ModelPool(Settings.load({'CRUCIBLE_HOME': sys.argv[1]}))\n"
        "    await p.load(Deployment('good', 1, 'fine', '/nowhere', 1, 77, 'w', 'now'))\n"
        "    print(p.pids[0], flush=True)\n    await asyncio.sleep(60)\n"
        "asyncio.run(go())\n"
    )
    parent = subprocess.Popen([PYTHON, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    child.wait(timeout=5)


def test_a_bundle_is_verified_at_every_load(world):
    bundle = world.bundle("zero")
    made = Deployment(world.recipe.name, 1, bundle.digest, str(bundle.path), 1, 77, "w", "now")

    async def scene():
        pool = ModelPool(world.settings)
        try:
            loaded = await pool.load(made)
            assert (loaded.target, loaded.cadence, loaded.fallback) == ("price", 300.0, ("champion", "previous"))
            for rung in ("champion", "zero", "drift", "linear"):
                found = await pool.predict(made.recipe, made.bundle, rung, 20)
                assert found.value == pytest.approx(found.close, rel=0.05)
                assert 0 < found.scale < 0.1
            with pytest.raises(Withheld, match="answers topic 77, not topic 5"):
                await pool.load(replace(made, topic_id=5))
            model = next(file for file in bundle.path.iterdir() if file.name != "manifest.json")
            model.write_text("{}")
            with pytest.raises(Withheld, match="was altered"):
                await pool.load(made)
        finally:
            await pool.close()

    asyncio.run(scene())
