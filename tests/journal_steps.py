"""Every step in a journal: what a worker did, one after the other, also what it did again."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One state that a nonce took; ``at`` is the clock's time, ISO, UTC."""

    nonce: int
    state: str
    at: str
    note: str


def read_steps(path):
    """Return the steps of a journal, or of one recipe through its link, in the order in which they were recorded."""
    where, values = ("WHERE recipe = ?", (path.stem,)) if path.is_symlink() else ("", ())
    keys = f"WHERE (topic_id, role, address, nonce) IN (SELECT topic_id, role, address, nonce FROM submission {where})"
    with closing(sqlite3.connect(f"file:{path.resolve()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(f"SELECT nonce, state, at, note FROM step {keys} ORDER BY rowid", values)
        return [Step(*row) for row in rows]
