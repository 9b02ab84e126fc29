"""Files that only their owner may read: written whole or not at all, and looked at before they are trusted."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from crucible.errors import StoreError, WalletError

OTHERS, GROUP_AND_OTHERS = 0o007, 0o077


def write_private(path: Path, text: str, *, replace: bool = False) -> None:
    """Write a file of mode 0600 that is there with its whole content or not at all.

    Parameters
    ----------
    replace : bool
        Whether it may take the place of another; otherwise it never does.

    Raises
    ------
    FileExistsError
        If ``path`` is taken, also by another process at this very moment.
    StoreError
        If the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # unlike a rename, this refuses to replace a file
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except FileExistsError:
        raise
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def read_secret(path: Path, what: str, *, forbidden: int = GROUP_AND_OTHERS) -> str:
    """Return the text of a secret file, without the white space around it.

    Parameters
    ----------
    what : str
        What it holds, for the sentence of an error.
    forbidden : int
        Which permissions nobody may have. A file that a container or systemd hands in may be its group's.

    Raises
    ------
    WalletError
        If it cannot be read, is empty, or others may read it.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & forbidden:
            raise WalletError(f"The {what} file {path} is open to others (mode {mode:04o}); run `chmod 600 {path}`.")
        words = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise WalletError(f"The {what} file {path} cannot be read: {reason}.") from None
    if not words:
        raise WalletError(f"The {what} file {path} is empty; put back your copy of it.")
    return words


def open_to_others(path: Path) -> bool:
    """Whether anybody but the owner may read or write ``path``."""
    return bool(stat.S_IMODE(path.stat().st_mode) & GROUP_AND_OTHERS)
