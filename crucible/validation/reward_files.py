"""Files of a reward backtest: a candidate's predictions, and recorded inferences of the network's workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from crucible.errors import MechanismError, SchemaError
from crucible.network.field import RecordedField, Truth
from crucible.validation.predictions import numbers, read_table


def read_candidate(path: Path) -> tuple[np.ndarray, np.ndarray, Truth]:
    """Return epochs, predictions and truth of a Parquet or CSV file.

    It has a row per epoch of the topic, in time order, with the columns ``time`` (a timestamp, or a whole number such
    as a block height), ``prediction`` and ``actual``; and may have ``reference`` (what somebody without skill says: the
    present price, for a price topic) and ``scale`` (standard deviation of the change, as known at the time).

    Returns
    -------
    times : numpy.ndarray
        Shape (epochs,), int64: microseconds since 1970 UTC, or the numbers of the file.
    predictions : numpy.ndarray
        Shape (epochs,), topic units.
    truth : Truth
        Of the same epochs.

    Raises
    ------
    SchemaError
        If the file cannot be read, lacks a column, or holds anything but finite numbers in ascending order of time.
    """
    table = read_table(path, ("time", "prediction", "actual"))
    times = _times(path, table)
    if not (np.diff(times) > 0).all():
        row = int(np.flatnonzero(np.diff(times) <= 0)[0]) + 1
        raise SchemaError(f"{path}: column 'time' does not ascend in row {row}; sort the rows, one per epoch.")
    more = {name: numbers(path, table, name) for name in ("reference", "scale") if name in table.column_names}
    predictions, actual = numbers(path, table, "prediction"), numbers(path, table, "actual")
    try:
        return times, predictions, Truth.of(actual, more.get("reference"), more.get("scale"))
    except MechanismError as error:
        raise SchemaError(f"{path} cannot be used: {error}.") from error


def read_field(path: Path, times: np.ndarray) -> tuple[np.ndarray, RecordedField]:
    """Return recorded inferences at ``times``.

    The Parquet or CSV file has the column ``time`` and either ``worker`` and ``inference``, a row per submission, or a
    column per worker, empty where one did not submit. Of epochs without two workers at least nothing is used.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    times : numpy.ndarray
        Shape (epochs,), int64, ascending: of the candidate, as :func:`read_candidate` returns them.

    Returns
    -------
    kept : numpy.ndarray
        Shape (kept,), int: which of ``times`` the field covers.
    field : RecordedField
        Of these.

    Raises
    ------
    SchemaError
        If the file cannot be read or used, names a worker twice in an epoch, or covers none of ``times``.
    """
    table = read_table(path, ("time",))
    stamps = _times(path, table)
    if "worker" in table.column_names or "inference" in table.column_names:
        read_table(path, ("time", "worker", "inference"))
        names = np.array([str(name) for name in table["worker"].to_pylist()])
        who, column = np.unique(names, return_inverse=True)
        known, row = np.unique(stamps, return_inverse=True)
        filled = np.zeros((len(known), len(who)), dtype=int)
        np.add.at(filled, (row, column), 1)
        if (filled > 1).any():
            raise SchemaError(f"{path}: worker {str(who[np.argwhere(filled > 1)[0][1]])!r} infers twice in one epoch.")
        values = np.full(filled.shape, np.nan)
        values[row, column] = numbers(path, table, "inference", gaps=True)
    else:
        workers = [name for name in table.column_names if name != "time"]
        if len(workers) < 2:
            raise SchemaError(f"{path} has no columns 'worker' and 'inference', and fewer than two other columns.")
        known, first = np.unique(stamps, return_index=True)
        if len(known) < len(stamps):
            raise SchemaError(f"{path}: column 'time' has a time twice; a wide table has a row per epoch.")
        values = np.stack([numbers(path, table, name, gaps=True) for name in workers], axis=1)[first]
    _, kept, at = np.intersect1d(times, known, return_indices=True)
    values = values[at]
    enough = (~np.isnan(values)).sum(1) >= 2
    if not enough.any():
        raise SchemaError(f"{path} has no epoch of the predictions in which two workers infer.")
    return kept[enough], RecordedField(values[enough])


def _times(path: Path, table: pa.Table) -> np.ndarray:
    column = table["time"]
    kind = column.type
    if column.null_count:
        raise SchemaError(f"{path}: column 'time' is empty in some row.")
    if pa.types.is_integer(kind):
        return column.cast(pa.int64()).to_numpy()
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us"))
    elif not pa.types.is_timestamp(kind):
        raise SchemaError(f"{path}: column 'time' holds {kind}, not timestamps or whole numbers.")
    return column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=False).cast(pa.int64()).to_numpy()
