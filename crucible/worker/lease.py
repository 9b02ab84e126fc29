"""Who may sign for a wallet in a topic: one process of one host at a time, however the clocks disagree.

A lease is a row with a holder, a fencing ``generation`` that rises with every acquisition, and a ``beat`` that rises
with every renewal. No host ever compares its clock with another's:

- the holder counts from the moment **before** it sent the renewal, and signs for three quarters of the lease's length;
- another host takes over once it has **watched** the same generation and beat for the whole length, counted from the
  moment after it first read them; its statement succeeds only if they still are what it watched.

So the offset between two clocks does not matter at all, and their rates may differ by a quarter of the lease's length
(a clock in order drifts by less than a thousandth of that). What remains of the quarter covers the time between the
question :meth:`LeaseKeeper.may_sign` and the moment the signature leaves.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from crucible.clock import SystemClock
from crucible.errors import StoreError
from crucible.worker.fleet_database import FleetDatabase
from crucible.worker.host import elapsed

_LOG = logging.getLogger(__name__)
SAFE_SHARE = 0.75
"""The share of a lease's length during which its holder signs."""
_RENEWALS = 6  # per length: five may fail before the lease is lost
_SHORTEST, _LONGEST = 2.0, 60.0
_SHARE_OF_EPOCH = 1 / 3


def lease_seconds(epoch: float, *, shared: bool = True) -> float:
    """Return the length of a lease in real seconds for a topic whose epoch lasts ``epoch`` real seconds.

    A third of the epoch, so that a standby (lease, start, first window) is there within two; at least 2 s, since a
    busy machine stalls for a second at times; at most 60 s.

    Parameters
    ----------
    shared : bool
        Whether the database may be another host's too. If not, nobody waits for the end of a lease, and it is as long
        as can be: a machine that stalls for seconds loses none.
    """
    if not shared:
        return _LONGEST
    return min(max(epoch * _SHARE_OF_EPOCH, _SHORTEST), _LONGEST)


@dataclass(frozen=True)
class Lease:
    """One row: ``holder`` is ``<host>/<process>`` or empty, ``renewed_at`` its own Unix time, for people only."""

    wallet: str
    topic_id: int
    holder: str
    generation: int
    beat: int
    seconds: float
    renewed_at: float

    @property
    def host(self) -> str:
        """The holder's host."""
        return self.holder.partition("/")[0]

    @property
    def key(self) -> tuple[str, int]:
        """Wallet and topic."""
        return self.wallet, self.topic_id


class LeaseWatch:
    """What this host has seen of all leases of a chain, and for how long.

    Parameters
    ----------
    database : FleetDatabase
        Where the leases are.
    chain_id : str
        The chain that is signed for.
    clock : callable
        Seconds; see :func:`crucible.worker.host.elapsed`.
    """

    def __init__(self, database: FleetDatabase, chain_id: str, *, clock: Callable[[], float] = elapsed) -> None:
        self._database = database
        self._chain_id = chain_id
        self._clock = clock
        self._seen: dict[tuple[str, int], tuple[Lease, float]] = {}

    def look(self) -> None:
        """Read all leases.

        Raises
        ------
        StoreError
            If the database cannot be asked.
        """
        rows = self._database.query(
            "SELECT wallet, topic_id, holder, generation, beat, seconds, renewed_at FROM lease WHERE chain_id = ?",
            self._chain_id,
        )
        now = self._clock()  # after the answer: the row is at least as old as that
        seen = {}
        for lease in (Lease(*row) for row in rows):
            before = self._seen.get(lease.key)
            same = before and (before[0].generation, before[0].beat) == (lease.generation, lease.beat)
            seen[lease.key] = (lease, before[1] if before and same else now)
        self._seen = seen

    def lease(self, wallet: str, topic_id: int) -> Lease | None:
        """Return the lease as it was last seen."""
        found = self._seen.get((wallet, topic_id))
        return found[0] if found else None

    def leases(self) -> list[Lease]:
        """Return all leases as they were last seen."""
        return [lease for lease, _ in self._seen.values()]

    def free_for(self, holder: str, wallet: str, topic_id: int) -> bool:
        """Whether ``holder`` may try to take the lease: nobody's, its own, or silent for its whole length."""
        found = self._seen.get((wallet, topic_id))
        if found is None:
            return True
        lease, since = found
        return lease.holder in ("", holder) or self._clock() - since >= lease.seconds


class LeaseKeeper:
    """Takes and renews the leases that one process asks for, in a thread of its own.

    Two keepers with the same ``holder`` take the lease from one another at once, without waiting: only processes that
    a lock on this host keeps apart may share one.

    Parameters
    ----------
    database, chain_id, clock
        As for :class:`LeaseWatch`.
    holder : str
        ``<host>/<process>``.
    wall : callable
        Unix time: a second guard besides ``clock``, for a machine that was suspended unnoticed; and what people see.
    watch : LeaseWatch, optional
        One that has been looking for a while already; by default a new one.
    """

    def __init__(
        self, database: FleetDatabase, chain_id: str, holder: str, *,
        clock: Callable[[], float] = elapsed, wall: Callable[[], float] = lambda: SystemClock().now().timestamp(),
        watch: LeaseWatch | None = None,
    ) -> None:  # fmt: skip
        self._database = database
        self._chain_id = chain_id
        self.holder = holder
        self._clock = clock
        self._wall = wall
        self._watch = watch or LeaseWatch(database, chain_id, clock=clock)
        self._turn = threading.Lock()  # held while the database is asked
        self._lock = threading.Lock()  # held for a moment
        self._wanted: dict[tuple[str, int], float] = {}
        self._generation: dict[tuple[str, int], int] = {}
        self._until: dict[tuple[str, int], tuple[float, float]] = {}
        self._told = ""
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10.0)
        self.release()

    def want(self, wallet: str, topic_id: int, seconds: float) -> None:
        """Take this lease as soon as it is free, and keep it; ``seconds`` is its length, see :func:`lease_seconds`."""
        with self._lock:
            self._wanted[wallet, topic_id] = seconds
        self._wake.set()

    def may_sign(self, wallet: str, topic_id: int) -> bool:
        """Whether the lease is held with its safety margin left; neither asks the database nor blocks."""
        until = self._until.get((wallet, topic_id))
        return until is not None and self._clock() < until[0] and self._wall() < until[1]

    def generation(self, wallet: str, topic_id: int) -> int:
        """Return the fencing number of the lease that was held last; 0 before the first."""
        return self._generation.get((wallet, topic_id), 0)

    def tick(self) -> None:
        """Renew what is held and try to take what is wanted, once.

        Raises
        ------
        StoreError
            If the database cannot be asked; what is held then ends by itself.
        """
        with self._turn:
            wanted = self._snapshot()
            missing = [
                key for key, seconds in wanted.items() if key not in self._until or not self._renew(key, seconds)
            ]
            if missing:
                self._watch.look()
            for key in missing:
                if self._watch.free_for(self.holder, *key):
                    self._take(key, wanted[key])

    def renew(self) -> bool:
        """Renew what is held and take nothing; whether anything is held still.

        Raises
        ------
        StoreError
            If the database cannot be asked.
        """
        with self._turn:
            for key, seconds in self._snapshot().items():
                if key in self._until:
                    self._renew(key, seconds)
            return bool(self._until)

    def release(self, keys: Iterable[tuple[str, int]] | None = None) -> None:
        """Give up ``keys`` (by default all), so that another host need not wait; nothing is signed after this."""
        with self._turn:
            for key in list(self._snapshot() if keys is None else keys):
                with self._lock:
                    self._wanted.pop(key, None)
                if self._until.pop(key, None) is None:
                    continue
                try:
                    self._database.change(
                        "UPDATE lease SET holder = '', renewed_at = ? "
                        "WHERE chain_id = ? AND wallet = ? AND topic_id = ? AND holder = ? AND generation = ?",
                        self._wall(), self._chain_id, *key, self.holder, self._generation[key],
                    )  # fmt: skip
                except StoreError as error:
                    _LOG.warning("the lease of %s in topic %d ends by itself: %s", *key, error)

    def _snapshot(self) -> dict[tuple[str, int], float]:
        with self._lock:
            return dict(self._wanted)

    def _renew(self, key: tuple[str, int], seconds: float) -> bool:
        now, wall = self._clock(), self._wall()
        done = self._database.change(
            "UPDATE lease SET beat = beat + 1, seconds = ?, renewed_at = ? "
            "WHERE chain_id = ? AND wallet = ? AND topic_id = ? AND holder = ? AND generation = ?",
            seconds, wall, self._chain_id, *key, self.holder, self._generation[key],
        )  # fmt: skip
        if not done:
            _LOG.info("%s no longer holds the lease of %s in topic %d under generation %d", self.holder, *key,
                      self._generation[key])  # fmt: skip
            self._until.pop(key, None)
            return False
        self._until[key] = now + SAFE_SHARE * seconds, wall + SAFE_SHARE * seconds
        return True

    def _take(self, key: tuple[str, int], seconds: float) -> None:
        seen = self._watch.lease(*key)
        now, wall = self._clock(), self._wall()
        rows = self._database.query(
            "INSERT INTO lease (chain_id, wallet, topic_id, holder, generation, beat, seconds, renewed_at) "
            "VALUES (?, ?, ?, ?, 1, 0, ?, ?) ON CONFLICT (chain_id, wallet, topic_id) DO UPDATE SET "
            "holder = excluded.holder, generation = lease.generation + 1, beat = 0, seconds = excluded.seconds, "
            "renewed_at = excluded.renewed_at WHERE lease.holder = '' OR lease.holder = excluded.holder "
            "OR (lease.generation = ? AND lease.beat = ?) RETURNING generation",
            self._chain_id, *key, self.holder, seconds, wall,
            seen.generation if seen else -1, seen.beat if seen else -1,
        )  # fmt: skip
        if rows:
            self._generation[key] = int(rows[0][0])
            self._until[key] = now + SAFE_SHARE * seconds, wall + SAFE_SHARE * seconds
            before = f", last held by {seen.holder}" if seen and seen.holder not in ("", self.holder) else ""
            _LOG.info("holds the lease of %s in topic %d, generation %d%s", *key, self._generation[key], before)

    def _run(self) -> None:
        try:
            while True:
                self._wake.clear()  # before the question, or a stop between the two would be slept through
                if self._stopping:
                    return
                try:
                    self.tick()
                    self._told = ""
                except StoreError as error:
                    if not self._told:
                        _LOG.error("leases are not renewed: %s", error)
                    self._told = str(error)
                except Exception:  # noqa: BLE001 -- a thread that ended over it would let every lease go
                    _LOG.exception("leases are not renewed")
                wanted = self._snapshot()
                pause = min(wanted.values(), default=_LONGEST) / _RENEWALS
                # what is not held is looked at every second: whoever held it may have given it up
                self._wake.wait(pause if all(self.may_sign(*key) for key in wanted) else min(pause, 1.0))
        finally:
            self._database.close()
