"""Where a wallet's journal is, and how a recipe's own journal of earlier versions becomes part of it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from crucible.errors import StoreError
from crucible.settings import Settings
from crucible.worker.journal import open_journal

_OLD_COLUMNS = (
    "chain_id, topic_id, role, address, nonce, state, window_end, value, predicted_for, bundle, model_version, "
    "tx_hash, tx_content, sequence, height, code, score, reason, seen_at, updated_at"
)


def wallet_journal(settings: Settings, wallet: str) -> Path:
    """Return where the journal of ``wallet`` is kept; no recipe can have this name."""
    return settings.fleet / "journal" / f"wallet.{wallet}.db"


def link_recipe(journal: Path, recipe: str) -> None:
    """Let ``<recipe>.db`` beside ``journal`` be a link to it; what an earlier version wrote there is taken over first.

    The old file is kept as ``<recipe>.db.migrated``. Killed half-way, the next call completes it.

    Raises
    ------
    StoreError
        If the disk refuses, or the old file is damaged.
    """
    link = journal.with_name(f"{recipe}.db")
    try:
        if link.exists() and not link.is_symlink():
            _take_over(link, journal, recipe)
            link.replace(link.with_suffix(".db.migrated"))
            for tail in ("-wal", "-shm"):
                link.with_name(link.name + tail).unlink(missing_ok=True)
        if not link.is_symlink() or link.readlink() != Path(journal.name):
            link.parent.mkdir(parents=True, exist_ok=True)
            staged = link.with_suffix(f".{os.getpid()}.link")
            staged.unlink(missing_ok=True)
            staged.symlink_to(journal.name)
            staged.replace(link)
    except OSError as error:
        raise StoreError(f"{link} cannot be written: {error.strerror or error}.") from error


def _take_over(old: Path, journal: Path, recipe: str) -> None:
    connection = open_journal(journal)
    try:
        connection.execute("ATTACH DATABASE ? AS old", (str(old),))
        connection.execute("PRAGMA old.wal_checkpoint(TRUNCATE)")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "INSERT INTO step SELECT nonce, topic_id, 'inferer', address, state, at, note FROM old.step AS theirs "
            "WHERE NOT EXISTS (SELECT 1 FROM submission AS ours WHERE (ours.nonce, ours.topic_id, ours.address) = "
            "(theirs.nonce, theirs.topic_id, theirs.address)) ORDER BY rowid"
        )
        connection.execute(
            "INSERT OR IGNORE INTO signature SELECT chain_id, topic_id, role, address, nonce, tx_hash, sequence "
            "FROM old.submission WHERE tx_hash IS NOT NULL"
        )
        connection.execute(
            f"INSERT OR IGNORE INTO submission ({_OLD_COLUMNS}, recipe) SELECT {_OLD_COLUMNS}, ? FROM old.submission",
            (recipe,),
        )
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreError(f"The journal {old} cannot be taken over: {error}.") from error
    finally:
        connection.close()
