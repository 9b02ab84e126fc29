"""Never two holders: whatever the clocks say, whoever is suspended, however often the database does not answer."""

import contextlib
import multiprocessing
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field

import pytest

from crucible.errors import StoreError, WalletError
from crucible.settings import Settings
from crucible.worker.deployment import Deployment, Wanted
from crucible.worker.fleet_database import FleetDatabase
from crucible.worker.host import elapsed
from crucible.worker.lease import SAFE_SHARE, LeaseKeeper, LeaseWatch, lease_seconds
from crucible.worker.supervision import Handover
from crucible.worker.wallet_pins import pin_wallet, pinned_address

PROVE = bool(os.environ.get("CRUCIBLE_PROVE"))
KEY = ("main", 77)
LENGTH = 6.0


@dataclass
class Host:
    """A host whose clock has its own offset and rate, in a world whose true time is ``truth[0]``."""

    name: str
    database: FleetDatabase
    truth: list[float]
    offset: float
    rate: float
    reachable: bool = True
    interloper: "Host | None" = None
    keeper: LeaseKeeper = field(init=False)

    def __post_init__(self):
        self.restart()

    def restart(self):
        self.keeper = LeaseKeeper(
            self, "chain", f"{self.name}/w", clock=self.now, wall=lambda: self.now() + 1e9 * self.rate
        )
        self.keeper.want(*KEY, LENGTH)

    def now(self):
        return self.offset + self.truth[0] * self.rate

    # what the keeper asks of a database, with a line that can be cut and an answer that takes a while
    def _ask(self, method, *arguments):
        if not self.reachable:
            raise StoreError("cut off")
        self.truth[0] += 0.05
        other, self.interloper = self.interloper, self.interloper if arguments[0].startswith("SELECT") else None
        if other is not None and self.interloper is None and other.reachable:
            other.keeper.tick()  # after we looked, and before we take
        answer = getattr(self.database, method)(*arguments)
        self.truth[0] += 0.05
        return answer

    def query(self, *arguments):
        return self._ask("query", *arguments)

    def change(self, *arguments):
        return self._ask("change", *arguments)


_EVENTS = ["tick"] * 5 + ["race", "race", "cut", "restart", "release"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leases")
    return lambda number: FleetDatabase(f"sqlite:///{folder}/{number}.db")


@pytest.mark.parametrize("block", range(50 if PROVE else 2))
def test_no_two_hosts_may_ever_sign_at_once(stores, block):
    database = stores(f"block{block}")
    held = [live_through(database, random.Random(seed), seed) for seed in range(block * 40, block * 40 + 40)]
    assert sum(map(bool, held)) > 30  # or nobody ever signed, which is safe and useless


def live_through(database, generator, seed, quick="PRAGMA synchronous = OFF"):
    """A random history of two hosts; hypothesis finds the long silences that matter here far less often."""
    truth = [0.0]
    database.query(quick)  # nobody pulls the plug here
    database.change("DELETE FROM lease")
    # both rates within the promised quarter of one another: 1.1 / 0.9 < 1 / 0.75
    members = [
        Host(f"h{i}", database, truth, generator.uniform(-1e6, 1e6), generator.uniform(0.9, 1.1)) for i in range(2)
    ]
    newest = held = 0
    for _ in range(40):
        who, event = generator.randrange(2), generator.choice(_EVENTS)
        host = members[who]
        if event in ("tick", "race"):
            host.interloper = members[who - 1] if event == "race" else None
            try:
                host.keeper.tick()
            except StoreError:
                assert not host.reachable
            host.interloper = None
        elif event == "cut":
            host.reachable = not host.reachable
        elif event == "restart":
            host.restart()  # killed, and started again with nothing but its name
        elif event == "release":
            host.keeper.release()
            host.keeper.want(*KEY, LENGTH)
        truth[0] += generator.choice([0.0, 0.5, 2.0, 5.0])
        holders = [member for member in members if member.keeper.may_sign(*KEY)]
        held += len(holders)
        assert len(holders) <= 1, f"seed {seed}"
        for member in holders:  # and the fencing number never goes back
            assert member.keeper.generation(*KEY) >= newest
            newest = member.keeper.generation(*KEY)
    return held


# a slow holder beside a fast watcher is what the quarter of the length is for
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.9, 1.1), (1.1, 0.9)])
def test_a_standby_takes_over_when_the_holder_falls_silent_and_at_once_when_it_lets_go(stores, rates):
    database, truth = stores(f"takeover{rates}"), [100.0]
    one, two = (Host(name, database, truth, 0.0, rate) for name, rate in zip(("one", "two"), rates, strict=True))
    one.keeper.tick()
    two.keeper.tick()
    assert one.keeper.may_sign(*KEY)
    assert not two.keeper.may_sign(*KEY)
    one.reachable = False  # cut off: it stops by itself before the other may begin
    ended = begun = None
    while begun is None:
        truth[0] += 0.5
        two.keeper.tick()
        ended = ended or (None if one.keeper.may_sign(*KEY) else truth[0])
        begun = truth[0] if two.keeper.may_sign(*KEY) else None
    assert ended is not None
    assert ended < begun <= 100 + LENGTH * 1.2 / min(rates)
    one.reachable = True
    one.keeper.tick()
    assert not one.keeper.may_sign(*KEY)
    two.keeper.release()
    assert not two.keeper.may_sign(*KEY)
    one.keeper.tick()
    assert one.keeper.may_sign(*KEY)
    assert one.keeper.generation(*KEY) == 3


def test_a_holder_counts_from_before_it_asked(stores):
    now, asked = [0.0], []

    class Slow:
        """A database that takes two seconds to hear and two to answer."""

        def __init__(self, database):
            self._database = database

        def __getattr__(self, name):
            def ask(*arguments):
                asked.append(now[0])
                now[0] += 2.0
                answer = getattr(self._database, name)(*arguments)
                now[0] += 2.0
                return answer

            return ask

    keeper = LeaseKeeper(Slow(stores("slow")), "chain", "h/w", clock=lambda: now[0], wall=lambda: now[0])
    keeper.want(*KEY, 20.0)
    for _ in range(2):  # taken, then renewed
        keeper.tick()
        now[0] = asked[-1] + 20.0 * SAFE_SHARE - 0.01
        assert keeper.may_sign(*KEY)
        now[0] += 0.02
        assert not keeper.may_sign(*KEY)
        assert keeper.generation(*KEY) == 1


def test_a_machine_that_slept_unnoticed_has_lost_its_leases(stores):
    now, wall = [0.0], [0.0]
    keeper = LeaseKeeper(stores("slept"), "chain", "h/w", clock=lambda: now[0], wall=lambda: wall[0])
    keeper.want(*KEY, LENGTH)
    keeper.tick()
    assert keeper.may_sign(*KEY)
    wall[0] += 3600  # its own counter stood still
    assert not keeper.may_sign(*KEY)


def test_leases_are_as_long_as_the_epoch_bears():
    assert [lease_seconds(epoch) for epoch in (1.0, 30.0, 300.0, 86400.0)] == [2.0, 10.0, 60.0, 60.0]
    assert lease_seconds(1.0, shared=False) == 60.0  # nobody else can be waiting


def test_a_wallet_is_the_same_key_on_every_host(stores):
    database = stores("pins")
    pin_wallet(database, "main", "allo1a")
    pin_wallet(database, "main", "allo1a")
    for name, address in (("main", "allo1b"), ("other", "allo1a")):
        with pytest.raises(WalletError, match="the fleet knows 'main' as allo1a"):
            pin_wallet(database, name, address)
    pin_wallet(database, "main", "allo1b", anew=True)
    assert pinned_address(database, "main") == "allo1b"
    assert pinned_address(database, "none") is None


def _contend(url, name, seconds, path):
    """One process of the stress test: whenever it may sign, it says so, with the moments just before and after."""
    database = FleetDatabase(url)
    with LeaseKeeper(database, "chain", name) as keeper, open(path, "w") as file:
        keeper.want(*KEY, seconds)
        while True:
            generation, before = keeper.generation(*KEY), elapsed()
            if keeper.may_sign(*KEY) and generation == keeper.generation(*KEY):
                file.write(f"{generation} {before} {elapsed()}\n")
                file.flush()
            time.sleep(0.002)


@pytest.mark.processes
def test_processes_that_are_stopped_and_killed_at_random_never_hold_one_lease_together(tmp_path):
    never_two_holders(f"sqlite:///{tmp_path}/fleet.db", tmp_path, rounds=60 if PROVE else 8)


def never_two_holders(url, folder, rounds):
    context = multiprocessing.get_context("spawn")
    generator = random.Random(3)
    length = 0.6

    def start(number):
        path = folder / f"{number}.log"
        process = context.Process(target=_contend, args=(url, f"h{number}/w", length, path), daemon=True)
        process.start()
        return path, process

    running = [start(number) for number in range(4)]
    made = 4
    try:
        await_generation(folder, 1, 60.0)
        for _ in range(rounds):
            # the holder, if it is up: the one that spoke last
            path, victim = max(running, key=lambda item: item[0].stat().st_mtime if item[0].exists() else 0)
            if generator.random() < 0.6:
                os.kill(victim.pid, signal.SIGSTOP)
                threading.Timer(generator.uniform(0.3, 1.5), _resume, (victim.pid,)).start()
            else:
                running.remove((path, victim))
                victim.kill()
                running.append(start(made))
                made += 1
            if generator.random() < 0.7:
                await_generation(folder, newest(folder) + 1, 3.0)  # in vain, if the stop was short
            else:
                time.sleep(generator.uniform(0.0, 0.5))
    finally:
        for _, process in running:
            process.kill()
    said = []
    for path in folder.glob("*.log"):
        rows = [line.split() for line in path.read_text().splitlines()[:-1]]
        said += [(int(generation), float(before), float(after)) for generation, before, after in rows]
    said.sort()
    assert len({generation for generation, _, _ in said}) >= 3, "the lease hardly ever moved"
    latest = -1.0
    by_generation = {}
    for generation, before, after in said:
        first, last = by_generation.get(generation, (after, before))
        by_generation[generation] = (min(first, after), max(last, before))
    for generation in sorted(by_generation):
        first, last = by_generation[generation]
        # a later generation was certainly held (at `first`) before an earlier one certainly no longer was (at `latest`)
        assert first > latest, f"generation {generation} began before the one before it had ended"
        latest = max(latest, last)


def newest(folder):
    """The newest generation that anybody has spoken of."""
    last = [path.read_text().rsplit("\n", 2)[-2:-1] for path in folder.glob("*.log")]
    return max((int(line[0].split()[0]) for line in last if line and line[0]), default=0)


def await_generation(folder, number, patience):
    deadline = time.monotonic() + patience
    while newest(folder) < number and time.monotonic() < deadline:
        time.sleep(0.05)


def _resume(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def test_a_fault_that_nobody_foresaw_does_not_end_the_renewals(stores, monkeypatch, caplog):
    keeper = LeaseKeeper(stores("unforeseen"), "chain", "one/w")
    tick, failed = keeper.tick, []

    def fail_once():
        if not failed:
            failed.append(True)
            raise KeyError("x")
        tick()

    monkeypatch.setattr(keeper, "tick", fail_once)
    keeper.want(*KEY, LENGTH)
    with keeper:
        deadline = time.monotonic() + 10
        while not keeper.may_sign(*KEY) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert keeper.may_sign(*KEY)
    assert "leases are not renewed" in caplog.text
    assert "KeyError" in caplog.text


def test_what_is_free_is_judged_by_what_was_seen_and_not_by_times_in_the_database(stores):
    database = stores("times")
    now = [0.0]
    watch = LeaseWatch(database, "chain", clock=lambda: now[0])
    watch.look()
    assert watch.free_for("us/w", *KEY)
    holder = LeaseKeeper(database, "chain", "them/w", clock=lambda: 0.0, wall=lambda: -1e9)  # a clock of 1938
    holder.want(*KEY, LENGTH)
    holder.tick()
    watch.look()
    assert (watch.free_for("us/w", *KEY), watch.free_for("them/w", *KEY)) == (False, True)
    now[0] = LENGTH - 0.1
    watch.look()
    assert not watch.free_for("us/w", *KEY)
    holder.tick()
    now[0] = LENGTH + 0.1
    watch.look()
    assert not watch.free_for("us/w", *KEY)
    now[0] += LENGTH
    watch.look()
    assert watch.free_for("us/w", *KEY)
    assert [(lease.host, lease.beat) for lease in watch.leases()] == [("them", 1)]


def test_all_topics_of_a_process_go_to_the_host_that_has_the_first(stores, tmp_path):
    settings = Settings.load({"CRUCIBLE_HOME": str(tmp_path)})
    database = stores("handover")
    group = [
        Wanted(Deployment(f"r{topic}", 1, "b", "p", 1, topic, "main", "now", epoch_seconds=300.0), True, 0)
        for topic in (9, 5, 7)
    ]
    one, two = (
        Handover(settings, database, f"{name}/w", LeaseWatch(database, settings.chain_id)) for name in ("one", "two")
    )
    assert one.obtain(group)
    assert not two.obtain(group)
    watch = LeaseWatch(database, settings.chain_id)
    watch.look()
    assert {(lease.topic_id, lease.host) for lease in watch.leases()} == {(5, "one"), (7, "one"), (9, "one")}
    worker = LeaseKeeper(database, settings.chain_id, "one/w")
    for topic in (5, 7, 9):
        worker.want("main", topic, 60.0)
    assert one.keep()
    worker.tick()
    assert all(worker.may_sign("main", topic) for topic in (5, 7, 9))
    assert not one.keep()  # it is the worker's now, and there is nothing left to do
    one.give_up()
    worker.tick()
    assert worker.may_sign("main", 5)
