"""One monthly Parquet file of bars: equal bars are equal bytes, and a flipped bit is noticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crucible.errors import StoreError
from crucible.market.bars import BAR_SCHEMA, empty_bars, open_times

FILE = "bars.parquet"

FILLED_FROM = "filled_from"
"""Null for the source's own bars; the name of the other source where a repair put its bar into a gap."""

STORED_SCHEMA: pa.Schema = BAR_SCHEMA.append(pa.field(FILLED_FROM, pa.string()))

_DIGEST = b"crucible.digest"


def encode(bars: pa.Table) -> bytes:
    """Return the Parquet file of ``bars`` (:data:`STORED_SCHEMA`); the same bars always give the same bytes.

    Every option that shapes the file is stated here, and the table is one chunk, so neither the library's defaults
    nor the way in which the bars arrived can show. Its footer carries the digest of the bars.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(
        bars.combine_chunks().replace_schema_metadata({_DIGEST: digest_of(bars).encode()}),
        sink,
        version="2.6",
        compression="zstd",
        compression_level=3,
        row_group_size=1 << 13,  # six days of minutes: the newest bar is read without the month
        data_page_version="1.0",
        use_dictionary=False,
        column_encoding={field.name: _encoding(field) for field in STORED_SCHEMA},
        write_statistics=True,
        write_page_checksum=True,
        store_schema=True,
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


def decode(path: Path, columns: list[str] | None = None, *, newest: bool = False) -> pa.Table:
    """Return the bars of a partition.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    columns : list of str, optional
        Only these of :data:`STORED_SCHEMA`; all of :data:`~crucible.market.bars.BAR_SCHEMA` by default.
    newest : bool
        Whether the last few thousand bars will do.

    Raises
    ------
    StoreError
        If the file is unreadable, altered (checksums), or not a partition of ours.
    """
    wanted = columns or BAR_SCHEMA.names
    try:
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
            # one group is read on this thread: a pool would have to be started first
            bars = (
                file.read_row_group(file.num_row_groups - 1, wanted, use_threads=False) if newest else file.read(wanted)
            )
            bars = bars.replace_schema_metadata(None)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, str(error).splitlines()[0]) from error
    if not bars.schema.equals(pa.schema([STORED_SCHEMA.field(name) for name in wanted])):
        raise StoreError(f"{path} is not a bar partition: its columns are {', '.join(bars.column_names)}.")
    if "open_time" in bars.column_names and not (np.diff(open_times(bars)) > 0).all():
        raise _damaged(path, "open_time is not ascending")
    return bars


def footer_digest(path: Path) -> str:
    """Return the digest that the file's footer states, without reading the bars; empty where it states none.

    Raises
    ------
    StoreError
        If the footer cannot be read.
    """
    try:
        metadata = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, str(error).splitlines()[0]) from error
    return str(metadata.get(_DIGEST, b"").decode())


def digest_of(bars: pa.Table) -> str:
    """Return the SHA-256 (hex) of the bars' values and nothing else.

    ``filled_from`` counts where it is there, and so do the columns of peers.
    """
    peers = [name for name in bars.column_names if name not in (*BAR_SCHEMA.names, FILLED_FROM)]
    digest = hashlib.sha256(",".join([*BAR_SCHEMA.names, *peers]).encode())
    digest.update(open_times(bars).astype("<i8").tobytes())
    for name in (*BAR_SCHEMA.names[1:], *peers):
        digest.update((bars[name].to_numpy() + 0.0).astype("<f8").tobytes())  # + 0.0: -0.0 equals 0.0
    if FILLED_FROM in bars.column_names and bars[FILLED_FROM].null_count < bars.num_rows:
        digest.update("\n".join(name or "" for name in bars[FILLED_FROM].to_pylist()).encode())
    return digest.hexdigest()


def as_own(bars: pa.Table, filled_from: str | None = None) -> pa.Table:
    """Return bars of :data:`~crucible.market.bars.BAR_SCHEMA` as :data:`STORED_SCHEMA`, all from one source."""
    column = pa.array([filled_from], pa.string()).take(pa.array(np.zeros(bars.num_rows, dtype=np.int8)))
    return bars.append_column(STORED_SCHEMA.field(FILLED_FROM), column)


def empty_stored() -> pa.Table:
    """Return a table of :data:`STORED_SCHEMA` without rows."""
    return as_own(empty_bars())


def _damaged(path: Path, detail: str) -> StoreError:
    return StoreError(f"{path} is damaged ({detail}); delete it and fetch or import its month again.")


def _encoding(field: pa.Field) -> str:
    # measured on 5-minute bars: half the size of plain pages, and as fast
    if field.name == "open_time":
        return "DELTA_BINARY_PACKED"
    return "PLAIN" if field.name == FILLED_FROM else "BYTE_STREAM_SPLIT"
