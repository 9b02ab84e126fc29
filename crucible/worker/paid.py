"""What each epoch has paid, beside the submissions in the wallet's journal: the chain tells it once, by an event."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from crucible.chain.wakeup import Settled
from crucible.errors import StoreError
from crucible.worker.journal import open_journal

_TABLE = """
CREATE TABLE IF NOT EXISTS paid (
    chain_id TEXT NOT NULL, topic_id INTEGER NOT NULL, address TEXT NOT NULL, nonce INTEGER NOT NULL,
    uallo REAL NOT NULL, PRIMARY KEY (chain_id, topic_id, address, nonce)
) WITHOUT ROWID, STRICT
"""


def note_paid(journal: Path, chain_id: str, address: str, settled: Iterable[Settled]) -> None:
    """Keep what epochs have paid ``address``; several roles of one epoch in a message count together.

    The same message again changes nothing.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    sums: dict[tuple[int, int], float] = {}
    for item in settled:
        if item.nonce > 0 and item.topic.isdecimal():
            key = int(item.topic), item.nonce
            sums[key] = sums.get(key, 0.0) + item.uallo
    if not sums:
        return
    try:
        connection = open_journal(journal)
        try:
            connection.execute(_TABLE)
            connection.executemany(
                "INSERT OR IGNORE INTO paid VALUES (?, ?, ?, ?, ?)",
                [(chain_id, topic, address, nonce, uallo) for (topic, nonce), uallo in sums.items()],
            )
            connection.commit()
        finally:
            connection.close()
    except (sqlite3.Error, OverflowError) as error:
        raise StoreError(f"The journal {journal} refuses: {error}.") from error


def read_paid(journal: Path, chain_id: str, topic_id: int) -> dict[tuple[str, int], float]:
    """Return uallo by address and nonce; nothing where nothing was ever noted.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    if not journal.exists():
        return {}
    try:
        connection = sqlite3.connect(f"file:{journal.resolve()}?mode=ro", uri=True, timeout=10.0)
        try:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'paid'").fetchone():
                return {}
            rows = connection.execute(
                "SELECT address, nonce, uallo FROM paid WHERE chain_id = ? AND topic_id = ?", (chain_id, topic_id)
            ).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(f"The journal {journal} cannot be read: {error}.") from error
    return {(address, nonce): uallo for address, nonce, uallo in rows}
