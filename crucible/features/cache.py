"""Features kept by month, addressed by what they were computed from: a new day computes the new day's month."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crucible.errors import StoreError
from crucible.features.engine import FeatureFrame, compute_features, feature_digest, warmup_bars
from crucible.market.bars import open_times
from crucible.market.partition import digest_of
from crucible.process import write_atomic
from crucible.recipe import Recipe

_KEPT = 3  # versions of one month: what came before a repair, and what another history needs


@dataclass(frozen=True)
class CachedFeatures:
    """Features of a history, and how many of its months had to be computed.

    Attributes
    ----------
    frame : FeatureFrame
        The same, to the bit, as :func:`~crucible.features.engine.compute_features` gives.
    computed, read : int
        Months.
    """

    frame: FeatureFrame
    computed: int
    read: int


def cached_features(root: Path, bars: pa.Table, recipe: Recipe) -> CachedFeatures:
    """Return the recipe's features over ``bars``, computing only the months that are not kept yet.

    The file of a month is ``<root>/month=2026-01/<key>.parquet``; the key is the SHA-256 of what computes the features
    and of the bars that they look back on, so a file is right whenever it is there.

    Parameters
    ----------
    root : pathlib.Path
        Where months are kept.
    bars : pyarrow.Table
        Closed bars in ``BAR_SCHEMA``, ascending.
    recipe : Recipe
        Which features.

    Raises
    ------
    DataError
        If there are no bars, or a feature cannot be computed.
    StoreError
        If a kept file is damaged, or the disk refuses.
    """
    digest, lookback = feature_digest(recipe), warmup_bars(recipe)
    parts, computed = [], 0
    for month, low, high in _months(bars, recipe):
        start = max(low - lookback, 0)
        seen = bars.slice(start, high - start)
        key = hashlib.sha256(f"{digest}:{low - start}:{digest_of(seen)}".encode()).hexdigest()[:32]
        path = root / f"month={month}" / f"{key}.parquet"
        if not path.exists():
            _write(path, compute_features(seen, recipe), low - start)
            computed += 1
        parts.append(_read(path))
    if not parts:
        return CachedFeatures(compute_features(bars, recipe), 0, 0)
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].names}
    times, close = (np.concatenate([getattr(part, name) for part in parts]) for name in ("times", "close"))
    return CachedFeatures(FeatureFrame(times, close, columns), computed, len(parts) - computed)


def _months(bars: pa.Table, recipe: Recipe) -> Iterator[tuple[str, int, int]]:
    """Yield each month of prediction times, and the rows that it has."""
    closes = open_times(bars).view("datetime64[us]") + np.timedelta64(recipe.data.interval)
    months = closes.astype("datetime64[M]")
    starts = np.flatnonzero(np.diff(months, prepend=months[:1] - 1))
    for low, high in zip(starts.tolist(), [*starts[1:].tolist(), len(months)], strict=True):
        yield str(months[low]), low, high


def _write(path: Path, frame: FeatureFrame, skip: int) -> None:
    table = pa.table(
        {"t": frame.times[skip:], "close": frame.close[skip:]}
        | {f"f_{name}": values[skip:] for name, values in frame.columns.items()}
    )
    sink = pa.BufferOutputStream()
    # not compressed: noise does not shrink, and reading must be faster than computing
    pq.write_table(table, sink, compression="none", use_dictionary=False, write_page_checksum=True)
    write_atomic(path, sink.getvalue().to_pybytes())
    older = sorted(path.parent.glob("*.parquet"), key=lambda file: file.stat().st_mtime_ns)[:-_KEPT]
    for file in older:
        file.unlink(missing_ok=True)


def _read(path: Path) -> FeatureFrame:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"{path} is damaged ({str(error).splitlines()[0]}); delete it, it is computed anew."
        ) from error
    columns = {name[2:]: table[name].to_numpy() for name in table.column_names if name.startswith("f_")}
    return FeatureFrame(table["t"].to_numpy(), table["close"].to_numpy(), columns)
