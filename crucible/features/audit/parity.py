"""Does the live path give what history gives? At random prediction times, with gaps and bars that came late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, timedelta

import numpy as np
import pyarrow as pa

from crucible.errors import DataError
from crucible.features.engine import FeatureFrame, compute_plan
from crucible.features.plan import Plan

TOLERANCE = 1e-10
"""Largest difference, in standard deviations of the feature."""


@dataclass(frozen=True)
class Parity:
    """How far live and history are apart.

    Attributes
    ----------
    feature : str
        Its name.
    times : int
        Prediction times that were compared.
    largest : float
        Largest difference, in standard deviations of the feature over the history.
    masks : int
        Times at which one was missing and the other was not.
    """

    feature: str
    times: int
    largest: float
    masks: int

    @property
    def equal(self) -> bool:
        """Whether the two agree."""
        return self.masks == 0 and self.largest <= TOLERANCE


def compare_paths(
    bars: pa.Table,
    plan: Plan,
    interval: timedelta,
    *,
    times: int = 10_000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Parity]:
    """Compare the live path with history at ``times`` random prediction times.

    Half of them are taken from a copy of the bars in which one bar in fifty is missing, as after a gap or when a bar
    comes late: the live path then gets the same holes.

    Parameters
    ----------
    bars, plan, interval
        What is compared.
    times : int
        How many prediction times.
    seed : int
        Of the times and the holes.
    progress : callable, optional
        Called with (times done, times).

    Raises
    ------
    DataError
        If there are fewer bars than the look-back; how many lack.
    """
    if bars.num_rows <= plan.lookback:
        lack = plan.lookback + 1 - bars.num_rows
        raise DataError(f"{bars.num_rows} bars are too few for this audit: {lack} more are needed.")
    generator = np.random.default_rng(seed)
    holed = bars.filter(pa.array(generator.random(bars.num_rows) >= 0.02))
    largest = np.zeros(len(plan.names))
    masks = np.zeros(len(plan.names), dtype=int)
    done = 0
    for table in (bars, holed):
        history = compute_plan(table, plan, interval)
        scale = _scale(history)
        rows = generator.integers(0, table.num_rows, times // 2 if table is bars else times - times // 2)
        opened = table["open_time"]
        for row in rows.tolist():
            # what the worker holds in memory: the last bars by time, holes included
            start = max(row + 1 - plan.lookback, 0)
            at = opened[row].as_py().astimezone(UTC) + interval
            live = compute_plan(table.slice(start, row + 1 - start), plan, interval, at=at)
            one = np.array([live.columns[name][0] for name in plan.names])
            other = np.array([history.columns[name][row] for name in plan.names])
            masks += np.isnan(one) != np.isnan(other)
            with np.errstate(invalid="ignore"):
                largest = np.fmax(largest, np.abs(one - other) / scale)
            done += 1
            if progress and done % 50 == 0:
                progress(done, times)
    if progress:
        progress(times, times)
    return [Parity(name, times, float(largest[i]), int(masks[i])) for i, name in enumerate(plan.names)]


def _scale(history: FeatureFrame) -> np.ndarray:
    known = [column[np.isfinite(column)] for column in history.columns.values()]
    scale = np.array([column.std() if len(column) else 0.0 for column in known])
    return np.where(scale > 0, scale, 1.0)
