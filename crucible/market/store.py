"""The bar store: immutable monthly Parquet partitions, replaced whole and atomically.

Layout: ``<root>/source=binance/symbol=BTCUSDT/interval=5m/month=2026-01/bars.parquet``. Beside the months a series
keeps ``.lock`` (one writer at a time) and ``absent.json`` (ranges for which its source has no bars).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crucible.errors import StoreError
from crucible.market.bars import BAR_SCHEMA, check_bars, empty_bars, open_times, to_micros
from crucible.market.lock import exclusive
from crucible.market.partition import FILE, decode, encode
from crucible.market.series import Coverage, Gap, Series, cover
from crucible.process import write_atomic, write_files

__all__ = ["BarStore", "Coverage", "Gap", "Series", "WriteReport"]


@dataclass(frozen=True)
class WriteReport:
    """What a write changed.

    Attributes
    ----------
    rows_new : int
        Bars that were not there before.
    rows_changed : int
        Bars that replaced others with the same open time and different values.
    rows_total : int
        Bars of the series afterwards.
    partitions : int
        Files written; 0 when everything was there already.
    """

    rows_new: int
    rows_changed: int
    rows_total: int
    partitions: int


@dataclass(frozen=True)
class BarStore:
    """Bars on disk, below ``root``.

    Readers need no lock: a partition is replaced by a rename, so they see the old file or the new one.
    """

    root: Path
    patience: float = 5.0
    """Seconds that a writer waits for another one of the same series."""

    def write(self, series: Series, bars: pa.Table) -> WriteReport:
        """Merge ``bars`` into the series; where an open time is there already, the new bar wins.

        Parameters
        ----------
        series : Series
            Which series.
        bars : pyarrow.Table
            Any table that :func:`~crucible.market.bars.check_bars` accepts.

        Raises
        ------
        SchemaError
            If the bars are not usable; nothing is written.
        ProcessError
            If another writer holds the series for longer than ``patience``.
        StoreError
            If the disk refuses or a partition is damaged; the store is as it was.
        """
        bars = check_bars(bars, series.interval, f"The bars for {series}")
        folder = series.folder(self.root)
        with exclusive(folder, str(series), self.patience):
            for litter in folder.glob("month=*/.*.tmp"):  # of a writer that was killed
                litter.unlink(missing_ok=True)
            contents: dict[Path, bytes] = {}
            new = changed = 0
            for month, part in _by_month(bars):
                path = folder / f"month={month}" / FILE
                stored = decode(path) if path.exists() else empty_bars()
                merged = _merge(stored, part)
                added = merged.num_rows - stored.num_rows
                replaced = part.num_rows - added - _common(stored, part)
                if added or replaced:
                    contents[path] = encode(merged)
                new, changed = new + added, changed + replaced
            write_files(contents)
        return WriteReport(new, changed, self.coverage(series).rows, len(contents))

    def read(self, series: Series, start: datetime | None = None, end: datetime | None = None) -> pa.Table:
        """Return the bars with ``start <= open_time < end``, sorted; an empty table where there are none.

        Raises
        ------
        StoreError
            If a partition is damaged.
        """
        parts = [decode(path) for path in self._files_between(series, start, end)]
        bars = pa.concat_tables([empty_bars(), *parts]).combine_chunks()
        times = open_times(bars)
        first = 0 if start is None else int(np.searchsorted(times, to_micros(start)))
        last = len(times) if end is None else int(np.searchsorted(times, to_micros(end)))
        return bars.slice(first, max(last - first, 0))

    def times(self, series: Series) -> np.ndarray:
        """Return every stored open time, int64 microseconds since 1970-01-01T00:00Z, ascending.

        Raises
        ------
        StoreError
            If a partition is damaged.
        """
        parts = [open_times(decode(path, ["open_time"])) for path in self.files(series)]
        return np.concatenate([np.empty(0, dtype=np.int64), *parts])

    def files(self, series: Series) -> list[Path]:
        """Return the partitions of the series, oldest first."""
        return sorted(series.folder(self.root).glob(f"month=*/{FILE}"))

    def coverage(self, series: Series) -> Coverage:
        """Return what is stored of the series, and where bars are missing; :class:`StoreError` as in :meth:`read`."""
        return cover(self.times(series), series.interval)

    def digest(self, series: Series, start: datetime | None = None, end: datetime | None = None) -> str:
        """Return the SHA-256 (hex) of the bars with ``start <= open_time < end``: their values and nothing else."""
        bars = self.read(series, start, end)
        digest = hashlib.sha256(",".join(bars.column_names).encode())
        digest.update(open_times(bars).astype("<i8").tobytes())
        for name in bars.column_names[1:]:
            digest.update((bars[name].to_numpy() + 0.0).astype("<f8").tobytes())  # + 0.0: -0.0 equals 0.0
        return digest.hexdigest()

    def series(self) -> list[Series]:
        """Return every series of which something is stored."""
        folders = {path.parent.parent for path in self.root.glob(f"source=*/symbol=*/interval=*/month=*/{FILE}")}
        return sorted(found for folder in folders if (found := Series.of_folder(folder)) is not None)

    def absent(self, series: Series) -> list[tuple[datetime, datetime]]:
        """Return the ranges ``[start, end)`` for which the source itself has no bars, as noted by :meth:`note_absent`.

        Raises
        ------
        StoreError
            If the note is damaged.
        """
        path = series.folder(self.root) / "absent.json"
        try:
            rows = json.loads(path.read_text()) if path.exists() else []
            return [(datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in rows]
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(f"{path} is damaged ({error}); delete it, it is written anew.") from error

    def note_absent(self, series: Series, ranges: Sequence[tuple[datetime, datetime]]) -> None:
        """Remember that the source has no bars in ``ranges``, so that they are not asked for again.

        Raises
        ------
        ProcessError, StoreError
            As :meth:`write`.
        """
        folder = series.folder(self.root)
        with exclusive(folder, str(series), self.patience):
            known = sorted({*self.absent(series), *ranges})
            rows = [[start.astimezone(UTC).isoformat(), end.astimezone(UTC).isoformat()] for start, end in known]
            write_atomic(folder / "absent.json", (json.dumps(rows, indent=1) + "\n").encode())

    def forget_absent(self, series: Series) -> None:
        """Forget what :meth:`note_absent` noted, so that it is asked for again."""
        with exclusive(series.folder(self.root), str(series), self.patience):
            (series.folder(self.root) / "absent.json").unlink(missing_ok=True)

    def _files_between(self, series: Series, start: datetime | None, end: datetime | None) -> list[Path]:
        low = "" if start is None else f"month={start.astimezone(UTC):%Y-%m}"
        last = None if end is None else end.astimezone(UTC) - timedelta(microseconds=1)
        high = "~" if last is None else f"month={last:%Y-%m}"
        return [path for path in self.files(series) if low <= path.parent.name <= high]


def _by_month(bars: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    months = open_times(bars).view("datetime64[us]").astype("datetime64[M]")
    starts = np.flatnonzero(np.diff(months, prepend=months[0] - 1))
    for first, last in zip(starts, [*starts[1:], len(months)], strict=True):
        yield str(months[first]), bars.slice(first, last - first)


def _merge(stored: pa.Table, fresh: pa.Table) -> pa.Table:
    if not stored.num_rows:
        return fresh
    kept = stored.filter(pa.array(~np.isin(open_times(stored), open_times(fresh))))
    both = pa.concat_tables([kept, fresh])
    return both.take(pc.sort_indices(both, sort_keys=[("open_time", "ascending")])).cast(BAR_SCHEMA)


def _common(stored: pa.Table, fresh: pa.Table) -> int:
    """Return how many bars of ``fresh`` are in ``stored`` already, with the same values."""
    _, there, here = np.intersect1d(open_times(stored), open_times(fresh), assume_unique=True, return_indices=True)
    same = np.ones(len(there), dtype=bool)
    for name in fresh.column_names[1:]:
        same &= stored[name].to_numpy()[there] == fresh[name].to_numpy()[here]
    return int(same.sum())
