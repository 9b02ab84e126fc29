"""Does any feature see the future? Every future is perturbed, cut off and thinned out; no past value may move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa

from crucible.errors import DataError
from crucible.features.engine import FeatureFrame, compute_plan
from crucible.features.plan import Plan
from crucible.market.bars import PRICES


@dataclass(frozen=True)
class Leak:
    """A feature whose past changed.

    Attributes
    ----------
    feature : str
        Its name.
    when : str
        What was done: ``perturbed``, ``cut off``, ``thinned out`` or ``computed again``.
    rows : int
        How many past values moved.
    first : str
        Prediction time of the first one, ISO, UTC.
    """

    feature: str
    when: str
    rows: int
    first: str


def find_leaks(
    bars: pa.Table,
    plan: Plan,
    interval: timedelta,
    *,
    cuts: int = 6,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Leak]:
    """Return the features whose past depends on the future, or on nothing that can be repeated.

    Parameters
    ----------
    bars : pyarrow.Table
        ``BAR_SCHEMA``; at least twice the look-back.
    plan : Plan
        Which features.
    interval : timedelta
        Length of a bar.
    cuts : int
        At how many random instants the future begins.
    seed : int
        Of the instants and of the perturbations.
    progress : callable, optional
        Called with (cuts done, cuts).

    Raises
    ------
    DataError
        If there are too few bars; how many lack.
    """
    need = 2 * plan.lookback
    if bars.num_rows < need:
        raise DataError(f"{bars.num_rows} bars are too few for this audit: the features look back {plan.lookback}, "
                        f"{need - bars.num_rows} more are needed.")  # fmt: skip
    generator = np.random.default_rng(seed)
    before = compute_plan(bars, plan, interval)
    leaks = _compare(before, compute_plan(bars, plan, interval), len(before.times), "computed again")
    low, high = plan.lookback, bars.num_rows - 2
    for done in range(cuts):
        cut = int(generator.integers(low, high))
        for when, changed in (
            ("perturbed", _perturbed(bars, cut, generator)),
            ("cut off", bars.slice(0, cut)),
            ("thinned out", _thinned(bars, cut, generator)),
        ):
            leaks += _compare(before, compute_plan(changed, plan, interval), cut, when)
        if progress:
            progress(done + 1, cuts)
    found: dict[tuple[str, str], Leak] = {}
    for leak in leaks:
        known = found.get((leak.feature, leak.when))
        if known is None or leak.rows > known.rows:
            found[leak.feature, leak.when] = leak
    return sorted(found.values(), key=lambda leak: (leak.feature, leak.when))


def _compare(before: FeatureFrame, after: FeatureFrame, rows: int, when: str) -> list[Leak]:
    leaks = []
    for name in before.names:
        one, other = before.columns[name][:rows], after.columns[name][:rows]
        moved = ~((one == other) | (np.isnan(one) & np.isnan(other)))
        if moved.any():
            first = before.times[int(np.argmax(moved))]
            leaks.append(Leak(name, when, int(moved.sum()), f"{first}Z"))
    return leaks


def _perturbed(bars: pa.Table, cut: int, generator: np.random.Generator) -> pa.Table:
    """Return the bars with every price from row ``cut`` on moved, and every volume exchanged for another."""
    future = bars.num_rows - cut
    for prefix in [name.removesuffix("close") for name in bars.column_names if name.endswith("close")]:
        factor = np.exp(generator.normal(0, 0.02, future) + generator.choice([-1.0, 1.0]))
        for name in PRICES:
            values = bars[prefix + name].to_numpy().copy()
            values[cut:] *= factor
            bars = _with(bars, prefix + name, values)
        volume = bars[f"{prefix}volume"].to_numpy().copy()
        volume[cut:] = generator.permutation(volume[cut:]) * 3.0 + 1.0
        bars = _with(bars, f"{prefix}volume", volume)
    return bars


def _with(bars: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    column = pa.array(values, mask=np.isnan(values))  # a peer may lack a bar that the own symbol has
    return bars.set_column(bars.column_names.index(name), bars.schema.field(name), column)


def _thinned(bars: pa.Table, cut: int, generator: np.random.Generator) -> pa.Table:
    keep = np.ones(bars.num_rows, dtype=bool)
    keep[cut:] = generator.random(bars.num_rows - cut) < 0.5
    return bars.filter(pa.array(keep))
