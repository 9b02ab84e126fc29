"""The journal: what was done about each nonce, durable before anything leaves.

One SQLite file per worker, WAL, ``synchronous=FULL``: a step that was recorded survives a crash of the process or the
machine. The states and what may follow what::

    seen ─► predicted ─► signed ─► broadcast ─► included ─► scored
      │         │           │          │           └─► unscored(reason)
      └─────────┴───────────┴──────────┴─► missed(reason) | rejected(reason)

A ``broadcast`` that the chain let go (forgotten and overtaken, or out of gas) may be ``signed`` once more.
Rules: a nonce has one value for ever once it is signed; only the same payload is ever sent again; every terminal state
carries a reason.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from crucible.clock import Clock
from crucible.errors import StoreError

FOLLOWS: dict[str, frozenset[str]] = {
    "seen": frozenset({"predicted", "missed", "rejected"}),
    # included without a signature of ours: the chain holds a value for this nonce that an earlier journal sent
    "predicted": frozenset({"predicted", "signed", "included", "missed", "rejected"}),
    # signed again only after the chain refused the first signature (sequence, fee, gas): the payload stays
    "signed": frozenset({"signed", "broadcast", "included", "missed", "rejected"}),
    "broadcast": frozenset({"signed", "included", "missed", "rejected"}),
    "included": frozenset({"scored", "unscored"}),
    "scored": frozenset(),
    "unscored": frozenset(),
    "missed": frozenset(),
    "rejected": frozenset(),
}
"""Which state may follow which."""

TERMINAL = frozenset(state for state, following in FOLLOWS.items() if not following)
"""States after which nothing happens any more."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS submission (
    chain_id TEXT NOT NULL, topic_id INTEGER NOT NULL, role TEXT NOT NULL, address TEXT NOT NULL,
    nonce INTEGER NOT NULL, state TEXT NOT NULL, window_end INTEGER NOT NULL, value REAL, predicted_for TEXT,
    bundle TEXT, model_version INTEGER, tx_hash TEXT, tx_content BLOB, sequence INTEGER, height INTEGER,
    code INTEGER, score REAL, reason TEXT,
    seen_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    PRIMARY KEY (chain_id, topic_id, role, address, nonce)
) STRICT;
CREATE TABLE IF NOT EXISTS step (
    nonce INTEGER NOT NULL, topic_id INTEGER NOT NULL, address TEXT NOT NULL, state TEXT NOT NULL, at TEXT NOT NULL,
    note TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True)
class Row:
    """One submission.

    ``value`` is what was sent, in the topic's units; ``predicted_for`` the prediction time t, ISO, UTC; times are the
    clock's.
    """

    chain_id: str
    topic_id: int
    role: str
    address: str
    nonce: int
    state: str
    window_end: int
    value: float | None
    predicted_for: str | None
    bundle: str | None
    model_version: int | None
    tx_hash: str | None
    tx_content: bytes | None
    sequence: int | None
    height: int | None
    code: int | None
    score: float | None
    reason: str | None
    seen_at: str
    updated_at: str


@dataclass(frozen=True)
class Step:
    """One state that a nonce took; ``at`` is the clock's time, ISO, UTC."""

    nonce: int
    state: str
    at: str
    note: str


_COLUMNS = ", ".join(field.name for field in fields(Row))


class Journal:
    """The journal of one worker: one chain, topic, role and address. Use as a context manager.

    Raises
    ------
    StoreError
        From any method, if the disk refuses; nothing must then be sent.
    """

    def __init__(self, path: Path, clock: Clock, *, chain_id: str, topic_id: int, address: str) -> None:
        self._path = path
        self._clock = clock
        self._key = (chain_id, topic_id, "inferer", address)

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, isolation_level=None, timeout=5.0)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"The journal {self._path} cannot be opened: {error}.") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def row(self, nonce: int) -> Row | None:
        """Return what is recorded of ``nonce``."""
        found = self._connection.execute(
            f"SELECT {_COLUMNS} FROM submission WHERE (chain_id, topic_id, role, address) = (?, ?, ?, ?) AND nonce = ?",
            (*self._key, nonce),
        ).fetchone()
        return Row(*found) if found else None

    def unfinished(self) -> list[Row]:
        """Return every submission that is not in a terminal state, oldest first."""
        marks = ", ".join("?" * len(TERMINAL))
        found = self._connection.execute(
            f"SELECT {_COLUMNS} FROM submission WHERE (chain_id, topic_id, role, address) = (?, ?, ?, ?) "
            f"AND state NOT IN ({marks}) ORDER BY nonce",
            (*self._key, *sorted(TERMINAL)),
        ).fetchall()
        return [Row(*item) for item in found]

    def seen(self, nonce: int, window_end: int) -> Row:
        """Record that a window is open; a nonce that is known already stays as it is."""
        with self._transaction() as write:
            now = self._now()
            inserted = write.execute(
                "INSERT OR IGNORE INTO submission "
                "(chain_id, topic_id, role, address, nonce, state, window_end, seen_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?, 'seen', ?, ?, ?)",
                (*self._key, nonce, window_end, now, now),
            )
            if inserted.rowcount:
                self._note(write, nonce, "seen", now, f"window ends with block {window_end}")
        row = self.row(nonce)
        assert row is not None
        return row

    def move(self, nonce: int, state: str, **changes: float | int | str | bytes | None) -> Row:
        """Record the next state of ``nonce`` with what is known by now, and return the row.

        Raises
        ------
        StoreError
            Also if that state may not follow the present one, or a signed value would change.
        """
        with self._transaction() as write:
            before = self.row(nonce)
            if before is None or state not in FOLLOWS[before.state]:
                raise StoreError(f"Nonce {nonce} cannot go from {before.state if before else 'nothing'} to {state}.")
            if before.tx_hash and "value" in changes and changes["value"] != before.value:
                raise StoreError(f"Nonce {nonce} has a signed payload; its value cannot change.")
            now = self._now()
            columns = {**changes, "state": state, "updated_at": now}
            assignments = ", ".join(f"{name} = ?" for name in columns)
            write.execute(
                f"UPDATE submission SET {assignments} "
                "WHERE (chain_id, topic_id, role, address) = (?, ?, ?, ?) AND nonce = ?",
                (*columns.values(), *self._key, nonce),
            )
            self._note(write, nonce, state, now, str(changes.get("reason") or changes.get("tx_hash") or ""))
        row = self.row(nonce)
        assert row is not None
        return row

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(
                f"The journal {self._path} refuses: {error}; nothing is sent before it is well again."
            ) from error

    def _note(self, write: sqlite3.Connection, nonce: int, state: str, at: str, note: str) -> None:
        write.execute(
            "INSERT INTO step VALUES (?, ?, ?, ?, ?, ?)", (nonce, self._key[1], self._key[3], state, at, note)
        )

    def _now(self) -> str:
        return self._clock.now().isoformat()


def read_journal(path: Path) -> list[Row]:
    """Return every submission in a journal, oldest first, while its worker may be writing; none if there is no file.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    return [Row(*found) for found in _read(path, f"SELECT {_COLUMNS} FROM submission ORDER BY nonce")]


def read_steps(path: Path) -> list[Step]:
    """Return every step in a journal in the order in which it was recorded; else as :func:`read_journal`."""
    return [Step(*found) for found in _read(path, "SELECT nonce, state, at, note FROM step ORDER BY rowid")]


def _read(path: Path, query: str) -> list[Any]:
    if not path.exists():
        return []
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return []  # the worker has created the file and not yet the table
        raise StoreError(f"The journal {path} cannot be read: {error}.") from error
