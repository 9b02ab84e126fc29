"""A node whose faults come and go at random, whole workers that live with it, and an account of every window.

A window *has had a chance* when, between the block that opened it and the one that closed it, there were ``clear``
seconds on end in which no fault hit its topic. Seconds are those of a clock that stands still while either process gets
no turn, so that a busy machine makes a storm longer and not worse.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chain_world import key, payload, report
from payload_witness import Witness

from crucible.chain.keystore import Keystore
from crucible.localnet.client import submit
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.fault_table import FAULTS
from crucible.localnet.topic import TopicSpec
from crucible.settings import Settings
from crucible.worker.deployment import Deployment, write_desired
from crucible.worker.journal import Row, read_journal
from crucible.worker.journal_file import wallet_journal

FUNDS = 10**24
BEAT = 0.02
_EPOCH = datetime(2026, 1, 5, tzinfo=UTC)
RIVAL, REPUTER = key("storm rival"), key("storm reputer")
FIRST_TOPIC = 101
HARMLESS = ("faucet-429", "clock-ahead", "clock-behind", "loss-changed")  # these do not touch a submission
REACHED = ("included", "left_out", "scored", "unscored")


@dataclass(frozen=True)
class Weather:
    """How a storm is: lengths in blocks, and real seconds.

    ``clear`` is how long a window has to be undisturbed to count; ``short`` and ``long`` are the lengths of faults, of
    which one in five is long; ``calm`` those of the pauses between them.
    """

    topics: int
    wallets: int
    block: float
    epoch: int
    window: int
    clear: float
    short: tuple[float, float]
    long: tuple[float, float]
    calm: tuple[float, float]

    def specs(self) -> list[TopicSpec]:
        return [
            TopicSpec(
                id=FIRST_TOPIC + place, metadata="storm", loss_method="sqe", asset="BTC", target="price",
                symbol="",
                interval_seconds=300, horizon_seconds=1, cadence_seconds=0, epoch_length=self.epoch,
                ground_truth_lag=self.epoch, worker_window=self.window, allow_negative=True,
            )
            for place in range(self.topics)
        ]  # fmt: skip


class Patient:
    """A clock that stands still while the node's process or that of the workers does.

    Everything in a storm is measured by it, so that what a busy machine takes from both is no worker's fault: a window
    of seven seconds gives the workers' loop seven seconds' worth of turns, however long that takes.

    Parameters
    ----------
    longest : float
        How much real time, in seconds, may count between two looks of the node's loop.
    beats : int
        A file descriptor from which a byte can be read for every ``BEAT`` seconds in which the workers' loop turned.
    """

    def __init__(self, longest: float, beats: int) -> None:
        self._longest, self._beats = longest, beats
        self._real, self._begun, self._saved = time.monotonic(), False, 0.0
        self._lock = threading.Lock()
        self.seconds = 0.0

    def now(self) -> datetime:
        with self._lock:
            real = time.monotonic()
            step, self._real = min(real - self._real, self._longest), real
            try:
                beats = len(os.read(self._beats, 65536))
            except BlockingIOError:
                beats = 0
            self._begun = self._begun or beats > 0
            self._saved = min(self._saved + beats * BEAT, self._longest)
            if self._begun:
                step = min(step, self._saved)
                self._saved -= step
            self.seconds += step
        return _EPOCH + timedelta(seconds=self.seconds)

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(min(duration.total_seconds(), self._longest / 2))


@dataclass(frozen=True)
class Hit:
    """A fault that was on from ``start`` to ``end``, seconds of the clock; ``topic`` ``None`` for all."""

    name: str
    topic: int | None
    start: float
    end: float


@dataclass
class Storm:
    """Use as a context manager; then :meth:`rage`, :meth:`settle`, and look at the account."""

    weather: Weather
    home: Path
    seed: int = 1
    hits: list[Hit] = field(default_factory=list)
    opened: dict[tuple[int, int], float] = field(default_factory=dict)
    closed: dict[tuple[int, int], float] = field(default_factory=dict)
    begun: float = 0.0
    ended: float = 0.0

    def __enter__(self) -> Storm:
        weather = self.weather
        self._beats, beats = os.pipe()
        for end in (self._beats, beats):
            os.set_blocking(end, False)
        self.clock = Patient(weather.block / 2, self._beats)
        self.node = EmbeddedLocalnet(weather.specs(), block_seconds=weather.block, clock=self.clock)
        self.core = self.node.core
        for place, topic in enumerate(self.core.topics.values()):  # one after the other, as on the chain
            topic.epoch_last_ended = place * weather.epoch // weather.topics
        for each in (RIVAL, REPUTER):
            self.core.fund(each.address, FUNDS)
        self.core.listeners.append(self._note)
        self.witness = Witness(self.core)
        self._played: set[tuple[str, int, int]] = set()
        self.node.node.after_block.append(self._play)
        self.node.__enter__()
        self.settings = Settings.load(
            {
                "CRUCIBLE_HOME": str(self.home), "CRUCIBLE_GRPC_URL": self.node.grpc_url,
                "CRUCIBLE_WEBSOCKET_URL": self.node.websocket_url, "CRUCIBLE_FAUCET_URL": self.node.faucet_url,
            }
        )  # fmt: skip
        self.addresses = {}
        keystore = Keystore(self.settings.keystore)
        for name in (f"w{number}" for number in range(weather.wallets)):
            self.addresses[name] = keystore.create(name).address
            self.node.fund(self.addresses[name], FUNDS)
            for topic in self.core.topics:
                deployment = Deployment(
                    recipe=f"t{topic}_{name}", generation=1, bundle="b" * 64, bundle_path=str(self.home),
                    model_version=1, topic_id=topic, wallet=name, written_at="now",
                    epoch_seconds=weather.epoch * weather.block,
                )  # fmt: skip
                write_desired(self.settings, deployment)
        self._log = (self.home / "workers.log").open("wb")
        self.workers = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("storm_wallets.py"))], stdin=subprocess.PIPE, text=True,
            env={**os.environ, **self.settings.environment()}, stdout=self._log, stderr=subprocess.STDOUT,
            pass_fds=[beats],
        )  # fmt: skip
        os.close(beats)
        world = {"wallets": list(self.addresses), "beats": beats, "beat": BEAT}
        self.workers.stdin.write(json.dumps(world) + "\n")
        self.workers.stdin.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self.workers.kill()
        self.workers.wait()
        self.workers.stdin.close()
        self._log.close()
        self.node.__exit__(None, None, None)
        os.close(self._beats)

    def begin(self, seconds: float) -> None:
        """Wait until every worker is registered in every topic and has submitted once."""
        wanted = {(address, topic) for address in self.addresses.values() for topic in self.core.topics}
        self.wait(lambda: wanted <= {(worker, topic) for worker, topic, _ in self.witness.done}, seconds)
        self.begun = self.clock.seconds

    def rage(self, windows: int, seconds: float) -> None:
        """Let faults come and go until so many windows have opened, times wallets, or so many seconds are over."""
        generator, until = random.Random(self.seed), time.monotonic() + seconds
        goal = len(self.opened) + windows // self.weather.wallets
        while len(self.opened) < goal and time.monotonic() < until:
            assert self.workers.poll() is None, "the workers' process has ended"
            self._strike(generator)
            self._pass(generator.uniform(*self.weather.calm))
        self.core.faults.clear()
        self.ended = self.clock.seconds

    def settle(self) -> None:
        """Let an undisturbed epoch pass, in which what went unseen is found out, and end the workers."""
        until = self.core.height + self.weather.epoch + self.weather.epoch // 4
        self.wait(lambda: self.core.height >= until, 60 + 10 * self.weather.epoch * self.weather.block)
        self.workers.send_signal(signal.SIGTERM)
        self.workers.wait(timeout=30)

    def wait(self, condition, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain"
            assert self.workers.poll() is None, "the workers' process has ended"
            time.sleep(0.05)

    def account(self) -> Account:
        """Return what became of every window that opened in the storm, for each worker; all were registered by then."""
        rows = {
            (row.address, row.topic_id, row.nonce): row
            for name in self.addresses
            for row in read_journal(wallet_journal(self.settings, name))
        }
        owed = [
            (address, topic, nonce)
            for (topic, nonce), at in sorted(self.opened.items())
            for address in self.addresses.values()
            if self.begun <= at < self.ended
        ]
        return Account(self, rows, owed)

    def _strike(self, generator: random.Random) -> None:
        names = generator.sample(sorted(FAULTS), 2 if generator.random() < 0.15 else 1)
        lasts = generator.uniform(*(self.weather.long if generator.random() < 0.2 else self.weather.short))
        chosen = []
        for name in names:
            kind = FAULTS[name]
            topic = generator.choice(sorted(self.core.topics)) if kind.by_topic and generator.random() < 0.3 else None
            count = generator.randint(1, 20) if kind.by_count and generator.random() < 0.3 else None
            value = {"included-late": generator.randint(2, 10), "node-behind": generator.randint(2, 8),
                     "fee-spike": generator.uniform(2, 20)}.get(name)  # fmt: skip
            chosen.append((name, topic))
            self.core.faults.arm(name, count=count, topic=topic, value=value)
        start = self.clock.seconds
        self._pass(lasts)
        for name, topic in chosen:
            self.core.faults.clear(name)
            self.hits.append(Hit(name, topic, start, self.clock.seconds))

    def _pass(self, seconds: float) -> None:
        until, patience = self.clock.seconds + seconds, time.monotonic() + 60 + 60 * seconds
        while self.clock.seconds < until and self.workers.poll() is None:
            assert time.monotonic() < patience, "the workers' process, or the node, stands still"
            time.sleep(BEAT)

    def _note(self, height: int, events: list[dict]) -> None:
        now = self.clock.seconds
        for event in events:
            for suffix, times in (("Opened", self.opened), ("Closed", self.closed)):
                if event["type"] == f"emissions.v10.EventWorkerSubmissionWindow{suffix}":
                    found = {item["key"]: item["value"] for item in event["attributes"]}
                    place = int(json.loads(found["topic_id"])), int(json.loads(found["nonce_block_height"]))
                    times.setdefault(place, now)

    def _play(self) -> None:
        """A rival answers every window, so that no epoch is empty, and a reputer every epoch, so that it is scored."""
        for number, topic in list(self.core.topics.items()):
            if ("join", number, 0) not in self._played:
                self._played.add(("join", number, 0))
                from allora_sdk.rpc_client.protos.emissions import v10 as e

                for each, reputes in ((RIVAL, False), (REPUTER, True)):
                    request = e.RegisterRequest(
                        sender=each.address, topic_id=number, owner=each.address, is_reputer=reputes
                    )
                    assert submit(self.core, each, request) == ""
                stake = e.AddStakeRequest(sender=REPUTER.address, topic_id=number, amount="1000000")
                assert submit(self.core, REPUTER, stake) == ""
            for nonce in topic.worker_nonces():
                if topic.worker_window_open(nonce, self.core.height + 1) and self._first("rival", number, nonce):
                    submit(self.core, RIVAL, payload(RIVAL, nonce, "100.5", topic=number))
            for nonce in topic.reputer_nonces():
                if topic.reputer_window_open(nonce, self.core.height + 1) and self._first("reputer", number, nonce):
                    losses = dict.fromkeys(topic.nonces[nonce].network, -1.0)
                    submit(self.core, REPUTER, report(REPUTER, nonce, losses, topic=number))

    def _first(self, role: str, topic: int, nonce: int) -> bool:
        new = (role, topic, nonce) not in self._played
        self._played.add((role, topic, nonce))
        return new


@dataclass
class Account:
    """What became of every window that was owed an answer, by (address, topic, nonce)."""

    storm: Storm
    rows: dict[tuple[str, int, int], Row]
    owed: list[tuple[str, int, int]]

    def __post_init__(self) -> None:
        self._chances: dict[tuple[int, int], bool] = {}

    def untold(self) -> list[tuple[str, int, int]]:
        """Windows that no journal knows."""
        return [owed for owed in self.owed if owed not in self.rows]

    def unexplained(self) -> list[Row]:
        """Ends without a reason, and rows that came to no end although their window is over."""
        rows = [self.rows[owed] for owed in self.owed if owed in self.rows]
        return [row for row in rows if row.state not in REACHED and not (row.state in _LOST and row.reason_code)]

    def chance(self, topic: int, nonce: int) -> bool:
        """Whether the window was undisturbed for long enough at a stretch."""
        if (topic, nonce) not in self._chances:
            storm = self.storm
            start = storm.opened[topic, nonce]
            end = storm.closed.get((topic, nonce), start)
            hits = [hit for hit in storm.hits if hit.topic in (None, topic) and hit.name not in HARMLESS]
            free = _longest(start, end, [(hit.start, hit.end) for hit in hits])
            self._chances[topic, nonce] = free >= storm.weather.clear
        return self._chances[topic, nonce]

    def share(self) -> tuple[int, int]:
        """Return how many windows with a chance were answered, and how many there were."""
        chances = [owed for owed in self.owed if self.chance(*owed[1:])]
        return sum(self._reached(owed) for owed in chances), len(chances)

    def lost(self) -> list[str]:
        """Windows with a chance that were not answered, with state, reason and faults."""
        found = []
        for owed in self.owed:
            if self.chance(*owed[1:]) and not self._reached(owed):
                row = self.rows.get(owed)
                words = f"{row.state} {row.reason_code}: {row.reason}" if row else "untold"
                found.append(f"{owed}: {words} | {', '.join(self._faults(*owed[1:]))}")
        return found

    def report(self) -> dict:
        """Return the figures."""
        reached = [owed for owed in self.owed if self._reached(owed)]
        reasons = Counter(
            f"{self.rows[owed].state}: {self.rows[owed].reason_code}" if owed in self.rows else "untold"
            for owed in self.owed
            if not self._reached(owed)
        )
        by_fault = {}
        for owed in self.owed:
            for name in self._faults(*owed[1:]) or ["none"]:
                hit, answered = by_fault.get(name, (0, 0))
                by_fault[name] = hit + 1, answered + self._reached(owed)
        return {
            "windows": len(self.owed),
            "answered": len(reached),
            "with_a_chance": dict(zip(("answered", "of"), self.share(), strict=True)),
            "not_answered_by_reason": dict(reasons.most_common()),
            "answered_by_fault": {name: f"{done} of {all_}" for name, (all_, done) in sorted(by_fault.items())},
            "faults": len(self.storm.hits),
            "seconds": round(self.storm.ended - self.storm.begun),
            "in_blocks": {f"{code} {log}": count for (code, log), count in self.storm.witness.codes.most_common()},
        }

    def _reached(self, owed: tuple[str, int, int]) -> bool:
        return owed in self.rows and self.rows[owed].state in REACHED

    def _faults(self, topic: int, nonce: int) -> list[str]:
        start = self.storm.opened[topic, nonce]
        end = self.storm.closed.get((topic, nonce), start)
        hits = self.storm.hits
        return sorted({hit.name for hit in hits if hit.topic in (None, topic) and hit.start < end and hit.end > start})


_LOST = ("missed", "rejected")


def _longest(start: float, end: float, bad: list[tuple[float, float]]) -> float:
    free, at = 0.0, start
    for begins, ends in sorted(span for span in bad if span[0] < end and span[1] > start):
        free, at = max(free, begins - at), max(at, ends)
    return max(free, end - at)
