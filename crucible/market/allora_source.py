"""Allora's data service: the reference prices of its own topics, one-minute bars, with a key."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from crucible.clock import Clock, SystemClock
from crucible.duration import format_duration
from crucible.errors import SchemaError, SourceError
from crucible.market.bars import (
    BAR_SCHEMA,
    PRICES,
    ceil_micros,
    check_bars,
    floor_time,
    from_micros,
    open_times,
    to_micros,
)
from crucible.market.ccxt_client import check_url
from crucible.market.http import Http
from crucible.market.ledger import Cause
from crucible.market.source import Page, Retry

HOST = "https://forge-data.allora.run/api"
_MINUTE = timedelta(minutes=1)
_CHUNK = timedelta(days=7)  # the service refuses more than 14 days at once


class AlloraSource:
    """The datasets ``tiingo_<symbol>_1min``.

    Parameters
    ----------
    api_key : str
        From the environment variable ``CRUCIBLE_ALLORA_KEY``; sent as a header and shown nowhere.
    base_url : str
        Root of the API in place of the real one.
    retry : Retry, optional
        As in :class:`~crucible.market.http.Http`.
    clock : Clock, optional
        The service tells no time: the newest bar is believed to have closed when a minute has passed by this clock
        and the service has sent a bar after it.

    Raises
    ------
    SourceError
        If there is no key.
    SettingsError
        If ``base_url`` is no HTTP URL.
    """

    name = "allora"
    venue = "allora"
    absence: Cause = "no trades"

    def __init__(
        self, api_key: str, base_url: str = "", *, retry: Retry | None = None, clock: Clock | None = None
    ) -> None:
        if not api_key:
            raise SourceError("Allora's data service needs a key; set CRUCIBLE_ALLORA_KEY.")
        if base_url:
            check_url(base_url)
        self._root = (base_url or HOST).rstrip("/")
        self._http = Http("Allora's data service", headers={"X-API-Key": api_key}, retry=retry)
        self._clock = clock or SystemClock()
        self._datasets: dict[str, int] = {}

    def now(self) -> datetime:
        """Return the clock's present, UTC; the service tells none."""
        return self._clock.now()

    def bars(self, symbol: str, interval: timedelta, start: datetime, end: datetime) -> Iterator[Page]:
        """Yield the closed bars with ``start <= open_time < end``; see :class:`~crucible.market.source.Source`.

        The head of the first page counts as unknown, not as missing.
        """
        if interval != _MINUTE:
            raise SourceError(
                f"allora has no bars of {format_duration(interval)}; it has 1m, which others are made of."
            )
        cursor = from_micros(ceil_micros(start, interval))
        stop = min(from_micros(ceil_micros(end, interval)), floor_time(self.now(), interval))
        known_from: datetime | None = None
        while cursor < stop:
            until = min(stop, cursor + _CHUNK)
            bars = self._chunk(symbol, cursor, until)
            if not bars.num_rows:
                # an answer can be empty by accident: a week without a trade is believed when it is said twice
                bars = self._chunk(symbol, cursor, until)
            if bars.num_rows:
                times = open_times(bars)
                low = known_from or from_micros(times[0])
                known_from = from_micros(int(times[-1])) + interval
                yield Page(low, known_from, bars)
            cursor = until

    def _chunk(self, symbol: str, start: datetime, until: datetime) -> pa.Table:
        rows = self._http.json(
            f"{self._root}/rows/bulk_download/",
            {
                "dataset": self._dataset(symbol), "output": "json",
                "start": _zulu(start), "end": _zulu(until),
            },
        )  # fmt: skip
        rows = rows.get("results") if isinstance(rows, dict) else rows
        if not isinstance(rows, list):
            raise SourceError(f"Allora's data service answered {str(rows)[:80]!r} instead of rows.")
        table = _bars_of_rows(rows, symbol)
        opened = open_times(table)
        if len(opened) and (opened[0] < to_micros(start) or opened[-1] > to_micros(until)):
            raise SourceError(
                f"Allora's data service was asked for {start} to {until}, it sent {from_micros(opened[0])} to "
                f"{from_micros(opened[-1])}; it repeats itself or ignores start and end."
            )
        if until >= floor_time(self.now(), _MINUTE):
            table = table.slice(0, max(table.num_rows - 1, 0))  # the newest may still change
        times = open_times(table)
        return table.filter(pa.array((times >= to_micros(start)) & (times < to_micros(until))))

    def _dataset(self, symbol: str) -> int:
        if symbol not in self._datasets:
            self._http.post(f"{self._root}/tags/acquire/", {"tag_name": "public"}, accept=(200, 201, 409))
            name = f"tiingo_{symbol.lower()}_1min"
            answer = self._http.json(f"{self._root}/datasets/", {"search": name, "limit": 10})
            found = answer.get("results", []) if isinstance(answer, dict) else []
            ids = [item["id"] for item in found if item.get("name") == name]  # the search also finds similar names
            if not ids:
                raise SourceError(f"Allora's data service has no dataset {name}.")
            self._datasets[symbol] = ids[0]
        return self._datasets[symbol]


def _bars_of_rows(rows: list[dict[str, Any]], symbol: str) -> pa.Table:
    if not rows:
        return BAR_SCHEMA.empty_table()
    try:
        by_time = {}
        for row in rows:
            values = row.get("values", row)
            opened = datetime.fromisoformat(row["timestamp"]).astimezone(UTC)
            by_time[to_micros(opened)] = [float(values[name]) for name in (*PRICES, "volume")]
        times = sorted(by_time)  # a page boundary repeats its row
        columns = [pa.array([by_time[at][index] for at in times], pa.float64()) for index in range(5)]
        opens = pa.array(times, pa.int64()).cast(BAR_SCHEMA.field(0).type)
        return check_bars(pa.table([opens, *columns], names=BAR_SCHEMA.names), _MINUTE, f"allora, bars of {symbol}")
    except (SchemaError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(f"Allora's data service answered nonsense: {error!r}.") from error


def _zulu(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
