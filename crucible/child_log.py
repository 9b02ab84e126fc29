"""Logs of child processes: their last words, and an end to their growth."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from crucible.errors import StoreError

MOST_BYTES = 10_000_000
"""A log that is larger becomes ``<name>.1``: a process that lives for years keeps twice as much at most."""

_TAIL_BYTES = 65_536


def last_line(log: Path) -> str:
    """Return the last line of ``log`` that is not empty, or that there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1].strip() if lines else "it printed nothing"


def shorten(log: Path) -> None:
    """Move what ``log`` holds to ``<name>.1``, in place of what was there, if it is larger than :data:`MOST_BYTES`.

    Whoever writes keeps the file open, in append mode, and goes on at its new beginning; a line that is written at that
    very moment may be lost.

    Raises
    ------
    StoreError
        If the disk refuses; the log is then as it was.
    """
    staged = log.with_name(f".{log.name}.tmp")
    try:
        if log.stat().st_size <= MOST_BYTES:
            return
        shutil.copyfile(log, staged)
        staged.replace(log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)
    except FileNotFoundError:
        return  # nothing was written so far
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise StoreError(f"The log {log} cannot be shortened: {error.strerror or error}.") from error
