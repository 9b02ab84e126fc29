"""What was read from a file, kept until the file changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

from crucible.clock import SystemClock

_T = TypeVar("_T")
_SETTLED_SECONDS = 0.05  # a file may change twice within one tick of its time stamp
_MOST = 1024

Stamp = tuple[tuple[int, int] | None, ...]


def stamp_of(*paths: Path) -> Stamp:
    """Return what changes when one of the files does: time stamps and sizes; ``None`` for one that is not there."""
    found: list[tuple[int, int] | None] = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size))
    return tuple(found)


def database_stamp(path: Path) -> Stamp:
    """Return :func:`stamp_of` an SQLite file and the log that its newest rows are in."""
    real = path.resolve() if path.is_symlink() else path
    return stamp_of(real, real.with_name(real.name + "-wal"))


class Remembered:
    """A bounded store of values, each with the stamp of the file that it was read from. Any thread may use it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[Stamp, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, stamp: Stamp, make: Callable[[], _T]) -> _T:
        """Return the value kept under ``key`` for this ``stamp``, or make it and keep it."""
        with self._lock:
            if key in self._kept and self._kept[key][0] == stamp:
                self._kept.move_to_end(key)
                kept: _T = self._kept[key][1]
                return kept
        made = make()
        newest = max((item[0] for item in stamp if item), default=0) / 1e9
        if abs(SystemClock().now().timestamp() - newest) > _SETTLED_SECONDS:
            with self._lock:
                self._kept[key] = (stamp, made)
                self._kept.move_to_end(key)
                while len(self._kept) > _MOST:
                    self._kept.popitem(last=False)
        return made
