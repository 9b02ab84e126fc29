"""The journal: what was done about each nonce, durable before anything leaves.

One SQLite file per wallet, WAL, ``synchronous=FULL``: a step that was recorded survives a crash of the process or the
machine. The states and what may follow what::

    seen ─► features ─► predicted ─► signed ─► broadcast ─► included ─► scored
      │         │           │           │          │           ├─► left_out(reason) ─► scored
      │         │           │           │          │           └─► unscored(reason)
      └─────────┴───────────┴───────────┴──────────┴─► missed(reason) | rejected(reason)

A ``broadcast`` that the chain let go (forgotten and overtaken, or out of gas) may be ``signed`` once more.
Rules: a nonce has one value for ever once it is signed; only the same payload is ever sent again; every terminal state
but ``scored`` carries a reason and its code, see :mod:`crucible.worker.reasons`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from crucible.clock import Clock
from crucible.errors import StoreError

Value = float | int | str | bytes | None
"""What a column may hold."""

_ENDS = frozenset({"missed", "rejected"})

FOLLOWS: dict[str, frozenset[str]] = {
    # included without a signature of ours: the chain holds a value for this nonce that an earlier journal sent
    "seen": frozenset({"features", "predicted", "included"}) | _ENDS,
    "features": frozenset({"features", "predicted", "included"}) | _ENDS,
    "predicted": frozenset({"predicted", "signed", "included"}) | _ENDS,
    # signed again only after the chain refused the first signature (sequence, fee, gas): the payload stays
    "signed": frozenset({"signed", "broadcast", "included"}) | _ENDS,
    "broadcast": frozenset({"signed", "included"}) | _ENDS,
    "included": frozenset({"left_out", "scored", "unscored"}),
    "left_out": frozenset({"scored"}),
    "scored": frozenset(),
    "unscored": frozenset(),
    "missed": frozenset(),
    "rejected": frozenset(),
}
"""Which state may follow which."""

TERMINAL = frozenset({"left_out", "scored", "unscored", "missed", "rejected"})
"""States in which nothing more is to be done; a score may still come for what was left out."""

UNSENT = frozenset({"seen", "features", "predicted"})
"""States in which nothing of a nonce can have left this machine."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS submission (
    chain_id TEXT NOT NULL, topic_id INTEGER NOT NULL, role TEXT NOT NULL, address TEXT NOT NULL,
    nonce INTEGER NOT NULL, state TEXT NOT NULL, window_end INTEGER NOT NULL, value REAL, payload TEXT,
    predicted_for TEXT, recipe TEXT, bundle TEXT, model_version INTEGER, rung TEXT, tx_hash TEXT, tx_content BLOB,
    sequence INTEGER, fee INTEGER, height INTEGER, code INTEGER, score REAL, reason_code TEXT, reason TEXT,
    seen_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    PRIMARY KEY (chain_id, topic_id, role, address, nonce)
) STRICT;
CREATE TABLE IF NOT EXISTS step (
    nonce INTEGER NOT NULL, topic_id INTEGER NOT NULL, role TEXT NOT NULL, address TEXT NOT NULL, state TEXT NOT NULL,
    at TEXT NOT NULL, note TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS signature (
    chain_id TEXT NOT NULL, topic_id INTEGER NOT NULL, role TEXT NOT NULL, address TEXT NOT NULL,
    nonce INTEGER NOT NULL, tx_hash TEXT NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY (chain_id, topic_id, role, address, nonce, tx_hash)
) STRICT;
CREATE INDEX IF NOT EXISTS submission_state ON submission (address, state);
CREATE INDEX IF NOT EXISTS submission_nonce ON submission (nonce);
CREATE INDEX IF NOT EXISTS step_nonce ON step (nonce);
"""
_KEY = "(chain_id, topic_id, role, address) = (?, ?, ?, ?)"


@dataclass(frozen=True)
class Row:
    """One submission.

    Attributes
    ----------
    value : float or None
        An inferer's value, in the topic's units.
    payload : str or None
        What a forecaster or reputer submits, as JSON.
    predicted_for : str or None
        The prediction time t, ISO, UTC.
    rung : str or None
        Which rung of the fallback ladder gave the value; ``champion`` if none was needed.
    fee : int or None
        What the newest signature offers, uallo.
    reason_code, reason : str or None
        Why it ended as it did; see :mod:`crucible.worker.reasons`.
    seen_at, updated_at : str
        The clock's time, ISO, UTC.
    """

    chain_id: str
    topic_id: int
    role: str
    address: str
    nonce: int
    state: str
    window_end: int
    value: float | None
    payload: str | None
    predicted_for: str | None
    recipe: str | None
    bundle: str | None
    model_version: int | None
    rung: str | None
    tx_hash: str | None
    tx_content: bytes | None
    sequence: int | None
    fee: int | None
    height: int | None
    code: int | None
    score: float | None
    reason_code: str | None
    reason: str | None
    seen_at: str
    updated_at: str


_COLUMNS = ", ".join(field.name for field in fields(Row))


class Journal:
    """One chain, topic, role and address in a wallet's journal. Use as a context manager.

    Several of these share a wallet's file, in one process or in several.

    Parameters
    ----------
    path : pathlib.Path
        The file; made if it is not there.
    clock : Clock
        Whose time is recorded.
    chain_id, topic_id, address, role
        The key.
    recipe : str
        By which recipe; noted with each nonce.

    Raises
    ------
    StoreError
        From any method, if the disk refuses; nothing must then be sent.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        chain_id: str,
        topic_id: int,
        address: str,
        role: str = "inferer",
        recipe: str = "",
    ) -> None:
        self._path = path
        self._clock = clock
        self._recipe = recipe
        self._key = (chain_id, topic_id, role, address)

    def __enter__(self) -> Self:
        self._connection = open_journal(self._path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def row(self, nonce: int) -> Row | None:
        """Return what is recorded of ``nonce``."""
        found = self._rows(f"WHERE {_KEY} AND nonce = ?", (*self._key, nonce))
        return found[0] if found else None

    def unfinished(self) -> list[Row]:
        """Return every submission that is not in a terminal state, oldest first."""
        states = sorted(FOLLOWS.keys() - TERMINAL)
        marks = ", ".join("?" * len(states))
        # asked every second, of a journal of years: by the primary key SQLite would look at all of the topic's rows
        where = f"INDEXED BY submission_state WHERE {_KEY} AND state IN ({marks}) ORDER BY nonce"
        return self._rows(where, (*self._key, *states))

    def left_out(self, since: int) -> list[Row]:
        """Return what was left out of the active set, from nonce ``since`` on: a score may still come."""
        return self._rows(f"WHERE {_KEY} AND state = 'left_out' AND nonce >= ? ORDER BY nonce", (*self._key, since))

    def newest(self) -> int:
        """Return the newest nonce that is recorded, or 0."""
        query = f"SELECT max(nonce) FROM submission WHERE {_KEY}"
        return self._connection.execute(query, self._key).fetchone()[0] or 0

    def nonces(self, since: int = 0) -> list[int]:
        """Return every nonce that is recorded, from ``since`` on, ascending."""
        query = f"SELECT nonce FROM submission WHERE {_KEY} AND nonce >= ? ORDER BY nonce"
        return [nonce for (nonce,) in self._connection.execute(query, (*self._key, since)).fetchall()]

    def under_way(self) -> list[Row]:
        """Return what this wallet has signed and no block holds so far, of every topic and role, by sequence."""
        chain_id, _, _, address = self._key
        where = "WHERE chain_id = ? AND address = ? AND state IN ('signed', 'broadcast') ORDER BY sequence"
        return self._rows(where, (chain_id, address))

    def hashes(self, nonce: int) -> list[str]:
        """Return the hash of every transaction that was ever signed for ``nonce``, the newest first."""
        query = f"SELECT tx_hash FROM signature WHERE {_KEY} AND nonce = ? ORDER BY rowid DESC"
        return [tx_hash for (tx_hash,) in self._connection.execute(query, (*self._key, nonce)).fetchall()]

    def seen(self, nonce: int, window_end: int) -> Row:
        """Record that a window is open; a nonce that is known already stays as it is."""
        if (known := self.row(nonce)) is not None:
            return known
        with self._transaction() as write:
            now = self._now()
            inserted = write.execute(
                "INSERT OR IGNORE INTO submission "
                "(chain_id, topic_id, role, address, nonce, state, window_end, recipe, seen_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?, 'seen', ?, ?, ?, ?)",
                (*self._key, nonce, window_end, self._recipe, now, now),
            )
            if inserted.rowcount:
                self._note(write, nonce, "seen", now, f"window ends with block {window_end}")
        row = self.row(nonce)
        assert row is not None
        return row

    def move(self, nonce: int, state: str, **changes: Value) -> Row:
        """Record the next state of ``nonce`` with what is known by now, and return the row.

        Raises
        ------
        StoreError
            Also if that state may not follow the present one, or a signed value would change.
        """
        return self._advance(nonce, (state,), changes)

    def predicted(self, nonce: int, **changes: Value) -> Row:
        """Record that the features of ``nonce`` are there, and what was predicted from them; see :meth:`move`."""
        row = self.row(nonce)
        states = ("features", "predicted") if row and row.state == "seen" else ("predicted",)
        return self._advance(nonce, states, changes)

    def _advance(self, nonce: int, states: tuple[str, ...], changes: Mapping[str, Value]) -> Row:
        with self._transaction() as write:
            before = self.row(nonce)
            at = before.state if before else "nothing"
            for step in states:
                if before is None or step not in FOLLOWS[at]:
                    raise StoreError(f"Nonce {nonce} cannot go from {at} to {step}.")
                at = step
            assert before is not None
            for name in ("value", "payload"):
                if before.tx_hash and name in changes and changes[name] != getattr(before, name):
                    raise StoreError(f"Nonce {nonce} has a signed payload; its value cannot change.")
            now = self._now()
            columns = {**changes, "state": at, "updated_at": now}
            assignments = ", ".join(f"{name} = ?" for name in columns)
            write.execute(
                f"UPDATE submission SET {assignments} WHERE {_KEY} AND nonce = ?",
                (*columns.values(), *self._key, nonce),
            )
            if at == "signed" and "tx_hash" in changes:
                write.execute(
                    "INSERT OR IGNORE INTO signature VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*self._key, nonce, changes["tx_hash"], changes.get("sequence") or 0),
                )
            for step in states[:-1]:
                self._note(write, nonce, step, now, "")
            self._note(write, nonce, at, now, str(changes.get("reason") or changes.get("tx_hash") or ""))
        row = self.row(nonce)
        assert row is not None
        return row

    def _rows(self, where: str, values: tuple[object, ...]) -> list[Row]:
        try:
            found = self._connection.execute(f"SELECT {_COLUMNS} FROM submission {where}", values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"The journal {self._path} cannot be read: {error}.") from error
        return [Row(*item) for item in found]

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
        _, topic_id, role, address = self._key
        write.execute(
            "INSERT INTO step VALUES (?, ?, ?, ?, ?, ?, ?)", (nonce, topic_id, role, address, state, at, note)
        )

    def _now(self) -> str:
        return self._clock.now().isoformat()


def open_journal(path: Path) -> sqlite3.Connection:
    """Open a journal for writing, and make it if it is not there.

    Raises
    ------
    StoreError
        If the disk refuses, or the file is no journal.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -256")  # kB, of 2 MB: a wallet has a connection for each of its topics
        connection.executescript(_SCHEMA)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"The journal {path} cannot be opened: {error}.") from error
    return connection


def read_journal(path: Path, *, newest: int | None = None) -> list[Row]:
    """Return the submissions in a journal, oldest first, while its worker may be writing; none if there is no file.

    ``<recipe>.db`` is a link to the journal of the recipe's wallet: through it only that recipe's are seen.

    Parameters
    ----------
    path : pathlib.Path
        The file, or the link.
    newest : int, optional
        Only so many, the newest.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    where, values = _seen_through(path)
    query = f"SELECT {_COLUMNS} FROM submission {where} ORDER BY nonce DESC LIMIT ?"
    return [Row(*found) for found in reversed(_read(path, query, (*values, -1 if newest is None else newest)))]


def read_newest(path: Path, count: int, *, chain_id: str, topic_id: int, role: str) -> list[Row]:
    """Return the newest ``count`` submissions of one topic in one role, oldest first; else as :func:`read_journal`.

    Whoever looks every few seconds must not read what was written in a year: the primary key leads to them.
    """
    where, values = _seen_through(path)
    topic = "(chain_id, topic_id, role) = (?, ?, ?)"
    also = f"AND {where.removeprefix('WHERE ')}" if where else ""
    found: list[Row] = []
    next_address = f"SELECT min(address) FROM submission WHERE {topic} AND address > ?"
    newest = f"SELECT {_COLUMNS} FROM submission WHERE {topic} AND address = ? {also} ORDER BY nonce DESC LIMIT ?"
    key: tuple[Any, ...] = (chain_id, topic_id, role)
    address = ""
    while (asked := _read(path, next_address, (*key, address))) and asked[0][0] is not None:
        address = asked[0][0]
        found += [Row(*row) for row in _read(path, newest, (*key, address, *values, count))]
    return sorted(found, key=lambda row: row.nonce)[-count:]


def _seen_through(path: Path) -> tuple[str, tuple[str, ...]]:
    return ("WHERE recipe = ?", (path.stem,)) if path.is_symlink() else ("", ())


def _read(path: Path, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
    if not path.exists():
        return []
    try:
        connection = sqlite3.connect(f"file:{path.resolve()}?mode=ro", uri=True, timeout=5.0)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return []  # the worker has created the file and not yet the table
        raise StoreError(f"The journal {path} cannot be read: {error}.") from error
