"""Everything that is read of the fleet: recipes, deployments, journals. The only file here that knows their layout.

A journal is aggregated by SQLite itself and not row by row, and what was found is kept until its file changes. Columns
that an older journal lacks read as null.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from crucible.errors import CrucibleError, StoreError
from crucible.recipe import Recipe, find_recipe
from crucible.settings import Settings
from crucible.web.remembered import Remembered, database_stamp, stamp_of
from crucible.web.values import instant
from crucible.worker.deployment import (
    Actual,
    Deployment,
    journal_path,
    read_actual,
    read_desired,
    read_fleet,
    read_wanted,
)
from crucible.worker.journal import FOLLOWS

NAME = re.compile(r"^[a-z][a-z0-9_]{0,99}$")
"""What a recipe can be called; nothing else ever becomes part of a path."""

ACCEPTED = ("included", "scored", "unscored", "left_out")
"""States of a submission that the chain has taken."""

LOST = ("missed", "rejected")
"""States of a submission that the chain has not."""

RECENT = 48
"""Epochs in a worker's strip on the fleet page."""

_WANTED = (
    "chain_id", "topic_id", "role", "address", "nonce", "state", "window_end", "value", "predicted_for", "bundle",
    "model_version", "rung", "tx_hash", "sequence", "fee", "height", "code", "score", "reason_code", "reason",
    "seen_at", "updated_at",
)  # fmt: skip

_DRAWN = ("nonce", "state", "value", "score", "seen_at")
_KEY = ("nonce", "topic_id", "role", "address")
_OWNER = "chain_id, topic_id, role, address"
_UNSCORED = tuple(sorted(set(FOLLOWS) - {"scored"}))

_remembered = Remembered()


@dataclass(frozen=True)
class Worker:
    """A recipe with what should serve it and what does; ``trouble`` says what of it could not be read."""

    name: str
    recipe: Recipe | None
    desired: Deployment | None
    actual: Actual | None
    trouble: str = ""

    @property
    def epoch(self) -> timedelta | None:
        """Time between two epochs of its topic, in the clock's time."""
        return self.recipe.topic.cadence if self.recipe else None


@dataclass(frozen=True)
class Summary:
    """A journal in a few numbers.

    Attributes
    ----------
    total, accepted, lost : int
        Epochs seen, taken by the chain, missed or rejected.
    reasons : tuple of (str, int)
        Why epochs were lost, the most frequent first.
    strip : tuple of str
        States of the newest :data:`RECENT` epochs, oldest first.
    accepted_at : str or None
        When the chain took the newest one, ISO, UTC.
    score : float or None
        Mean of the newest 24 scores.
    fee : float or None
        Mean fee of what was sent lately, uallo.
    """

    total: int
    accepted: int
    lost: int
    reasons: tuple[tuple[str, int], ...]
    strip: tuple[str, ...]
    accepted_at: str | None
    score: float | None
    fee: float | None


@dataclass(frozen=True)
class Epoch:
    """One epoch of a journal, with the seconds from its start to the broadcast and to the block."""

    values: dict[str, Any]
    sent_after: float | None = None
    taken_after: float | None = None

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class Record:
    """All that a journal holds of one nonce and role: the row, its steps in order, and the signed bytes."""

    epoch: Epoch
    steps: tuple[tuple[str, str, str], ...]
    content: bytes | None


def names(settings: Settings) -> list[str]:
    """Return every recipe that has a file or a deployment, sorted."""
    found = {path.stem for path in settings.recipes.glob("*.toml")}
    found |= set(_deployed(settings))
    return sorted(name for name in found if NAME.match(name))


def _deployed(settings: Settings) -> list[str]:
    return [item.deployment.recipe for item in read_wanted(settings)]


def workers(settings: Settings) -> list[Worker]:
    """Return what is known of every recipe, sorted by name, as :func:`worker` does."""
    try:
        fleet = read_fleet(settings)
    except CrucibleError:
        return [worker(settings, name) for name in names(settings)]  # which says of each what cannot be read
    known = {path.stem for path in settings.recipes.glob("*.toml")} | {name for name in fleet if fleet[name][0]}
    return [worker(settings, name, fleet.get(name, (None, None))) for name in sorted(known) if NAME.match(name)]


def worker(settings: Settings, name: str, states: tuple[Deployment | None, Actual | None] | None = None) -> Worker:
    """Return what is known of one recipe; what cannot be read becomes its ``trouble``.

    ``states`` are its deployment and its worker's report, where they have been read already.
    """
    recipe, desired, actual, trouble = None, None, None, ""
    try:
        file = settings.recipes / f"{name}.toml"
        if file.exists():
            recipe = _remembered.get(("recipe", file), stamp_of(file), lambda: find_recipe(settings.recipes, name))
    except CrucibleError as error:
        trouble = str(error)
    try:
        desired, actual = states or (read_desired(settings, name), read_actual(settings, name))
    except CrucibleError as error:
        trouble = str(error)
    return Worker(name, recipe, desired, actual, trouble)


def summary(settings: Settings, name: str) -> Summary:
    """Return the journal of ``name`` in a few numbers.

    Raises
    ------
    StoreError
        If the journal is damaged.
    """
    path = journal_path(settings, name)
    return _remembered.get(("summary", path), database_stamp(path), lambda: _summary(path))


def epochs(settings: Settings, name: str, limit: int = 1000) -> tuple[Epoch, ...]:
    """Return the newest ``limit`` epochs of the journal of ``name``, oldest first, with what a chart needs of them.

    Raises as :func:`summary`.
    """
    path = journal_path(settings, name)
    return _remembered.get(("epochs", path, limit), database_stamp(path), lambda: _epochs(path, _DRAWN, "", (), limit))


def page(
    settings: Settings, name: str, *, before: int | None = None, states: tuple[str, ...] = (), limit: int = 25
) -> tuple[Epoch, ...]:
    """Return ``limit`` epochs older than nonce ``before``, newest first, of these states; raises as :func:`summary`."""
    where = ""
    values: list[Any] = []
    if before is not None:
        where, values = where + " AND nonce < ?", [*values, before]
    if states:
        where, values = where + f" AND state IN ({', '.join('?' * len(states))})", [*values, *states]
    return _epochs(journal_path(settings, name), _WANTED, where, tuple(values), limit)[::-1]


def record(settings: Settings, name: str, nonce: int) -> tuple[Record, ...]:
    """Return what the journal holds of ``nonce``, one record per role; raises as :func:`summary`."""
    path = journal_path(settings, name)
    found = []
    for epoch in _epochs(path, _WANTED, " AND nonce = ?", (nonce,), 10):
        with _Reading(path) as journal:
            role = " AND role = ?" if journal.steps_have_role else ""
            key = (nonce, epoch.topic_id, epoch.address, *([epoch.role] if role else []))
            where = f"WHERE nonce = ? AND topic_id = ? AND address = ?{role}"
            steps = journal.rows(f"SELECT state, at, note FROM step {where} ORDER BY rowid", key)
            content = journal.rows(
                f"SELECT tx_content FROM submission {journal.where} AND nonce = ? AND topic_id = ? AND address = ? "
                "AND role = ?",
                (*journal.values, nonce, epoch.topic_id, epoch.address, epoch.role),
            )
        found.append(Record(epoch, tuple(steps), content[0][0] if content else None))
    return tuple(found)


def journal_stamp(settings: Settings, name: str) -> object:
    """Return what changes when the journal of ``name`` does."""
    return database_stamp(journal_path(settings, name))


class _Reading:
    """A journal, open for reading. One that is not there, or has no tables so far, holds nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> _Reading:
        self._connection = None
        self.columns: frozenset[str] = frozenset()
        self.steps_have_role = False
        if self._path.exists():
            try:
                self._connection = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True, timeout=2.0)
            except sqlite3.Error as error:
                raise StoreError(f"The journal {self._path.name} cannot be read: {error}.") from error
            self.rows("BEGIN")  # what is read of it belongs together
            columns = self.rows(
                "SELECT 'submission', name FROM pragma_table_info('submission') "
                "UNION ALL SELECT 'step', name FROM pragma_table_info('step')"
            )
            self.columns = frozenset(name for table, name in columns if table == "submission")
            self.steps_have_role = ("step", "role") in columns
        # <recipe>.db may be a link to the journal of its wallet, which other recipes share
        shared = self._path.is_symlink() and "recipe" in self.columns
        self.where = "WHERE recipe = ?" if shared else "WHERE 1"
        self.values: tuple[Any, ...] = (self._path.stem,) if shared else ()
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        if self._connection is None:
            return []
        try:
            with closing(self._connection.execute(query, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"The journal {self._path.name} cannot be read: {error}.") from error

    def column(self, name: str) -> str:
        return name if name in self.columns else f"NULL AS {name}"


def _summary(path: Path) -> Summary:
    with _Reading(path) as journal:
        if not journal.columns:
            return Summary(0, 0, 0, (), (), None, None, None)
        why = "coalesce(reason_code, reason, '')" if "reason_code" in journal.columns else "coalesce(reason, '')"
        whose = list(_owners(journal))
        # nearly every row is scored: the others are found by their index, and the scored ones are what is left
        others: Counter[tuple[str, str]] = Counter()
        for address in {key[-1] for key in whose}:
            for state, reason, count in journal.rows(
                f"SELECT state, {why}, count(*) FROM submission {journal.where} AND address = ? "
                f"AND state IN ({', '.join('?' * len(_UNSCORED))}) GROUP BY 1, 2",
                (*journal.values, address, *_UNSCORED),
            ):
                others[state, reason] += count
        [(total,)] = journal.rows(f"SELECT count(*) FROM submission {journal.where}", journal.values)
        # the primary key ends with the nonce: asked key by key, the newest are found without a look at the others
        columns = f"nonce, state, topic_id, address, score, {journal.column('fee')}"
        newest = [
            row
            for key in whose
            for row in journal.rows(
                f"SELECT {columns} FROM submission {journal.where} "
                f"AND ({_OWNER}) = (?, ?, ?, ?) "
                f"ORDER BY chain_id DESC, topic_id DESC, role DESC, address DESC, nonce DESC LIMIT {RECENT}",
                (*journal.values, *key),
            )
        ]
        newest = sorted(newest, key=lambda row: -row[0])[:RECENT]
        taken = next((row for row in newest if row[1] in ACCEPTED), None) or next(
            iter(
                journal.rows(
                    f"SELECT nonce, state, topic_id, address FROM submission {journal.where} "
                    f"AND state IN ({', '.join('?' * len(ACCEPTED))}) ORDER BY nonce DESC LIMIT 1",
                    (*journal.values, *ACCEPTED),
                )
            ),
            None,
        )
        accepted_at = None
        if taken:
            at = journal.rows(
                # backwards: the newest steps stand at the end
                "SELECT at FROM step WHERE nonce = ? AND topic_id = ? AND address = ? AND state = 'included' "
                "ORDER BY rowid DESC LIMIT 1",
                (taken[0], taken[2], taken[3]),
            )
            accepted_at = at[0][0] if at else None
    reasons: Counter[str] = Counter()
    for (state, reason), count in others.items():
        if state in LOST:
            reasons[reason or state] += count
    scores = [row[4] for row in newest if row[4] is not None and math.isfinite(row[4])][:24]
    fees = [row[5] for row in newest if row[5]]
    return Summary(
        total=total,
        accepted=total - sum(count for (state, _), count in others.items() if state not in ACCEPTED),
        lost=reasons.total(),
        reasons=tuple(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        strip=tuple(row[1] for row in reversed(newest)),
        accepted_at=accepted_at,
        score=sum(scores) / len(scores) if scores else None,
        fee=sum(fees) / len(fees) if fees else None,
    )


def _owners(journal: _Reading) -> Iterator[tuple[Any, ...]]:
    """Yield whose submissions a journal holds, from key to key: a DISTINCT would look at every row."""
    found = journal.rows(f"SELECT {_OWNER} FROM submission {journal.where} ORDER BY {_OWNER} LIMIT 1", journal.values)
    while found:
        yield found[0]
        found = journal.rows(
            f"SELECT {_OWNER} FROM submission {journal.where} AND ({_OWNER}) > (?, ?, ?, ?) ORDER BY {_OWNER} LIMIT 1",
            (*journal.values, *found[0]),
        )


def _epochs(path: Path, wanted: tuple[str, ...], also: str, values: tuple[Any, ...], limit: int) -> tuple[Epoch, ...]:
    with _Reading(path) as journal:
        if not journal.columns:
            return ()
        columns = ", ".join(journal.column(name) for name in (*_KEY, *wanted))
        rows = journal.rows(
            f"SELECT {columns} FROM submission {journal.where}{also} ORDER BY nonce DESC, role LIMIT {int(limit)}",
            (*journal.values, *values),
        )[::-1]
        if not rows:
            return ()
        role = "role" if journal.steps_have_role else "'inferer'"
        timed = journal.rows(
            f"SELECT nonce, topic_id, {role}, address, min(CASE state WHEN 'seen' THEN at END), "
            "min(CASE state WHEN 'broadcast' THEN at END), min(CASE state WHEN 'included' THEN at END) "
            "FROM step WHERE nonce BETWEEN ? AND ? AND state IN ('seen', 'broadcast', 'included') GROUP BY 1, 2, 3, 4",
            (rows[0][0], rows[-1][0]),
        )
    times = {row[:4]: [instant(at) for at in row[4:]] for row in timed}
    found = []
    for row in rows:
        seen, sent, taken = times.get(row[:4], (None, None, None))
        epoch = dict(zip((*_KEY, *wanted), row, strict=True))
        found.append(Epoch(epoch, _between(seen, sent), _between(seen, taken)))
    return tuple(found)


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None
