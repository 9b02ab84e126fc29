"""The machine: Python, library versions against the lock, disk space, folders."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import crucible
from crucible.doctor.finding import Finding, State
from crucible.settings import Settings

LEAST_PYTHON = (3, 11)
LEAST_BYTES = 10**9
LOW_BYTES = 5 * 10**9

_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ \\;]+)(?: *;([^\\]*))?", re.M)


def examine_machine(settings: Settings, project: Path | None = None) -> Iterator[Finding]:
    """Yield what the machine is like; ``project`` is the folder that holds ``requirements/``, ours by default."""
    yield _python()
    yield _libraries(project or Path(crucible.__file__).resolve().parents[1])
    yield _disk(settings)
    yield from _folders(settings)


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < LEAST_PYTHON:
        need = ".".join(str(part) for part in LEAST_PYTHON)
        return Finding(
            "Python", "broken", f"Python {found} is too old; {need} is needed.", "make install PYTHON=python3.11"
        )
    return Finding("Python", "well", f"Python {found}.")


def _libraries(project: Path) -> Finding:
    laboratory = _installed("dagster") is not None
    lock = project / "requirements" / ("all.txt" if laboratory else "worker.txt")
    if not lock.is_file():
        return Finding(
            "libraries", "skipped", f"There is no {lock.name} to compare with; this is an installed package."
        )
    locked: dict[str, set[str]] = {}
    optional = set()
    for name, wanted, marker in _LOCKED.findall(lock.read_text(encoding="utf-8")):
        locked.setdefault(name, set()).add(wanted)  # one version for each range of Pythons
        if marker.strip():
            optional.add(name)
    found = {name: _installed(name) for name in locked}
    wrong = [
        (name, " or ".join(sorted(wanted)), found[name])
        for name, wanted in locked.items()
        if found[name] not in wanted and not (found[name] is None and name in optional)
    ]
    if not wrong:
        return Finding("libraries", "well", f"{len(locked)} libraries as {lock.name} says.")
    told = ", ".join(f"{name} {have or 'is missing'} instead of {wanted}" for name, wanted, have in wrong[:3])
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    state: State = "broken" if any(have is None for _, _, have in wrong) else "warning"
    sentence = f"Not as {lock.name} says: {told}{more}."
    return Finding("libraries", state, sentence, "rm -f .venv/.installed && make install")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _disk(settings: Settings) -> Finding:
    place = _existing(settings.home)
    free = shutil.disk_usage(place).free
    sentence = f"{free / 1e9:.1f} GB are free at {place}."
    mend = "crucible backup create /elsewhere/crucible.tar.gz --without features && rm -r data/features"
    if free < LEAST_BYTES:
        return Finding("disk space", "broken", sentence, mend)
    return (
        Finding("disk space", "warning", sentence, mend)
        if free < LOW_BYTES
        else Finding("disk space", "well", sentence)
    )


def _folders(settings: Settings) -> Iterator[Finding]:
    for folder in (settings.data, settings.mlruns):
        place = _existing(folder)
        if not os.access(place, os.W_OK | os.X_OK):
            yield Finding(
                f"folder {folder.name}", "broken", f"{place} cannot be written.", f'sudo chown -R "$USER" {place}'
            )
        else:
            yield Finding(f"folder {folder.name}", "well", f"{folder} can be written.")


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
