"""Out-of-sample predictions, and the files that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from crucible.errors import SchemaError, StoreError
from crucible.process import write_atomic

_PREFIX = "pred_"


@dataclass(frozen=True)
class OutOfSample:
    """What every candidate predicted for rows that it had not seen.

    Attributes
    ----------
    times : numpy.ndarray
        Shape (n,), ``datetime64[us]``, UTC: prediction times t, ascending.
    fold : numpy.ndarray
        Shape (n,), int: number of the test block.
    close : numpy.ndarray
        Shape (n,): price at t.
    y_true : numpy.ndarray
        Shape (n,): log return from t to t + H.
    y_pred : dict of str to numpy.ndarray
        Per candidate, shape (n,): predicted log returns.
    scale : numpy.ndarray, optional
        Shape (n,): standard deviation of the target as known at t.
    """

    times: np.ndarray
    fold: np.ndarray
    close: np.ndarray
    y_true: np.ndarray
    y_pred: dict[str, np.ndarray]
    scale: np.ndarray | None = None

    @property
    def known_scale(self) -> np.ndarray:
        """The scale, where it was kept.

        Raises
        ------
        SchemaError
            If it was not.
        """
        if self.scale is None:
            raise SchemaError("These predictions carry no scale; materialise `walk_forward` again.")
        return self.scale

    def __post_init__(self) -> None:
        columns = {"times": self.times, "fold": self.fold, "close": self.close, "y_true": self.y_true, **self.y_pred}
        shapes = {name: values.shape for name, values in columns.items()}
        if len(set(shapes.values())) > 1 or self.times.ndim != 1:
            listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise SchemaError(f"Out-of-sample columns must be lists of equal length, not {listed}.")


def write_predictions(path: Path, oos: OutOfSample) -> None:
    """Write ``oos`` as Parquet, atomically; see :func:`to_parquet`."""
    write_atomic(path, to_parquet(oos))


def to_parquet(oos: OutOfSample) -> bytes:
    """Return ``oos`` as a Parquet file: ``time`` (UTC), ``fold``, ``close``, ``y_true``, ``pred_<candidate>``."""
    table = pa.table(
        {
            "time": pa.array(oos.times, type=pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
            "fold": oos.fold,
            "close": oos.close,
            "y_true": oos.y_true,
            **({} if oos.scale is None else {"scale": oos.scale}),
            **{f"{_PREFIX}{name}": values for name, values in oos.y_pred.items()},
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read_predictions(path: Path) -> OutOfSample:
    """Read what :func:`write_predictions` wrote.

    Raises
    ------
    StoreError
        If the file is missing, damaged, or holds other columns.
    """
    try:
        table = pq.read_table(path, partitioning=None)
        names = [name for name in table.column_names if name.startswith(_PREFIX)]
        return OutOfSample(
            times=table["time"].cast(pa.timestamp("us")).to_numpy(),
            fold=table["fold"].to_numpy(),
            close=table["close"].to_numpy(),
            y_true=table["y_true"].to_numpy(),
            y_pred={name.removeprefix(_PREFIX): table[name].to_numpy() for name in names},
            scale=table["scale"].to_numpy() if "scale" in table.column_names else None,
        )
    except (OSError, KeyError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read ({error}); materialise `walk_forward` again.") from error


def read_score_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns ``y_true`` and ``y_pred`` of a Parquet or CSV file, shape (n,) each.

    Raises
    ------
    SchemaError
        If the file cannot be read, lacks a column, is empty, or holds anything but finite numbers.
    """
    table = read_table(path, ("y_true", "y_pred"))
    return numbers(path, table, "y_true"), numbers(path, table, "y_pred")


def read_table(path: Path, columns: tuple[str, ...]) -> pa.Table:
    """Return the table of a Parquet or CSV file that has each of ``columns`` once, and a row at least.

    Raises
    ------
    SchemaError
        If the file cannot be read, lacks a column, or is empty.
    """
    try:
        # a CSV is told by its name, everything else must be Parquet
        is_csv = path.suffix.lower() == ".csv"
        table = pyarrow.csv.read_csv(path) if is_csv else pq.read_table(path, partitioning=None)
        names = table.column_names
    except FileNotFoundError:
        raise SchemaError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise SchemaError(
            f"{path} is neither Parquet nor CSV that can be read: {str(error).splitlines()[0].rstrip('.')}."
        ) from error
    if not table.num_rows:
        raise SchemaError(f"{path} has no rows.")
    for name in columns:
        if names.count(name) != 1:
            fault = f"has {names.count(name)} columns" if name in names else "has no column"
            raise SchemaError(f"{path} {fault} {name!r}; it has {', '.join(names)}.")
    return table


def numbers(path: Path, table: pa.Table, name: str, *, gaps: bool = False) -> np.ndarray:
    """Return a column of ``table``, read from ``path``, as floats (n,).

    With ``gaps``, NaN and null are let through, as NaN.

    Raises
    ------
    SchemaError
        If it holds anything but finite numbers.
    """
    column = table[name]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise SchemaError(f"{path}: column {name!r} holds {column.type}, not numbers.")
    # unsafe only in that an integer above 2**53 is rounded
    values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    bad = ~np.isfinite(values) & ~(np.isnan(values) if gaps else np.zeros(len(values), dtype=bool))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise SchemaError(f"{path}: column {name!r} is not a finite number in row {row}.")
    return values
