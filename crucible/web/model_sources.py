"""What is read of models: registered versions, verdicts, reports. Reading never makes a store that is not there."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crucible.errors import CrucibleError, StoreError
from crucible.registry.models import BY_PERSON, BY_ROLLBACK, Version, versions
from crucible.settings import Settings
from crucible.stage_records import evaluation_folder, read_current
from crucible.web.remembered import Remembered, database_stamp, stamp_of
from crucible.web.sources import Worker
from crucible.web.values import instant, words_of

EVALUATION = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$")
"""What an evaluation's folder is called."""

_MOST_EVALUATIONS = 30
_MOST_REPORT_BYTES = 30_000_000

_BY = {BY_PERSON: "a person", BY_ROLLBACK: "the roll-back"}
_remembered = Remembered()


@dataclass(frozen=True)
class Judged:
    """One evaluation: its folder's name, the verdict as plain values, and when that was written."""

    name: str
    verdict: dict[str, Any]
    at: datetime | None
    has_report: bool
    newest: bool = False


@dataclass(frozen=True)
class Reign:
    """One version's time as champion: since when, by whom, and why."""

    version: Version
    since: datetime | None
    by: str
    reason: str
    now: bool


def known_versions(settings: Settings, name: str) -> tuple[Version, ...]:
    """Return every version of the model ``name``, newest first; none where no store has been made.

    Raises
    ------
    RegistryError
        If the store refuses.
    """
    database = settings.mlruns / "mlflow.db"
    if settings.tracking_uri.startswith("sqlite") and not database.exists():
        return ()
    return _remembered.get(
        ("versions", database, name), database_stamp(database), lambda: tuple(versions(settings, name))
    )


def aliased(found: tuple[Version, ...], alias: str) -> Version | None:
    """Return the version that ``alias`` points to, or ``None``."""
    return next((version for version in found if alias in version.aliases), None)


def champions(found: tuple[Version, ...]) -> list[Reign]:
    """Return who was promoted, the newest promotion first. A version that was promoted twice shows the later time."""
    reigns = [
        Reign(
            version,
            instant(version.tags["promoted_at"]),
            _BY.get(version.tags.get("promoted_by", ""), "the gates"),
            version.tags.get("override_reason", ""),
            "champion" in version.aliases,
        )
        for version in found
        if "promoted_at" in version.tags
    ]
    return sorted(reigns, key=lambda reign: (not reign.now, -(reign.since.timestamp() if reign.since else 0.0)))


def evaluations(settings: Settings, worker: Worker) -> list[Judged]:
    """Return the newest evaluations of a recipe, latest verdict first; the one that counts at present is marked.

    Raises
    ------
    StoreError
        If a verdict is damaged.
    """
    folder = settings.evaluations / worker.name
    files = [file for file in folder.glob("*/verdict.json") if EVALUATION.match(file.parent.name)]
    files.sort(key=_written, reverse=True)
    current = _current(settings, worker)
    return [
        Judged(
            file.parent.name,
            _remembered.get(file, stamp_of(file), lambda file=file: _verdict(file)),  # type: ignore[misc]
            instant_of(file),
            (file.parent / "report.html").is_file(),
            file.parent.name == current,
        )
        for file in files[:_MOST_EVALUATIONS]
    ]


def report(settings: Settings, name: str, evaluation: str) -> bytes | None:
    """Return the HTML report of an evaluation, or ``None`` where there is none.

    Raises
    ------
    StoreError
        If it cannot be read, or is larger than 30 MB.
    """
    path = settings.evaluations / name / evaluation / "report.html"
    if not EVALUATION.match(evaluation) or not path.resolve().is_relative_to(settings.evaluations.resolve()):
        return None
    return read_document(path)


def read_document(path: Path) -> bytes | None:
    """Return a page that another room wrote, or ``None`` where there is none; raises as :func:`report`."""
    try:
        if path.stat().st_size > _MOST_REPORT_BYTES:
            raise StoreError(f"{path.name} is too large to be shown; open it as a file.")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"{path.name} cannot be read: {error.strerror or error}.") from error


def instant_of(file: Path) -> datetime | None:
    """Return when a file was written, UTC, real time."""
    written = _written(file)
    return datetime.fromtimestamp(written, UTC) if written else None


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _current(settings: Settings, worker: Worker) -> str:
    if worker.recipe is None:
        return ""
    try:
        return evaluation_folder(settings, worker.recipe, read_current(settings, worker.recipe)).name
    except CrucibleError:
        return ""  # no features so far, or the recipe was changed since: then no evaluation counts


def _verdict(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_bytes())
        gates = values.get("gates")
        rows = [
            {"name": words_of(gate.get("name")), "outcome": words_of(gate.get("outcome")) or _old_outcome(gate),
             "sentence": words_of(gate.get("sentence"))}
            for gate in (gates if isinstance(gates, list) else [])
        ]  # fmt: skip
        return {
            "candidate": words_of(values.get("candidate")), "grade": words_of(values.get("grade")),
            "passed": values.get("passed") is True, "gates": rows,
        }  # fmt: skip
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise StoreError(f"The verdict of {file.parent.name} is damaged ({type(error).__name__}).") from error


def _old_outcome(gate: dict[str, Any]) -> str:
    return "pass" if gate.get("passed") is True else "fail"
