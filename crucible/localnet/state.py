"""The chain's state on disk: saved atomically, restored at start."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from crucible.errors import StoreError
from crucible.process import write_json

if TYPE_CHECKING:
    from crucible.localnet.core import Core

_FILE = "state.json"
_T = TypeVar("_T")


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
    from crucible.localnet.core import Core  # with all messages of the chain; whoever asks for the time needs none

    return _read(folder, Core.from_json)


def last_block_time(folder: Path) -> datetime | None:
    """Return the time of the last saved block, UTC, or ``None`` where there is no chain.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    return _read(folder, lambda values: datetime.fromtimestamp(float(values["time"]), UTC))


def _read(folder: Path, made_of: Callable[[dict[str, Any]], _T]) -> _T | None:
    path = folder / _FILE
    try:
        return made_of(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete {folder} to begin a new chain.") from error
