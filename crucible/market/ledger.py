"""The gap ledger: why a bar is missing, where that is known. A gap is never filled to make it go away."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from crucible.errors import StoreError
from crucible.market.lock import exclusive
from crucible.market.series import Gap, Series
from crucible.process import write_atomic

Cause = Literal[
    "no trades",  # the source leaves out a bar in which nothing was traded
    "exchange down",  # the source has a bar for every interval, and has none here
    "not listed",  # before the first bar that the source has
    "failed fetch",  # asked for, and not answered
    "disagreement",  # another source has it, but contradicts ours around it
    "quarantined",  # it is there, and failed a quality check
    "not in file",  # imported, and missing in the file
    "not fetched",  # nobody has asked so far
]

SETTLED: frozenset[Cause] = frozenset({"no trades", "exchange down", "not listed", "quarantined"})
"""Causes that make asking again pointless; ``crucible bars repair`` asks all the same."""

Span = tuple[datetime, datetime]


@dataclass(frozen=True, order=True)
class Note:
    """Why the bars which open in ``[start, end)`` are missing.

    Attributes
    ----------
    start, end : datetime
        UTC.
    cause : str
        One of :data:`Cause`.
    source : str
        Who was asked.
    noted_at : datetime
        When, UTC.
    detail : str
        More, for people; may be empty.
    """

    start: datetime
    end: datetime
    cause: Cause
    source: str
    noted_at: datetime
    detail: str = ""


@dataclass(frozen=True)
class ExplainedGap:
    """A gap, or the part of one, that has one cause."""

    start: datetime
    end: datetime
    bars: int
    cause: Cause
    source: str
    detail: str


@dataclass(frozen=True)
class GapLedger:
    """The notes on one series, in ``gaps.json`` in the series' folder."""

    folder: Path
    series: Series
    patience: float = 5.0

    def notes(self) -> tuple[Note, ...]:
        """Return the notes, oldest gap first; they never overlap.

        Raises
        ------
        StoreError
            If the ledger is damaged.
        """
        path = self.folder / "gaps.json"
        try:
            rows = json.loads(path.read_text()) if path.exists() else []
            return tuple(
                Note(
                    datetime.fromisoformat(row["start"]), datetime.fromisoformat(row["end"]), _cause(row["cause"]),
                    row["source"], datetime.fromisoformat(row["noted_at"]), row["detail"],
                )
                for row in rows
            )  # fmt: skip
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{path} is damaged ({error}); delete it, the causes are found out anew.") from error

    def add(self, notes: Iterable[Note]) -> None:
        """Write down ``notes``; where an older one speaks of the same bars, the new one replaces that part of it.

        Raises
        ------
        ProcessError
            If another process holds the series.
        StoreError
            If the disk refuses, or the ledger is damaged.
        """
        fresh = sorted(notes)
        if fresh:
            self._change(lambda old: [*_without(old, [(note.start, note.end) for note in fresh]), *fresh])

    def forget(self, spans: Sequence[Span] | None = None) -> None:
        """Forget what is noted on ``spans``, or everything; what is missing there is then asked for again."""
        self._change(lambda old: [] if spans is None else _without(old, spans))

    def settled(self) -> list[Span]:
        """Return the ranges that need not be asked for again."""
        return [(note.start, note.end) for note in self.notes() if note.cause in SETTLED]

    def explain(self, gaps: Iterable[Gap]) -> tuple[ExplainedGap, ...]:
        """Return ``gaps``, cut where the cause changes; ``not fetched`` where nothing is noted."""
        notes = self.notes()
        ends = [note.end for note in notes]
        found = []
        for gap in gaps:
            cursor = gap.start
            for note in islice(notes, bisect_right(ends, gap.start), None):
                if note.start >= gap.end:
                    break
                low, high = max(note.start, cursor), min(note.end, gap.end)
                if cursor < low:
                    found.append(self._piece(cursor, low, None))
                found.append(self._piece(low, high, note))
                cursor = high
            if cursor < gap.end:
                found.append(self._piece(cursor, gap.end, None))
        return tuple(found)

    def _piece(self, start: datetime, end: datetime, note: Note | None) -> ExplainedGap:
        told: tuple[Cause, str, str] = (note.cause, note.source, note.detail) if note else ("not fetched", "", "")
        return ExplainedGap(start, end, (end - start) // self.series.interval, *told)

    def _change(self, change: Callable[[list[Note]], list[Note]]) -> None:
        with exclusive(self.folder, str(self.series), self.patience):
            before = self.notes()
            after = _joined(sorted(change(list(before))))
            if after == list(before):
                return
            rows = [
                {
                    "start": _text(note.start), "end": _text(note.end), "cause": note.cause, "source": note.source,
                    "noted_at": _text(note.noted_at), "detail": note.detail,
                }
                for note in after
            ]  # fmt: skip
            write_atomic(self.folder / "gaps.json", (json.dumps(rows, indent=1) + "\n").encode())


def _without(notes: Iterable[Note], spans: Sequence[Span]) -> list[Note]:
    left = list(notes)
    for start, end in spans:
        kept = []
        for note in left:
            if note.end <= start or end <= note.start:
                kept.append(note)
                continue
            for low, high in ((note.start, min(note.end, start)), (max(note.start, end), note.end)):
                if low < high:
                    kept.append(Note(low, high, note.cause, note.source, note.noted_at, note.detail))
        left = kept
    return left


def _joined(notes: list[Note]) -> list[Note]:
    """Join neighbours that say the same, so that an outage fetched in two pages is one entry."""
    joined: list[Note] = []
    for note in notes:
        last = joined[-1] if joined else None
        if last and last.end == note.start and (last.cause, last.source, last.detail) == (
            note.cause, note.source, note.detail,
        ):  # fmt: skip
            joined[-1] = Note(last.start, note.end, last.cause, last.source, last.noted_at, last.detail)
        else:
            joined.append(note)
    return joined


def _cause(text: str) -> Cause:
    if text not in get_args(Cause):
        raise ValueError(f"{text!r} is no cause")
    return text  # type: ignore[return-value]


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat()
