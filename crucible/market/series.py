"""Which bars: a series is one symbol of one source at one interval."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from crucible.duration import format_duration, parse_duration
from crucible.errors import SchemaError
from crucible.market.bars import from_micros

_SOURCE = re.compile(r"^[a-z0-9_]+$")
_SYMBOL = re.compile(r"^[A-Z0-9]+$")
_FOLDER = re.compile(r"source=([a-z0-9_]+)/symbol=([A-Z0-9]+)/interval=([0-9]+[smhd])$")


@dataclass(frozen=True, order=True)
class Series:
    """One symbol of one source at one interval, for example ``binance BTCUSDT 5m``.

    Raises
    ------
    SchemaError
        If a name could not be a folder's: sources are lower case, symbols upper case.
    """

    source: str
    symbol: str
    interval: timedelta

    def __post_init__(self) -> None:
        if not _SOURCE.match(self.source):
            raise SchemaError(f"{self.source!r} is not a source name; use lower-case letters, digits and _.")
        if not _SYMBOL.match(self.symbol):
            raise SchemaError(f"{self.symbol!r} is not a symbol; use capitals and digits, for example BTCUSDT.")

    def __str__(self) -> str:
        return f"{self.source} {self.symbol} {format_duration(self.interval)}"

    def folder(self, root: Path) -> Path:
        """Return where this series is kept below ``root``."""
        interval = format_duration(self.interval)
        return root / f"source={self.source}" / f"symbol={self.symbol}" / f"interval={interval}"

    @classmethod
    def of_folder(cls, folder: Path) -> Series | None:
        """Return the series that a folder holds, or ``None`` where the name is not one of :meth:`folder`."""
        match = _FOLDER.search(folder.as_posix())
        return cls(match[1], match[2], parse_duration(match[3])) if match else None


@dataclass(frozen=True)
class Gap:
    """Bars that are missing: those which open in ``[start, end)``, ``bars`` of them."""

    start: datetime
    end: datetime
    bars: int


@dataclass(frozen=True)
class Coverage:
    """What is stored of a series.

    Attributes
    ----------
    first, last : datetime or None
        Open times of the first and the last bar, UTC; None where nothing is stored.
    rows : int
        Bars stored.
    missing : int
        Bars missing between the first and the last.
    gaps : tuple of Gap
        Where they are missing, oldest first.
    """

    first: datetime | None
    last: datetime | None
    rows: int
    missing: int
    gaps: tuple[Gap, ...]


def find_gaps(times: np.ndarray, interval: timedelta) -> tuple[Gap, ...]:
    """Return the gaps between sorted open times.

    Parameters
    ----------
    times : numpy.ndarray
        Shape (n,), int64: microseconds since 1970-01-01T00:00Z, ascending, on the grid.
    interval : timedelta
        Length of a bar.
    """
    step = interval // timedelta(microseconds=1)
    breaks = np.flatnonzero(np.diff(times) > step)
    return tuple(
        Gap(from_micros(times[i] + step), from_micros(times[i + 1]), int((times[i + 1] - times[i]) // step - 1))
        for i in breaks
    )


def joined_gaps(parts: Sequence[tuple[datetime, datetime, tuple[Gap, ...]]], interval: timedelta) -> tuple[Gap, ...]:
    """Return the gaps of a series from those of its parts.

    Parameters
    ----------
    parts : sequence of (first open time, last open time, gaps in between)
        Oldest first; none overlap.
    interval : timedelta
        Length of a bar.
    """
    found: list[Gap] = []
    for index, (first, _, gaps) in enumerate(parts):
        if index and parts[index - 1][1] + interval < first:
            start = parts[index - 1][1] + interval
            found.append(Gap(start, first, (first - start) // interval))
        found.extend(gaps)
    return tuple(found)


def spans_where(mask: np.ndarray, first: int, step: int) -> list[tuple[datetime, datetime]]:
    """Return the runs of true values as ranges ``[start, end)``: value i is about the bar that opens at first + i step.

    Parameters
    ----------
    mask : numpy.ndarray
        Shape (n,), bool.
    first, step : int
        Microseconds since 1970-01-01T00:00Z, and per bar.
    """
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return [
        (from_micros(first + int(low) * step), from_micros(first + int(high) * step))
        for low, high in zip(edges[::2], edges[1::2], strict=True)
    ]
