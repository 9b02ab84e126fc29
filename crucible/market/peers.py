"""Bars of several symbols side by side: one table, so that whatever cuts or delays bars does it to all of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from crucible.market.bars import PRICES, open_times


def join_peers(bars: pa.Table, peers: Mapping[str, pa.Table]) -> pa.Table:
    """Return ``bars`` with the columns of other symbols beside them, by open time.

    Parameters
    ----------
    bars : pyarrow.Table
        The own symbol's, ``BAR_SCHEMA``, ascending.
    peers : mapping of str to pyarrow.Table
        The others' by symbol (``ETHUSDT``), likewise, of the same interval.

    Returns
    -------
    pyarrow.Table
        One row per own bar; the columns ``ethusdt_open, ..., ethusdt_volume`` are null where the other has no bar.
    """
    own = open_times(bars)
    for symbol, table in peers.items():
        theirs = open_times(table)
        at = np.searchsorted(theirs, own)
        found = np.zeros(len(own), dtype=bool)
        inside = at < len(theirs)
        found[inside] = theirs[at[inside]] == own[inside]
        rows = pa.array(np.where(found, at, 0), mask=~found)
        for name in (*PRICES, "volume"):
            # one chunk each: pages of another length than the own columns' would only slow down what follows
            values = table[name].combine_chunks().take(rows) if table.num_rows else pa.nulls(len(own), pa.float64())
            bars = bars.append_column(f"{symbol.lower()}_{name}", values)
    return bars
