"""The loop, with a real receiver, a real journal and (once) as the process that `crucible up` starts."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta

import psutil
import pytest
from alert_receiver import Receiver
from conftest_monitor import ADDRESS, FIVE, NOW

from crucible.clock import SystemClock
from crucible.monitor import watch as watch_module
from crucible.monitor.alert_rules import RULES
from crucible.monitor.contract import CHECKED
from crucible.monitor.send import Sender
from crucible.monitor.store import monitor_store
from crucible.monitor.watch import Watch
from crucible.worker.deployment import Actual, Deployment, journal_path, write_actual, write_desired


@pytest.fixture
def receiver():
    with Receiver() as found:
        yield found


@pytest.fixture
def served(home, recipe, stored, make_bundle, deploy, submit):
    """A deployment whose worker lives (this process) and has submitted lately, in a home without a node."""
    bundle = make_bundle()
    deploy(bundle)
    submit(bundle, [NOW - FIVE, NOW], [100.0, 100.0])
    report(home, recipe)
    return home, bundle


def report(home, recipe, **changes):
    process = psutil.Process(os.getpid())
    actual = Actual(
        recipe=recipe.name, pid=process.pid, started=process.create_time(), state="ready", bundle="b", generation=1,
        model_version=1, refused_generation=0, address=ADDRESS, last_nonce=1012,
        beat=SystemClock().now().timestamp(), message="serving",
    )  # fmt: skip
    write_actual(home, replace(actual, **changes))


def once(watch):
    return asyncio.run(watch.once())


def test_a_missed_epoch_is_told_at_the_next_look_and_its_end_too(served, recipe, receiver, submit):
    home, bundle = served
    watch = Watch(home, Sender([receiver.alert_url], receiver.ping_url))
    assert once(watch) == []
    assert receiver.pings == 1  # all is well
    submit(bundle, [NOW], [0.0], first=1024, state="missed")
    assert [message.key for message in once(watch)] == ["missed_epoch:btc_usd_5min"]
    assert once(watch) == []
    # a restart of the watch tells nothing twice
    assert once(Watch(home, Sender([receiver.alert_url], receiver.ping_url))) == []
    assert receiver.pings == 1  # the dead-man's switch is silent while something critical holds
    submit(bundle, [NOW], [100.0], first=1036)
    assert [message.kind for message in once(watch)] == ["recovery"]
    assert receiver.titles == [
        "[crucible] Missed epoch: btc_usd_5min", "[crucible] Over: Missed epoch: btc_usd_5min",
    ]  # fmt: skip
    assert "the exchange did not answer" in receiver.posts[0]["message"]


class Later:
    """Real time that moves on by a minute with every question."""

    def __init__(self):
        self.time = SystemClock().now()

    def now(self):
        self.time += timedelta(minutes=1)
        return self.time


@pytest.mark.parametrize(("file", "words"), [(None, "There is no recipe"), ("name = 3", "btc_usd_5min.toml")])
def test_a_deployed_recipe_that_cannot_be_read_is_told(served, recipe, receiver, tmp_path, file, words):
    home, _ = served
    (tmp_path / "spoilt").mkdir()
    if file is not None:
        (tmp_path / "spoilt" / "btc_usd_5min.toml").write_text(file)
    watch = Watch(replace(home, recipes=tmp_path / "spoilt"), Sender([receiver.alert_url]), Later())
    assert once(watch) == []  # an editor may be writing it at this moment
    [message] = once(watch)
    assert message.key == "unwatched:btc_usd_5min"
    assert words in message.body


def test_a_damaged_journal_keeps_no_other_recipe_from_being_watched(
    served, recipe, receiver, recipe_text, tmp_path, node
):
    home, bundle = served
    (tmp_path / "recipes" / "second.toml").write_text(recipe_text.replace('name = "btc_usd_5min"', 'name = "second"'))
    write_desired(
        home,
        Deployment(
            recipe="second", generation=1, bundle=bundle.digest, bundle_path=str(bundle.path), model_version=1,
            topic_id=77, wallet="other", written_at=NOW.isoformat(),
        ),
    )  # fmt: skip
    journal = journal_path(home, recipe.name)
    journal.unlink()
    journal.write_bytes(b"no database" * 100)
    home = replace(home, grpc_url=node.grpc_url)
    watch = Watch(home, Sender([receiver.alert_url]), Later())
    told = [*once(watch), *once(watch)]
    assert {message.key for message in told} == {"unwatched:btc_usd_5min", "dead_worker:second"}
    assert "cannot be read" in next(message.body for message in told if message.key.startswith("unwatched"))
    assert {event.recipe for event in monitor_store(home).events(CHECKED)} == {"second"}


def test_what_nobody_took_is_sent_again(served, receiver, submit):
    home, bundle = served
    watch = Watch(home, Sender([receiver.alert_url]))
    once(watch)
    submit(bundle, [NOW], [0.0], first=1024, state="missed")
    receiver.status = 503
    assert once(watch) == []
    receiver.status = 200
    assert len(once(watch)) == 1
    submit(bundle, [NOW], [100.0], first=1036)
    receiver.status = 503
    assert once(watch) == []
    receiver.status = 200
    assert [message.kind for message in once(watch)] == ["recovery"]
    assert len(receiver.posts) == 2


def test_a_dead_worker_is_told_within_two_minutes():
    """By construction: ten seconds of silence, half a minute of patience, two looks, a slow destination."""
    rule = next(rule for rule in RULES if rule.name == "dead_worker")
    slowest = timedelta(seconds=10) + rule.after + 2 * timedelta(seconds=watch_module.LOOK_SECONDS)
    assert slowest + timedelta(seconds=15) < timedelta(minutes=2)


def test_a_promotion_is_told_once_and_what_was_deployed_before_the_watch_is_not(
    served, recipe, receiver, make_bundle, deploy
):
    home, _ = served
    watch = Watch(home, Sender([receiver.alert_url]))
    assert once(watch) == []
    deploy(make_bundle("ridge"), generation=2, version=2, at=home.clock.now())
    assert [message.title for message in once(watch)] == ["Promoted: btc_usd_5min"]
    assert once(watch) == []


def test_the_process_tells_of_a_dead_worker_and_ends_when_it_is_told_to(
    served, recipe, receiver, tmp_path, pytestconfig
):
    home, _ = served
    report(home, recipe, pid=2**22 + 1, state="ready", message="serving")
    environ = {
        **os.environ, **home.environment(), "CRUCIBLE_ALERT_URLS": receiver.alert_url,
    }  # fmt: skip
    ready = tmp_path / "ready.json"
    # patience and looks are shortened here, and here alone
    script = (
        "import sys; from dataclasses import replace; from datetime import timedelta;"
        "from crucible.monitor import alert_rules, watch;"
        "rules = tuple(replace(rule, after=timedelta(0)) for rule in alert_rules.RULES);"
        "watch.evaluate.__defaults__ = (rules,); watch.LOOK_SECONDS = 0.2;"
        "from crucible.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "monitor", "run", "--ready-file", str(ready)], env=environ,
        cwd=pytestconfig.rootpath, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not receiver.posts and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        assert ready.exists()
        assert receiver.titles == ["[crucible] Dead worker: btc_usd_5min"]
    finally:
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=15)[1]
    assert process.returncode == 0, errors
    assert "s3cret" not in errors
    assert "Traceback" not in errors
