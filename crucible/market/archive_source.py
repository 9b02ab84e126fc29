"""Binance's bulk archives: one zip per month or day, each with its checksum."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta

import pyarrow as pa

from crucible.clock import Clock, SystemClock
from crucible.errors import SchemaError, SourceError
from crucible.market.bars import BAR_SCHEMA, ceil_micros, check_bars, from_micros, open_times, to_micros
from crucible.market.ccxt_client import check_url
from crucible.market.files import instants_of_counts
from crucible.market.http import Http
from crucible.market.klines import interval_name
from crucible.market.ledger import Cause
from crucible.market.source import Page, Retry
from crucible.venue import market_of, venue_of

HOST = "https://data.binance.vision"
_FOLDERS = {"spot": "data/spot", "perpetual": "data/futures/um"}
_DAY = timedelta(days=1)


class ArchiveSource:
    """Whole months where they are archived, whole days where the month is not; nothing for today.

    Parameters
    ----------
    name : str
        ``binance_archive`` or ``binance_perpetual_archive``.
    base_url : str
        ``http://host:port`` to use in place of the archive's host; empty for the real one.
    retry : Retry, optional
        As in :class:`~crucible.market.http.Http`. A file that does not fit its checksum is fetched again, too.
    clock : Clock, optional
        Tells which months and days may be there.

    Raises
    ------
    SettingsError
        If ``base_url`` is no HTTP URL.
    """

    absence: Cause = "exchange down"

    def __init__(
        self, name: str, base_url: str = "", *, retry: Retry | None = None, clock: Clock | None = None
    ) -> None:
        if base_url:
            check_url(base_url)
        self.name = name
        self.venue = venue_of(name)
        self._root = f"{base_url.rstrip('/') or HOST}/{_FOLDERS[market_of(name)]}"
        self._retry = retry or Retry()
        self._http = Http(f"{name} at {base_url}" if base_url else name, retry=self._retry)
        self._clock = clock or SystemClock()

    def now(self) -> datetime:
        """Return the present: an archive has no clock, and nothing of the present either."""
        return self._clock.now()

    def bars(self, symbol: str, interval: timedelta, start: datetime, end: datetime) -> Iterator[Page]:
        """Yield the bars with ``start <= open_time < end``, a page per file; see :class:`.Source`."""
        cursor = from_micros(ceil_micros(start, interval))
        stop = min(end.astimezone(UTC), self.now())
        name = interval_name(interval, self.name)
        while cursor < stop:
            month = datetime(cursor.year, cursor.month, 1, tzinfo=UTC)
            after = (month + timedelta(days=32)).replace(day=1)
            # a few days of a month are cheaper one by one, if the days are all over
            whole = min(after, stop) - cursor > 3 * _DAY
            bars = self._file("monthly", symbol, name, f"{month:%Y-%m}", interval) if whole else None
            if bars is None:
                after = datetime.combine(cursor.date() + _DAY, time(), UTC)
                bars = self._file("daily", symbol, name, f"{cursor:%Y-%m-%d}", interval)
            if bars is not None:
                low, high = cursor, min(after, stop)
                inside = open_times(bars)
                wanted = bars.filter(pa.array((inside >= to_micros(low)) & (inside < to_micros(high))))
                yield Page(low, from_micros(ceil_micros(high, interval)), wanted)
            cursor = after

    def _file(self, span: str, symbol: str, interval: str, date: str, length: timedelta) -> pa.Table | None:
        file = f"{symbol}-{interval}-{date}.zip"
        url = f"{self._root}/{span}/klines/{symbol}/{interval}/{file}"
        stated = self._http.get(f"{url}.CHECKSUM")
        if stated is None:
            return None
        expected = stated.decode(errors="replace").split(maxsplit=1)[0] if stated.strip() else ""
        for _ in range(self._retry.attempts):
            content = self._http.get(url)
            if content is None:
                return None
            if hashlib.sha256(content).hexdigest() == expected:
                return _bars_of_zip(content, length, url)
        raise SourceError(f"{url} does not fit its checksum, {self._retry.attempts} times.")


def _bars_of_zip(content: bytes, interval: timedelta, url: str) -> pa.Table:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            text = archive.read(archive.namelist()[0]).decode()
        rows = list(csv.reader(io.StringIO(text)))
        rows = rows[1:] if rows and not rows[0][0].isdigit() else rows  # the futures' files have a header
        times = instants_of_counts(pa.chunked_array([pa.array([int(row[0]) for row in rows], pa.int64())]))
        numbers = [pa.array([row[index] for row in rows], pa.string()).cast(pa.float64()) for index in range(1, 6)]
        return check_bars(pa.table([times, *numbers], names=BAR_SCHEMA.names), interval, url)
    except (zipfile.BadZipFile, pa.ArrowException, SchemaError, ValueError, IndexError) as error:
        raise SourceError(f"The archive holds nonsense: {error} ({url})") from error
