"""Real bars from files, replayed: the clock decides which of them have happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from crucible.market.bars import PRICES, from_micros, open_times
from crucible.practice.candles import Candles


@dataclass
class ReplayMarket:
    """Recorded bars of one or more symbols.

    Parameters
    ----------
    bars : mapping of str to pyarrow.Table
        Per symbol the bars, checked (:func:`crucible.market.bars.check_bars`), all of the length ``base``.
        Gaps stay gaps; a longer candle of which a part is missing is not served.
    base : timedelta
        Length of a bar.
    """

    bars: Mapping[str, pa.Table]
    base: timedelta
    _views: dict[tuple[str, int], Candles] = field(default_factory=dict, repr=False)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in the order given."""
        return tuple(self.bars)

    @property
    def first(self) -> datetime:
        """When the first bar opens, UTC."""
        return from_micros(min(int(open_times(bars)[0]) for bars in self.bars.values())).astimezone(UTC)

    @property
    def last(self) -> datetime:
        """When the last bar closes, UTC."""
        return from_micros(max(int(open_times(bars)[-1]) for bars in self.bars.values())).astimezone(UTC) + self.base

    def candles(self, symbol: str, length_ms: int, start_ms: int, end_ms: int) -> Candles:
        """Return the whole candles that open in ``[start_ms, end_ms)``; see :class:`.Market`."""
        if (symbol, length_ms) not in self._views:
            bars = self.bars[symbol]
            columns = (bars[name].to_numpy() for name in (*PRICES, "volume"))
            recorded = Candles(open_times(bars) // 1000, *columns)
            self._views[symbol, length_ms] = recorded.merge(self.base // timedelta(milliseconds=1), length_ms)
        return self._views[symbol, length_ms].between(start_ms, end_ms)
