"""The trial ledger: what was ever looked at, one line each, appended and chained; a line that is changed breaks it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from crucible.errors import EvaluationError, StoreError
from crucible.recipe import Recipe

ANCHORED, SEARCHED, OPENED = "anchored", "searched", "opened"
"""Kinds of entry: where a version's stages lie; what was tried; that its deployment set was opened."""

_FIRST = "0" * 64


@dataclass(frozen=True)
class Anchor:
    """Where the stages of a recipe version lie, fixed by its first run.

    Attributes
    ----------
    start, end : datetime
        First open time of the history, and last prediction time that the stages count, UTC.
    """

    start: datetime
    end: datetime


class Ledger:
    """The ledger of one recipe.

    Parameters
    ----------
    path : pathlib.Path
        A file of JSON lines; each carries the SHA-256 of the line before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[dict[str, Any]]:
        """Return every entry, oldest first.

        Raises
        ------
        StoreError
            If a line was changed, or taken out; which one.
        """
        try:
            lines = self.path.read_text().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read: {error.strerror or error}.") from error
        found, before = [], _FIRST
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
            except ValueError as error:
                raise StoreError(f"{self.path}, line {number}: this is no entry of the ledger ({error}).") from error
            if entry.get("before") != before:
                raise StoreError(f"{self.path}, line {number}: an entry was changed or taken out before this one.")
            found.append(entry)
            before = hashlib.sha256(line.encode()).hexdigest()
        return found

    def append(self, kind: str, recipe: Recipe, at: datetime, **facts: Any) -> None:
        """Add an entry, durably.

        Parameters
        ----------
        kind : str
            One of :data:`ANCHORED`, :data:`SEARCHED`, :data:`OPENED`.
        recipe : Recipe
            Its version and digest are noted.
        at : datetime
            When, UTC.
        **facts
            Plain values.

        Raises
        ------
        StoreError
            If the disk refuses, or the ledger is damaged.
        """
        self.entries()
        try:
            lines = self.path.read_text().splitlines() if self.path.exists() else []
            before = hashlib.sha256(lines[-1].encode()).hexdigest() if lines else _FIRST
            entry = {"kind": kind, "version": recipe.version, "recipe": recipe.digest, "at": at.isoformat(), **facts}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps({**entry, "before": before}, sort_keys=True) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror or error}.") from error

    def anchor(self, recipe: Recipe) -> Anchor | None:
        """Return where the stages of this very recipe lie, or None before its first run."""
        mine = [e for e in self.entries() if e["kind"] == ANCHORED and e["recipe"] == recipe.digest]
        return Anchor(*(datetime.fromisoformat(mine[-1][key]) for key in ("start", "end"))) if mine else None

    def require_closed(self, recipe: Recipe) -> None:
        """Raise unless the deployment set of the recipe's version has never been opened.

        Raises
        ------
        EvaluationError
            If it was; with the command that starts a new version.
        """
        mine = [e for e in self.entries() if e["kind"] == OPENED and e["version"] == recipe.version]
        if mine:
            same = "" if mine[-1]["recipe"] == recipe.digest else ", for other settings under the same version"
            raise EvaluationError(
                f"The deployment set of {recipe.name} version {recipe.version} was opened at {mine[-1]['at'][:19]}"
                f"{same}; "
                f"it answers once. To try again: crucible recipe bump {recipe.name}"
            )

    def looks(self, first: str, last: str) -> int:
        """Return how many deployment sets that share rows with ``[first, last]`` (ISO times) were opened so far."""
        return sum(e["kind"] == OPENED and e["first"] <= last and e["last"] >= first for e in self.entries())

    def summary(self) -> Mapping[str, int]:
        """Return how many trials, and how many opened deployment sets, the ledger holds."""
        entries = self.entries()
        return {
            "trials": sum(int(e.get("trials", 0)) for e in entries if e["kind"] == SEARCHED),
            "opened": sum(e["kind"] == OPENED for e in entries),
        }
