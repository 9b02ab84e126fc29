"""The fleet's database: SQLite in the home by default, PostgreSQL by URL. Connections, schema, and nothing else.

All statements are in the SQL that both understand, with ``?`` for a parameter. Whatever must not be torn is one
statement or one :meth:`FleetDatabase.transaction`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crucible.errors import SettingsError, StoreError
from crucible.settings import Settings

_DEPLOYMENT = """generation BIGINT NOT NULL, bundle TEXT NOT NULL, bundle_path TEXT NOT NULL,
    model_version BIGINT NOT NULL, topic_id BIGINT NOT NULL, wallet TEXT NOT NULL, written_at TEXT NOT NULL,
    role TEXT NOT NULL, epoch_seconds DOUBLE PRECISION NOT NULL"""
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # what should be: one row per recipe; `deployed` keeps every generation, which is what a roll-back goes back to
    f"CREATE TABLE IF NOT EXISTS desired (recipe TEXT PRIMARY KEY, {_DEPLOYMENT}, "
    "running INTEGER NOT NULL DEFAULT 1, restarts BIGINT NOT NULL DEFAULT 0)",
    f"CREATE TABLE IF NOT EXISTS deployed (recipe TEXT NOT NULL, {_DEPLOYMENT}, PRIMARY KEY (recipe, generation))",
    # what is: one row per host and recipe
    f"CREATE TABLE IF NOT EXISTS served (host TEXT NOT NULL, recipe TEXT NOT NULL, {_DEPLOYMENT}, "
    "PRIMARY KEY (host, recipe))",
    """CREATE TABLE IF NOT EXISTS actual (host TEXT NOT NULL, recipe TEXT NOT NULL, pid BIGINT NOT NULL,
    started DOUBLE PRECISION NOT NULL, state TEXT NOT NULL, bundle TEXT NOT NULL, generation BIGINT NOT NULL,
    model_version BIGINT NOT NULL, refused_generation BIGINT NOT NULL, address TEXT NOT NULL,
    last_nonce BIGINT NOT NULL, beat DOUBLE PRECISION NOT NULL, message TEXT NOT NULL, refusal TEXT NOT NULL,
    accepted_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (host, recipe))""",
    # who may sign: one row per chain, wallet and topic; see lease.py
    """CREATE TABLE IF NOT EXISTS lease (chain_id TEXT NOT NULL, wallet TEXT NOT NULL, topic_id BIGINT NOT NULL,
    holder TEXT NOT NULL, generation BIGINT NOT NULL, beat BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL,
    renewed_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (chain_id, wallet, topic_id))""",
    "CREATE TABLE IF NOT EXISTS wallet (name TEXT PRIMARY KEY, address TEXT NOT NULL UNIQUE)",
)
_VERSION = "1"
_SCHEMA_LOCK = 7_271_001  # PostgreSQL: two hosts that start at once must not both create the tables
_PATIENCE = 5.0
_OUTAGE_SECONDS = 5.0  # after a failed connection the next attempts fail at once: nobody waits in vain again and again


class _Held:
    """A connection that is closed with the thread that it belongs to."""

    def __init__(self, connection: Any, mark: object) -> None:
        self.connection = connection
        self.mark = mark

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the driver may be half gone at the end of the process
            self.connection.close()


class FleetDatabase:
    """One database, used from any thread; every thread has its own connection.

    Parameters
    ----------
    url : str
        ``sqlite:///path`` (four slashes for an absolute one) or ``postgresql://user:password@host:port/name``.

    Raises
    ------
    SettingsError
        If the URL is neither, or the PostgreSQL driver is not installed.
    """

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self._sqlite = scheme == "sqlite"
        if self._sqlite and rest.startswith("/") and len(rest) > 1:
            self._target = rest[1:]
            self.name = str(Path(self._target).resolve())
        elif scheme.partition("+")[0] in ("postgresql", "postgres"):
            self._target = f"postgresql://{rest}"
            parts = urlsplit(self._target)
            self.name = f"{parts.hostname or 'local'}{parts.path}"  # never the password
        else:
            raise SettingsError(
                "CRUCIBLE_FLEET_DATABASE must be sqlite:///path or postgresql://user:password@host/name, "
                f"not {scheme + '://…' if '://' in url else url!r}."
            )
        self._errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError)
        if not self._sqlite:
            self._errors = (_psycopg().Error, OSError)
        self._local = threading.local()
        self._failed_at = -_OUTAGE_SECONDS

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement by itself and return its rows; none if it yields none.

        Raises
        ------
        StoreError
            If the database refuses or cannot be reached.
        """
        with self._usable() as connection:
            return _rows(connection.execute(self._spelled(statement), values))

    def change(self, statement: str, *values: object) -> int:
        """Run one writing statement by itself and return how many rows it changed; else as :meth:`query`."""
        with self._usable() as connection:
            return int(connection.execute(self._spelled(statement), values).rowcount)

    def put(
        self, table: str, keys: tuple[str, ...], values: Mapping[str, object], *, rising: tuple[str, ...] = ()
    ) -> None:
        """Insert one row, or replace the one with the same ``keys``; a column in ``rising`` keeps the larger value."""
        sets = [
            f"{name} = CASE WHEN excluded.{name} > {table}.{name} THEN excluded.{name} ELSE {table}.{name} END"
            if name in rising
            else f"{name} = excluded.{name}"
            for name in values
            if name not in keys
        ]
        self.change(
            f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))}) "
            f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(sets)}",
            *values.values(),
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what this thread does in the block one transaction, which no other writer interleaves.

        Raises
        ------
        StoreError
            If the database refuses; nothing of the block has then happened.
        """
        with self._usable() as connection:
            connection.execute("BEGIN IMMEDIATE" if self._sqlite else "BEGIN")
            try:
                if not self._sqlite:
                    connection.execute(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
                yield
            except BaseException:
                with contextlib.suppress(*self._errors):
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def close(self) -> None:
        """Close this thread's connection."""
        held, self._local.held = getattr(self._local, "held", None), None
        if held is not None:
            with contextlib.suppress(*self._errors):
                held.connection.close()

    def _spelled(self, statement: str) -> str:
        return statement if self._sqlite else statement.replace("?", "%s")

    @contextmanager
    def _usable(self) -> Iterator[Any]:
        try:
            yield self._connection()
        except self._errors as error:
            self.close()  # a connection that failed once is not asked again
            words = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise StoreError(f"The fleet database {self.name} refuses: {words}.") from None

    def _connection(self) -> Any:
        mark = (os.getpid(), self._file())
        held = getattr(self._local, "held", None)
        if held is not None and held.mark == mark:
            return held.connection
        if time.monotonic() - self._failed_at < _OUTAGE_SECONDS:
            raise StoreError(f"The fleet database {self.name} cannot be reached at present.")
        try:
            connection = self._open_sqlite() if self._sqlite else self._open_postgres()
        except self._errors:
            if not self._sqlite:
                self._failed_at = time.monotonic()
            raise
        self._local.held = _Held(connection, (os.getpid(), self._file()))
        try:
            self._prepare(connection)
        except BaseException:
            self.close()
            raise
        return connection

    def _file(self) -> int | None:
        """The inode of the SQLite file: one that was deleted and made anew is another database."""
        if not self._sqlite:
            return 0
        try:
            return os.stat(self._target).st_ino
        except OSError:
            return None

    def _open_sqlite(self) -> sqlite3.Connection:
        Path(self._target).parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + _PATIENCE
        while True:
            connection = sqlite3.connect(self._target, isolation_level=None, timeout=_PATIENCE)
            try:
                # SQLite does not wait for another process that is switching the file to WAL at this moment
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
            except sqlite3.OperationalError as error:
                connection.close()
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            except sqlite3.Error:
                connection.close()
                raise
            else:
                return connection

    def _open_postgres(self) -> Any:
        limit = int(_PATIENCE * 1000)
        return _psycopg().connect(
            self._target, autocommit=True, connect_timeout=3, keepalives_idle=10, tcp_user_timeout=limit,
            options=f"-c statement_timeout={limit} -c lock_timeout={limit}", application_name="crucible",
        )  # fmt: skip

    def _prepare(self, connection: Any) -> None:
        with self.transaction():
            for statement in _SCHEMA:
                connection.execute(statement)
            found = _rows(connection.execute("SELECT value FROM meta WHERE name = 'version'"))
            if not found:
                connection.execute(f"INSERT INTO meta (name, value) VALUES ('version', '{_VERSION}')")
            elif found[0][0] != _VERSION:
                raise StoreError(
                    f"The fleet database {self.name} is of version {found[0][0]}; this Crucible reads {_VERSION}."
                )


def open_database(settings: Settings) -> FleetDatabase:
    """Return the database of this home; processes and threads may call this as often as they like.

    Raises
    ------
    SettingsError
        If ``CRUCIBLE_FLEET_DATABASE`` makes no sense.
    """
    return _opened(settings.fleet_database or f"sqlite:///{settings.fleet / 'fleet.db'}")


@functools.cache
def _opened(url: str) -> FleetDatabase:
    return FleetDatabase(url)


def _rows(cursor: Any) -> list[tuple[Any, ...]]:
    return list(cursor.fetchall()) if cursor.description else []


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise SettingsError(
            f"CRUCIBLE_FLEET_DATABASE names PostgreSQL, whose driver is not installed ({error}); "
            "install allora-crucible[postgres]."
        ) from None
    return psycopg
