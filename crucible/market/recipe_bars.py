"""The bars that a recipe's features see: stored bars, made into longer ones where it asks for that."""

from __future__ import annotations

import hashlib
from datetime import datetime

import pyarrow as pa

from crucible.data_settings import DataSection
from crucible.errors import DataError
from crucible.market.bars import floor_time
from crucible.market.peers import join_peers
from crucible.market.resample import Resampled, resample
from crucible.market.series import Series
from crucible.market.store import BarStore


def series_of(data: DataSection) -> Series:
    """Return the stored series that a recipe reads."""
    return Series(data.venue, data.symbol, data.stored)


def history_of(store: BarStore, data: DataSection) -> tuple[datetime, datetime]:
    """Return ``[start, end)`` of the recipe's history, counted back from the newest close on its grid.

    Raises
    ------
    DataError
        If no bars are stored.
    """
    last = store.coverage(series_of(data)).last
    if last is None:
        raise DataError(f"No bars of {series_of(data)} are stored; run `crucible bars backfill RECIPE` first.")
    end = last_close(last + data.stored, data)
    return end - data.history, end


def last_close(at: datetime, data: DataSection) -> datetime:
    """Return the last instant at or before ``at`` at which one of the recipe's bars closes."""
    return floor_time(at - data.offset, data.interval) + data.offset


def read_bars(store: BarStore, data: DataSection, start: datetime | None, end: datetime | None) -> pa.Table:
    """Return the complete bars of length ``data.interval`` with ``start <= open_time < end``.

    Columns of the recipe's peers stand beside the own ones, see :func:`crucible.market.peers.join_peers`.
    """
    own, *peers = data.members
    bars = made_of(store.read(series_of(own), start, end), own).bars
    theirs = {peer.symbol: made_of(store.read(series_of(peer), start, end), peer).bars for peer in peers}
    return join_peers(bars, theirs) if theirs else bars


def bars_digest(store: BarStore, data: DataSection, start: datetime, end: datetime) -> str:
    """Return the SHA-256 (hex) of the stored bars that the recipe reads, its peers' included."""
    parts = [store.digest(series_of(member), start, end) for member in data.members]
    return parts[0] if len(parts) == 1 else hashlib.sha256("\n".join(parts).encode()).hexdigest()


def made_of(stored: pa.Table, data: DataSection, closed_at: datetime | None = None) -> Resampled:
    """Return the recipe's bars from stored ones; see :func:`crucible.market.resample.resample`."""
    return resample(stored, data.stored, data.interval, offset=data.offset, complete=data.complete, closed_at=closed_at)
