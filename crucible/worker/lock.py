"""Locks between processes: one fleet per home, one worker per recipe."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from crucible.errors import ProcessError, StoreError


def hold(path: Path, otherwise: str) -> IO[str]:
    """Take the lock at ``path`` until the returned file is closed or the process ends, however it ends.

    Parameters
    ----------
    path : Path
        The lock's file; it stays behind and means nothing by itself.
    otherwise : str
        The sentence for a lock that another process holds.

    Raises
    ------
    ProcessError
        If another process holds it.
    StoreError
        If the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ProcessError(otherwise) from None
    return file


def is_held(path: Path) -> bool:
    """Whether some process holds the lock at ``path``; nothing is made or changed."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
