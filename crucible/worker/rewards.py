"""What each epoch has paid: read from the chain's events as they pass, and kept beside the journal's submissions."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

from crucible.chain.wakeup import Settled
from crucible.errors import StoreError
from crucible.worker.journal import open_journal

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reward (
    chain_id TEXT NOT NULL, topic_id INTEGER NOT NULL, role TEXT NOT NULL, address TEXT NOT NULL,
    nonce INTEGER NOT NULL, uallo REAL NOT NULL, PRIMARY KEY (chain_id, topic_id, role, address, nonce)
) STRICT
"""


class Rewards:
    """The rewards of one wallet, in its journal. Use as a context manager.

    Parameters
    ----------
    path : pathlib.Path
        The wallet's journal.
    chain_id, address : str
        Whose they are.

    Raises
    ------
    StoreError
        From any method, if the disk refuses.
    """

    def __init__(self, path: Path, chain_id: str, address: str) -> None:
        self._path, self._key = path, (chain_id, address)

    def __enter__(self) -> Self:
        self._connection = open_journal(self._path)
        self._write(_SCHEMA, ())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def note(self, settled: Settled) -> None:
        """Record what a role was paid for an epoch; the same once more changes nothing."""
        chain_id, address = self._key
        values = (chain_id, settled.topic_id, settled.role, address, settled.nonce, settled.uallo)
        self._write("INSERT OR REPLACE INTO reward VALUES (?, ?, ?, ?, ?, ?)", values)

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreError(f"The journal {self._path} refuses a reward: {error}.") from error


def read_rewards(path: Path, chain_id: str, topic_id: int, role: str) -> dict[tuple[str, int], float]:
    """Return by address and nonce what a role was paid in a topic, uallo; empty where nothing was ever noted.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    if not path.exists():
        return {}
    query = "SELECT address, nonce, uallo FROM reward WHERE (chain_id, topic_id, role) = (?, ?, ?)"
    try:
        connection = sqlite3.connect(f"file:{path.resolve()}?mode=ro", uri=True, timeout=5.0)
        try:
            found = connection.execute(query, (chain_id, topic_id, role)).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return {}  # written by an earlier version
        raise StoreError(f"The journal {path} cannot be read: {error}.") from error
    return {(address, nonce): uallo for address, nonce, uallo in found}
