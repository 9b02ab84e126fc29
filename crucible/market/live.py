"""The newest closed bars, for a worker that is about to predict."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa

from crucible.duration import format_duration
from crucible.errors import StaleError
from crucible.market.bars import empty_bars, floor_time, from_micros, open_times
from crucible.market.source import Source


def recent_bars(source: Source, symbol: str, interval: timedelta, count: int, at: datetime | None = None) -> pa.Table:
    """Return the last ``count`` bars that had closed at ``at``; fewer where the source has gaps.

    Costs one request per 1000 bars, and one for the exchange's time.

    Parameters
    ----------
    source : Source
        Where bars come from.
    symbol : str
        The exchange's own id.
    interval : timedelta
        Length of a bar.
    count : int
        How many bar lengths to look back.
    at : datetime, optional
        An aware instant; the exchange's present by default.

    Raises
    ------
    SourceError
        If the exchange cannot be reached, refuses, or answers nonsense.
    """
    end = floor_time(source.now() if at is None else at, interval)
    pages = source.bars(symbol, interval, end - count * interval, end)
    return pa.concat_tables([empty_bars(), *pages]).combine_chunks()


def require_fresh(bars: pa.Table, interval: timedelta, now: datetime, max_staleness: timedelta) -> None:
    """Raise :class:`StaleError` unless the newest bar closed at most ``max_staleness`` before ``now``."""
    if not bars.num_rows:
        raise StaleError("There is not one closed bar; the market may be halted, or the symbol not listed yet.")
    closed = from_micros(int(open_times(bars)[-1])) + interval
    age = now - closed
    if age > max_staleness:
        raise StaleError(
            f"The newest bar closed at {closed.isoformat()}, {int(age.total_seconds())} s ago; "
            f"at most {format_duration(max_staleness)} is allowed."
        )
