"""One DuckDB connection that runs a plan's two queries."""

from __future__ import annotations

import math
import threading

import duckdb
import numpy as np
import pyarrow as pa

from crucible.errors import DataError
from crucible.features.frame import Frame
from crucible.features.macros import MACROS
from crucible.features.plan import Plan, select
from crucible.features.rolling import Rolling

_FEW = 4096  # rows up to which an Arrow result costs more than it saves


class _Current:
    """What a prepared query reads: the table that is current when it is executed."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


class Session:
    """Computes features of one plan, on one thread at a time.

    The two queries are planned once: planning seventy expressions takes longer than computing them for one prediction
    time, or for a segment of history.

    Parameters
    ----------
    plan : Plan
        What is computed.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lock = threading.Lock()
        self._relations: dict[str, _Current] = {}
        # one thread: whoever wants two takes two sessions
        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        for name, body in MACROS.items():
            self._connection.execute(f"CREATE MACRO {name} AS {body}")

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def compute(self, frame: Frame, low: int, out: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Return every feature at the rows from ``low`` on; the rows before are what the windows look back on.

        Parameters
        ----------
        frame : Frame
            Bars.
        low : int
            First row that is wanted.
        out : dict of str to numpy.ndarray, optional
            Where to write them, by name: what is returned, if given.

        Raises
        ------
        DataError
            If a feature cannot be computed; with its name.
        """
        plan, rows = self.plan, len(frame.times)
        inner = self._select("frame", plan.inner, plan.inner_sql, {}, frame.to_arrow(plan.base, {}, slice(0, rows)))
        rolling = Rolling(frame.first, rows)
        columns = {**frame.columns, **inner}
        windows = {
            name: term.compute(rolling, [columns[plan.column_of(text)] for text in term.columns])
            for name, term in plan.terms.items()
        }
        wanted = frame.to_arrow(plan.base, windows, slice(low, rows))
        found = self._select("windows", plan.outer, plan.outer_sql, out or {}, wanted)
        for feature in plan.functions:
            values = plan.call(feature, {"t": frame.times, **frame.columns})[low:]
            if out:
                out[feature.name][:] = values
            found[feature.name] = values
        return found

    def _select(
        self, relation: str, columns: dict[str, str], sql: str, out: dict[str, np.ndarray], table: pa.Table
    ) -> dict[str, np.ndarray]:
        if not columns:
            return {}
        try:
            return self._run(relation, columns, sql, out, table)
        except duckdb.Error as error:
            raise self._blame(columns, relation, table, error) from error

    def _run(
        self, relation: str, columns: dict[str, str], sql: str, out: dict[str, np.ndarray], table: pa.Table
    ) -> dict[str, np.ndarray]:
        if relation not in self._relations:
            current = _Current(table)
            self._connection.register(relation, current)
            self._connection.execute(f"PREPARE of_{relation} AS {sql}")
            self._relations[relation] = current
        self._relations[relation].table = table
        query = f"EXECUTE of_{relation}"
        if table.num_rows < _FEW:
            found = zip(columns, self._connection.execute(query).fetchnumpy().values(), strict=True)
            numbers = {name: np.ma.filled(np.ma.asarray(some, dtype=np.float64), math.nan) for name, some in found}
            for name in numbers.keys() & out.keys():
                out[name][:] = numbers[name]
            return numbers
        made = self._connection.sql(query).to_arrow_table().columns
        return {name: _numbers(column, out.get(name)) for name, column in zip(columns, made, strict=True)}

    def _blame(self, columns: dict[str, str], relation: str, table: pa.Table, error: duckdb.Error) -> DataError:
        """Find out which feature it was."""
        with duckdb.connect(":memory:") as connection:
            for name, body in MACROS.items():
                connection.execute(f"CREATE MACRO {name} AS {body}")
            connection.register(relation, table)
            for name, text in columns.items():
                try:
                    connection.sql(select({name: text}, relation)).fetchall()
                except duckdb.Error as own:
                    said = str(own).splitlines()[0].strip()
                    users = ", ".join(self.plan.users_of(name)) or name
                    return DataError(f"Feature {users}: {said} (in: {text})")
        return DataError(f"The features cannot be computed: {str(error).splitlines()[0]}")


def _numbers(column: pa.ChunkedArray, out: np.ndarray | None) -> np.ndarray:
    """Return the column's numbers, in ``out`` where that is given; null is NaN."""
    out = np.empty(len(column)) if out is None else out
    low = 0
    for chunk in column.chunks:
        high = low + len(chunk)
        validity, values = chunk.buffers()
        out[low:high] = np.frombuffer(values, dtype=np.float64)[chunk.offset : chunk.offset + len(chunk)]
        if chunk.null_count:  # what stands under a null is anything
            bits = np.unpackbits(np.frombuffer(validity, dtype=np.uint8), bitorder="little")
            out[low:high][bits[chunk.offset : chunk.offset + len(chunk)] == 0] = math.nan
        low = high
    return out
