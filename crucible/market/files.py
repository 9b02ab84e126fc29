"""Bar files that people have: Parquet, CSV and Feather, checked and turned into the bar table, and written."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq

from crucible.duration import format_duration
from crucible.errors import DataError, GapError, SchemaError
from crucible.market.bars import BAR_SCHEMA, check_bars, open_times
from crucible.market.ledger import Note
from crucible.market.series import Gap, Series, find_gaps
from crucible.market.store import BarStore, WriteReport
from crucible.process import write_atomic

# Binance counts milliseconds in its API, and microseconds in the spot dumps that it has published since 2025;
# below this figure a count is read as milliseconds (up to the year 5138), above it as microseconds (from 1973 on)
_MICROSECONDS_FROM = 10**14
_KINDS = (".parquet", ".csv", ".feather")
_ALIASES = ("date", "timestamp", "time")
_UTC_MICROS = BAR_SCHEMA.field("open_time").type


def read_bar_file(path: Path, symbol: str | None, interval: timedelta, *, allow_gaps: bool = False) -> pa.Table:
    """Return the bars in a Parquet, CSV or Feather file, as :data:`~crucible.market.bars.BAR_SCHEMA`.

    The file has the columns ``open_time, open, high, low, close, volume`` in any order (``open_time`` may be called
    ``date``, ``timestamp`` or ``time``, where it is the only one of these); others are ignored, except that a column
    ``symbol`` says which rows count. ``open_time`` is a timestamp with a time zone, in CSV an ISO 8601 text with ``Z``
    or an offset, or in both an integer as Binance writes it (milliseconds or microseconds since 1970).

    Parameters
    ----------
    path : pathlib.Path
        A file whose name ends in ``.parquet``, ``.csv`` or ``.feather``.
    symbol : str or None
        Which rows of a file that has a ``symbol`` column; ``None`` where it holds one symbol only.
    interval : timedelta
        Length of a bar.
    allow_gaps : bool
        Whether bars may be missing. They stay missing: nothing is filled.

    Raises
    ------
    DataError
        If the file is not there or cannot be read.
    SchemaError
        If it is empty, unsorted, has duplicates, or columns or values of the wrong kind.
    GapError
        If bars are missing and ``allow_gaps`` is false.
    """
    if not path.is_file():
        raise DataError(f"There is no bar file {path}.")
    table = _with_instants(_named(_rows_of(_read(path), symbol, path)), path)
    bars = check_bars(table, interval, str(path))
    gaps = find_gaps(open_times(bars), interval)
    if gaps and not allow_gaps:
        raise GapError(_gap_message(path, interval, gaps))
    return bars


def instants_of_counts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return counts since 1970 (milliseconds, or microseconds where they are that large) as UTC instants."""
    count = column.cast(pa.int64())
    milliseconds = pc.less(count, _MICROSECONDS_FROM)
    factor = pc.if_else(milliseconds, pa.scalar(1000, pa.int64()), pa.scalar(1, pa.int64()))
    return pc.multiply_checked(count, factor).cast(_UTC_MICROS)


def import_file(store: BarStore, series: Series, path: Path, *, allow_gaps: bool = False) -> WriteReport:
    """Add the bars of a file to the store; the gap ledger notes what the file lacks.

    Raises
    ------
    DataError, SchemaError, GapError
        As :func:`read_bar_file`; nothing is written.
    StoreError, ProcessError
        As :meth:`.BarStore.write`.
    """
    bars = read_bar_file(path, series.symbol, series.interval, allow_gaps=allow_gaps)
    report = store.write(series, bars, source="file")
    first, last = bars["open_time"][0].as_py(), bars["open_time"][-1].as_py()
    # what is still missing between them lacks in the file, too; the store may have had the rest
    spans = ((max(gap.start, first), min(gap.end, last)) for gap in store.coverage(series).gaps)
    now = store.clock.now()
    store.ledger(series).add(
        Note(low, high, "not in file", "file", now, path.name) for low, high in spans if low < high
    )
    return report


def write_bar_file(path: Path, bars: pa.Table) -> None:
    """Write bars to a Parquet, CSV or Feather file, by its ending; a file that is there is replaced whole.

    Raises
    ------
    DataError
        If the ending is another one.
    StoreError
        If the disk refuses.
    """
    kind, sink = path.suffix.lower(), pa.BufferOutputStream()
    if kind == ".parquet":
        pq.write_table(bars, sink, compression="zstd")
    elif kind == ".feather":
        feather.write_feather(bars, sink, compression="zstd")
    elif kind == ".csv":
        text = pc.strftime(bars["open_time"].cast(pa.timestamp("s", "UTC")), format="%Y-%m-%dT%H:%M:%SZ")
        options = pacsv.WriteOptions(quoting_style="none")
        pacsv.write_csv(bars.set_column(0, "open_time", text), sink, options)
    else:
        raise DataError(f"{path} is neither {', '.join(_KINDS[:-1])} nor {_KINDS[-1]}; bars are kept in these.")
    write_atomic(path, sink.getvalue().to_pybytes())


def _read(path: Path) -> pa.Table:
    kind = path.suffix.lower()
    if kind not in _KINDS:
        raise DataError(f"{path} is neither {', '.join(_KINDS[:-1])} nor {_KINDS[-1]}; bars are kept in these.")
    try:
        if path.stat().st_size == 0:
            raise SchemaError(f"{path} is an empty file.")
        if kind == ".parquet":
            with pq.ParquetFile(path) as file:
                return file.read()
        if kind == ".feather":
            return feather.read_table(path)
        # open_time is read as text, so that a time without a zone is seen and not guessed
        texts = dict.fromkeys(("open_time", *_ALIASES, "symbol"), pa.string())
        options = pacsv.ConvertOptions(column_types=texts)
        return pacsv.read_csv(path, convert_options=options)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as {kind[1:]}: {str(error).splitlines()[0]}.") from error


def _named(table: pa.Table) -> pa.Table:
    """Return the table with its time column called open_time, where it is plain which one is meant."""
    found = [name for name in _ALIASES if name in table.column_names]
    if "open_time" in table.column_names or len(found) != 1:
        return table
    return table.rename_columns(["open_time" if name == found[0] else name for name in table.column_names])


def _rows_of(table: pa.Table, symbol: str | None, path: Path) -> pa.Table:
    if "symbol" not in table.column_names:
        return table
    present = sorted(str(item) for item in pc.unique(table["symbol"]).to_pylist())
    if symbol is None and len(present) > 1:
        raise SchemaError(f"{path} holds several symbols ({', '.join(present)}); say which one with --symbol.")
    if symbol is None or present == [symbol]:
        return table
    if symbol not in present:
        raise SchemaError(f"{path} has no rows of {symbol}; it holds {', '.join(present) or 'nothing'}.")
    return table.filter(pc.equal(table["symbol"], symbol))


def _with_instants(table: pa.Table, path: Path) -> pa.Table:
    """Turn text and integer open times into timestamps; the rest is the business of check_bars."""
    if "open_time" not in table.column_names:
        return table
    column = table["open_time"]
    try:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            instants = _from_text(column)
        elif pa.types.is_integer(column.type):
            instants = instants_of_counts(column)
        else:
            return table
    except pa.ArrowException as error:
        raise SchemaError(
            f"{path}: open_time cannot be read ({str(error).splitlines()[0]}); write ISO 8601 with a zone, "
            "for example 2026-01-01T00:00:00Z, or milliseconds since 1970."
        ) from error
    return table.set_column(table.column_names.index("open_time"), "open_time", instants)


def _from_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if len(column) and pc.all(pc.match_substring_regex(column, r"^\d+$")).as_py():
        return instants_of_counts(column.cast(pa.int64()))
    return column.cast(_UTC_MICROS)  # Arrow refuses a text without a zone here


def _gap_message(path: Path, interval: timedelta, gaps: tuple[Gap, ...]) -> str:
    first, bars = gaps[0], sum(gap.bars for gap in gaps)
    more = f", and {len(gaps) - 1} more gaps, {bars} bars in all" if len(gaps) > 1 else ""
    plural = "" if first.bars == 1 else "s"
    return (
        f"{path} misses {first.bars} bar{plural} of {format_duration(interval)} from {first.start.isoformat()}{more}; "
        "accept gaps with --allow-gaps, or check the interval."
    )
