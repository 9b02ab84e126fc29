"""The chain's state on disk: saved atomically, restored at start."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from crucible.errors import StoreError
from crucible.localnet.core import Core
from crucible.process import write_json

_FILE = "state.json"


def save(folder: Path, core: Core) -> None:
    """Save the chain below ``folder``."""
    write_json(folder / _FILE, core.to_json())


def restore(folder: Path) -> Core | None:
    """Return the saved chain, or ``None`` where there is none.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    path = folder / _FILE
    try:
        return Core.from_json(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete {folder} to begin a new chain.") from error


def last_block_time(folder: Path) -> datetime | None:
    """Return the time of the last saved block, UTC, or ``None`` where there is no chain."""
    core = restore(folder)
    return datetime.fromtimestamp(core.time, UTC) if core else None
