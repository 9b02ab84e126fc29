"""Binance's kline rows: the intervals it has, and rows turned into the bar table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa

from crucible.duration import format_duration, parse_duration
from crucible.errors import SchemaError, SourceError
from crucible.market.bars import BAR_SCHEMA, check_bars

LIMIT = 1000
"""The most bars that one request returns."""

INTERVALS: dict[str, timedelta] = {
    name: parse_duration(name) for name in ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
}
"""The kline intervals up to a day, by Binance's names. (Its ``1M`` is a month; ``1m`` is a minute.)"""


def interval_name(interval: timedelta, source: str) -> str:
    """Return Binance's name of ``interval``.

    Raises
    ------
    SourceError
        If it has no bars of this length.
    """
    for name, length in INTERVALS.items():
        if length == interval:
            return name
    raise SourceError(f"{source} has no bars of {format_duration(interval)}; it has {', '.join(INTERVALS)}.")


def bars_of_klines(rows: Sequence[Sequence[Any]], interval: timedelta, origin: str) -> pa.Table:
    """Return kline rows as a checked bar table.

    Parameters
    ----------
    rows : sequence of sequence
        ``[open time (ms), open, high, low, close, volume, …]`` each, numbers as text, oldest first.
    interval : timedelta
        Length of a bar.
    origin : str
        What to call them in messages.

    Raises
    ------
    SchemaError
        If a row is not of that form, or the bars are not usable.
    """
    try:
        times = pa.array([int(row[0]) * 1000 for row in rows], pa.int64()).cast(BAR_SCHEMA.field("open_time").type)
        numbers = [pa.array([row[i] for row in rows], pa.string()).cast(pa.float64()) for i in range(1, 6)]
    except (pa.ArrowException, TypeError, ValueError, IndexError, KeyError, OverflowError) as error:
        raise SchemaError(f"{origin}: a row is not of Binance's form ({error}).") from error
    return check_bars(pa.table([times, *numbers], names=BAR_SCHEMA.names), interval, origin)
