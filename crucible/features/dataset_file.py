"""Datasets as Parquet files, named by what they were computed from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crucible.errors import StoreError
from crucible.features.dataset import Dataset
from crucible.features.engine import feature_digest
from crucible.process import write_atomic
from crucible.recipe import Recipe

_FIXED = ("t", "close", "target")


def dataset_path(features: Path, recipe: Recipe, bars_digest: str) -> Path:
    """Return where the dataset of ``recipe`` over bars of this digest is kept below ``features``."""
    return features / recipe.name / f"{feature_digest(recipe)[:16]}-{bars_digest[:16]}.parquet"


def write_dataset(path: Path, dataset: Dataset) -> None:
    """Write ``dataset`` atomically: columns ``t`` (UTC), ``close``, ``target`` and one per feature.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    columns = {
        "t": pa.array(dataset.times, type=pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
        "close": dataset.close,
        "target": dataset.y,
        **{name: dataset.x[:, index] for index, name in enumerate(dataset.names)},
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())


def read_dataset(path: Path) -> Dataset:
    """Read what :func:`write_dataset` wrote.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    """
    try:
        table = pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read ({error}); materialise `features` again.") from error
    names = tuple(name for name in table.column_names if name not in _FIXED)
    return Dataset(
        times=table["t"].cast(pa.timestamp("us")).to_numpy(),
        close=table["close"].to_numpy(),
        x=np.ascontiguousarray(np.column_stack([table[name].to_numpy() for name in names])),
        y=table["target"].to_numpy(),
        names=names,
    )
