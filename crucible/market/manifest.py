"""The manifest beside each monthly partition: what it holds, and where and when that was fetched.

The Parquet file is the truth. A manifest is a short account of it that can be read without decoding bars; one that
does not fit its file (a writer was killed between the two renames, a file was put there by hand) is derived anew.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from crucible.market.bars import from_micros, open_times
from crucible.market.partition import FILLED_FROM, STORED_SCHEMA, decode, digest_of, footer_digest
from crucible.market.series import Gap, find_gaps

FILE = "manifest.json"


@dataclass(frozen=True)
class Filled:
    """Bars of another source that a repair put into a gap: those which open in ``[start, end)``."""

    start: datetime
    end: datetime
    bars: int
    source: str


@dataclass(frozen=True)
class Manifest:
    """What a partition holds.

    Attributes
    ----------
    rows : int
        Bars in it.
    first, last : datetime
        Open times of its first and last bar, UTC.
    gaps : tuple of Gap
        What is missing between these two.
    filled : tuple of Filled
        Bars that are another source's.
    digest : str
        SHA-256 (hex) of the bars' values.
    sha256 : str
        SHA-256 (hex) of the Parquet file.
    source : str
        By which way the newest of its bars came: ``binance``, ``binance_archive``, ``file``; empty if not known.
    fetched_at : datetime or None
        When the file was written last, UTC; None if not known.
    """

    rows: int
    first: datetime
    last: datetime
    gaps: tuple[Gap, ...]
    filled: tuple[Filled, ...]
    digest: str
    sha256: str
    source: str
    fetched_at: datetime | None

    def to_json(self) -> bytes:
        """Return the manifest as the text of its file."""
        return (json.dumps(asdict(self), indent=1, default=datetime.isoformat) + "\n").encode()


def describe(
    bars: pa.Table, content: bytes, interval: timedelta, source: str = "", fetched_at: datetime | None = None
) -> Manifest:
    """Return the manifest of ``bars`` (stored schema, not empty), whose Parquet file is ``content``."""
    times = open_times(bars)
    return Manifest(
        rows=len(times),
        first=from_micros(times[0]),
        last=from_micros(times[-1]),
        gaps=find_gaps(times, interval),
        filled=_filled(bars, times, interval),
        digest=digest_of(bars),
        sha256=hashlib.sha256(content).hexdigest(),
        source=source,
        fetched_at=fetched_at,
    )


def read_manifest(partition: Path, interval: timedelta, *, verify: bool = False) -> Manifest:
    """Return the manifest of the file ``partition``, derived from its bars where there is none that fits.

    Whether it fits is told by the digest in the file's footer; with ``verify`` by the SHA-256 of the whole file, which
    also notices a file that was altered by other hands.

    Raises
    ------
    StoreError
        If the partition is damaged.
    """
    stated = _read(partition.with_name(FILE))
    fits = stated is not None and stated.digest == footer_digest(partition)
    if stated is not None and fits and (not verify or stated.sha256 == _sha256(partition)):
        return stated
    return describe(decode(partition, STORED_SCHEMA.names), partition.read_bytes(), interval)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path) -> Manifest | None:
    try:
        values = json.loads(path.read_bytes())
        instants = {name: datetime.fromisoformat(values[name]) for name in ("first", "last")}
        fetched_at = values["fetched_at"]
        return Manifest(
            **{
                **values,
                **instants,
                "gaps": tuple(Gap(*_span(item), item["bars"]) for item in values["gaps"]),
                "filled": tuple(Filled(*_span(item), item["bars"], item["source"]) for item in values["filled"]),
                "fetched_at": fetched_at and datetime.fromisoformat(fetched_at),
            }
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None  # the partition beside it says everything but when it was fetched


def _span(item: dict[str, str]) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(item["start"]), datetime.fromisoformat(item["end"])


def _filled(bars: pa.Table, times: np.ndarray, interval: timedelta) -> tuple[Filled, ...]:
    if bars[FILLED_FROM].null_count == bars.num_rows:
        return ()
    names = np.array([name or "" for name in bars[FILLED_FROM].to_pylist()])
    step = interval // timedelta(microseconds=1)
    # a run ends where the source changes, or where a bar is missing
    edges = np.flatnonzero((names[1:] != names[:-1]) | (np.diff(times) != step)) + 1
    runs = zip([0, *edges.tolist()], [*edges.tolist(), len(names)], strict=True)
    return tuple(
        Filled(from_micros(times[low]), from_micros(times[high - 1]) + interval, high - low, str(names[low]))
        for low, high in runs
        if names[low]
    )
