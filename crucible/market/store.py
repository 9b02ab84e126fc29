"""The bar store: immutable monthly Parquet partitions, replaced whole and atomically.

Layout, below the root: ``source=binance/symbol=BTCUSDT/interval=5m/month=2026-01/`` holds ``bars.parquet`` (the
truth), ``manifest.json`` (an account of it) and ``.lock`` (one writer at a time); the series' folder holds
``gaps.json`` (why bars are missing). ``quarantine/`` has the same layout below it, for partitions that were put aside.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crucible.clock import Clock, SystemClock
from crucible.market import manifest
from crucible.market.bars import check_bars, empty_bars, open_times, to_micros
from crucible.market.ledger import GapLedger
from crucible.market.lock import exclusive
from crucible.market.manifest import Manifest, describe, read_manifest
from crucible.market.partition import (
    FILE,
    FILLED_FROM,
    STORED_SCHEMA,
    as_own,
    decode,
    digest_of,
    empty_stored,
    encode,
)
from crucible.market.series import Coverage, Gap, Series, joined_gaps
from crucible.process import write_files

__all__ = ["BarStore", "Coverage", "Gap", "Series", "WriteReport"]


@dataclass(frozen=True)
class WriteReport:
    """What a write changed.

    Attributes
    ----------
    rows_new : int
        Bars that were not there before.
    rows_changed : int
        Bars that replaced others with the same open time and different values: the source has revised them, or a
        repair had put another source's bar there.
    months : tuple of str
        Partitions written, as ``2026-01``; empty when everything was there already.
    """

    rows_new: int
    rows_changed: int
    months: tuple[str, ...]

    @property
    def partitions(self) -> int:
        """How many partitions were written."""
        return len(self.months)


@dataclass(frozen=True)
class BarStore:
    """Bars on disk, below ``root``.

    Readers need no lock: a partition is replaced by a rename, so they see the old file or the new one.
    """

    root: Path
    patience: float = 5.0
    """Seconds that a writer waits for another one of the same partition."""
    clock: Clock = field(default_factory=SystemClock)
    """Dates the manifests."""

    def write(self, series: Series, bars: pa.Table, *, source: str = "", filled_from: str | None = None) -> WriteReport:
        """Merge ``bars`` into the series; where an open time is there already, the new bar wins.

        Writers of different months run side by side; of the same month one waits for the other. Every partition is on
        the disk under a temporary name before the first is renamed into place.

        Parameters
        ----------
        series : Series
            Which series.
        bars : pyarrow.Table
            Any table that :func:`~crucible.market.bars.check_bars` accepts.
        source : str
            By which way they came, for the manifest; the series' source by default.
        filled_from : str, optional
            The name of another source whose bars these are. They go into gaps only: a bar of the series' own source
            is never replaced by them, and replaces them when it comes.

        Raises
        ------
        SchemaError
            If the bars are not usable; nothing is written.
        ProcessError
            If another writer holds one of the months for longer than ``patience``.
        StoreError
            If the disk refuses or a partition is damaged; the store is as it was.
        """
        bars = as_own(check_bars(bars, series.interval, f"The bars for {series}"), filled_from)
        folder = series.folder(self.root)
        parts = [(month, folder / f"month={month}", part) for month, part in _by_month(bars)]
        contents: dict[Path, bytes] = {}
        accounts: dict[Path, bytes] = {}
        new = changed = 0
        with ExitStack() as held:
            for month, home, _ in parts:  # in order of time, so that two writers cannot wait for each other
                held.enter_context(exclusive(home, f"{series} {month}", self.patience))
            for _, home, part in parts:
                for litter in home.glob(".*.tmp"):  # of a writer that was killed
                    litter.unlink(missing_ok=True)
                path = home / FILE
                merged, added, replaced = _merge(
                    decode(path, STORED_SCHEMA.names) if path.exists() else empty_stored(), part
                )
                if added or replaced:
                    contents[path] = encode(merged)
                    account = describe(
                        merged, contents[path], series.interval, source or series.source, self.clock.now()
                    )
                    accounts[home / manifest.FILE] = account.to_json()
                new, changed = new + added, changed + replaced
            # a manifest is renamed after its bars: the one that a crash leaves behind is older, and seen not to fit
            write_files({**contents, **accounts})
        months = tuple(path.parent.name.removeprefix("month=") for path in contents)
        return WriteReport(new, changed, months)

    def read(self, series: Series, start: datetime | None = None, end: datetime | None = None) -> pa.Table:
        """Return the bars with ``start <= open_time < end``, sorted; an empty table where there are none.

        Bars that a repair took from another source are among them; :meth:`filled` tells which.

        Raises
        ------
        StoreError
            If a partition is damaged.
        """
        files = self._files_between(series, start, end)
        with ThreadPoolExecutor(2) as pool:  # decoding releases the interpreter's lock
            parts = list(pool.map(decode, files))
        bars = pa.concat_tables([empty_bars(), *parts])
        # only the outermost months reach beyond the range
        if parts and start is not None:
            bars = bars.slice(int(np.searchsorted(open_times(parts[0]), to_micros(start))))
        if parts and end is not None:
            beyond = parts[-1].num_rows - int(np.searchsorted(open_times(parts[-1]), to_micros(end)))
            bars = bars.slice(0, max(bars.num_rows - beyond, 0))
        return bars

    def latest(self, series: Series) -> pa.Table:
        """Return the newest bar, a table of one row; of none where nothing is stored.

        Raises
        ------
        StoreError
            If the newest partition is damaged.
        """
        files = self.files(series)
        if not files:
            return empty_bars()
        bars = decode(files[-1], newest=True)
        return bars.slice(bars.num_rows - 1)

    def times(self, series: Series, *, own: bool = False) -> np.ndarray:
        """Return every stored open time, int64 microseconds since 1970-01-01T00:00Z, ascending.

        Parameters
        ----------
        series : Series
            Which series.
        own : bool
            Whether to leave out bars that a repair took from another source.

        Raises
        ------
        StoreError
            If a partition is damaged.
        """
        parts = [np.empty(0, dtype=np.int64)]
        for path in self.files(series):
            bars = decode(path, ["open_time", FILLED_FROM] if own else ["open_time"])
            parts.append(open_times(bars.filter(pc.is_null(bars[FILLED_FROM])) if own else bars))
        return np.concatenate(parts)

    def files(self, series: Series) -> list[Path]:
        """Return the partitions of the series, oldest first."""
        return sorted(series.folder(self.root).glob(f"month=*/{FILE}"))

    def manifests(self, series: Series) -> dict[str, Manifest]:
        """Return the manifest of each month (``2026-01``), oldest first; :class:`StoreError` as in :meth:`read`."""
        return {
            path.parent.name.removeprefix("month="): read_manifest(path, series.interval) for path in self.files(series)
        }

    def coverage(self, series: Series) -> Coverage:
        """Return what is stored of the series, and where bars are missing, from the manifests alone.

        Raises
        ------
        StoreError
            If a partition is damaged.
        """
        parts = list(self.manifests(series).values())
        gaps = joined_gaps([(part.first, part.last, part.gaps) for part in parts], series.interval)
        return Coverage(
            first=parts[0].first if parts else None,
            last=parts[-1].last if parts else None,
            rows=sum(part.rows for part in parts),
            missing=sum(gap.bars for gap in gaps),
            gaps=gaps,
        )

    def digest(self, series: Series, start: datetime | None = None, end: datetime | None = None) -> str:
        """Return the SHA-256 (hex) of the bars with ``start <= open_time < end``: their values and nothing else."""
        return digest_of(self.read(series, start, end))

    def series(self) -> list[Series]:
        """Return every series of which something is stored."""
        folders = {path.parent.parent for path in self.root.glob(f"source=*/symbol=*/interval=*/month=*/{FILE}")}
        return sorted(found for folder in folders if (found := Series.of_folder(folder)) is not None)

    def ledger(self, series: Series) -> GapLedger:
        """Return the notes on why bars of the series are missing."""
        return GapLedger(series.folder(self.root), series, self.patience)

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


def _merge(stored: pa.Table, fresh: pa.Table) -> tuple[pa.Table, int, int]:
    """Return stored and fresh bars as one table, how many of the fresh ones are new, and how many replace others."""
    before, after = open_times(stored), open_times(fresh)
    if not len(before) or after[0] > before[-1]:
        return pa.concat_tables([stored, fresh]), len(after), 0
    common, there, here = np.intersect1d(before, after, assume_unique=True, return_indices=True)
    differs = _differs(stored.take(there), fresh.take(here))
    if fresh[FILLED_FROM].null_count == 0:  # another source's bars: they never replace one of our own
        differs &= ~pc.is_null(stored[FILLED_FROM].take(there)).to_numpy()
    drop = np.isin(before, common[differs])
    keep = ~np.isin(after, common[~differs])
    both = pa.concat_tables([stored.filter(pa.array(~drop)), fresh.filter(pa.array(keep))])
    merged = both.take(pc.sort_indices(both, sort_keys=[("open_time", "ascending")])).cast(STORED_SCHEMA)
    return merged, len(after) - len(common), int(differs.sum())


def _differs(stored: pa.Table, fresh: pa.Table) -> np.ndarray:
    differs = np.zeros(stored.num_rows, dtype=bool)
    for name in empty_bars().column_names[1:]:
        differs |= stored[name].to_numpy() != fresh[name].to_numpy()
    filled = [pc.fill_null(table[FILLED_FROM], "").to_numpy(zero_copy_only=False) for table in (stored, fresh)]
    return differs | (filled[0] != filled[1])
