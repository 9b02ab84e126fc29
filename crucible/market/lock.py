"""One writer at a time: an advisory lock on a folder, released by the kernel when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crucible.errors import ProcessError, StoreError


@contextmanager
def exclusive(folder: Path, what: str, patience: float) -> Iterator[None]:
    """Hold the lock of ``folder`` (created where missing) for the length of the block.

    Parameters
    ----------
    folder : pathlib.Path
        What is protected; the lock is its file ``.lock``, which holds the process id of its last holder.
    what : str
        What to call it in messages.
    patience : float
        Seconds to wait for another holder.

    Raises
    ------
    ProcessError
        If another process or thread holds it for longer than that.
    StoreError
        If the folder or the lock file cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}.") from error
    try:
        deadline = time.monotonic() + patience
        while not _try(descriptor):
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise ProcessError(
                    f"{what} is being written by another process (pid {holder}) for more than {patience:g} s; "
                    "try again when it has ended."
                )
            time.sleep(0.02)
        _sign(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _sign(descriptor: int, folder: Path) -> None:
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except OSError as error:
        raise StoreError(f"{folder / '.lock'} cannot be written: {error.strerror or error}.") from error


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
