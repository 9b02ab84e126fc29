"""Whether the declared warm-up is enough, and not much more than that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa

from crucible.errors import DataError
from crucible.features.engine import compute_plan
from crucible.features.feature import FeatureSet
from crucible.features.plan import compile_plan

_SLACK = 8  # bars more than needed that nobody minds
_ABSURD = 2.0


@dataclass(frozen=True)
class WarmUp:
    """One feature's warm-up.

    Attributes
    ----------
    feature : str
        Its name.
    declared : int
        Bars that it says it reads, the newest included.
    needed : int
        Fewest bars that give the value which the whole history gives, at every instant that was looked at.
    """

    feature: str
    declared: int
    needed: int

    @property
    def sufficient(self) -> bool:
        """Whether the declared bars are enough."""
        return self.needed <= self.declared

    @property
    def absurd(self) -> bool:
        """Whether far more are declared than are needed: the worker would wait for them after every gap."""
        return self.declared > _ABSURD * self.needed + _SLACK


def measure_warmup(
    bars: pa.Table, features: FeatureSet, horizon_bars: int, interval: timedelta, *, instants: int = 4, seed: int = 0
) -> list[WarmUp]:
    """Return the warm-up of every feature, found by giving it less and less history.

    Parameters
    ----------
    bars : pyarrow.Table
        ``BAR_SCHEMA``, without gaps where it matters; at least three times the look-back.
    features, horizon_bars
        What is audited, and for which H.
    interval : timedelta
        Length of a bar.
    instants, seed
        At how many random prediction times.

    Raises
    ------
    DataError
        If there are too few bars; how many lack.
    """
    plan = compile_plan(features, horizon_bars)
    longest = 3 * plan.lookback
    if bars.num_rows < longest:
        raise DataError(f"{bars.num_rows} bars are too few for this audit: {longest - bars.num_rows} more are needed.")
    generator = np.random.default_rng(seed)
    declared = {feature.name: feature.lookback(horizon_bars) for feature in features.features}
    tails = sorted({*range(1, 7), *np.geomspace(7, longest, 24).astype(int).tolist(), *declared.values()})
    needed = dict.fromkeys(declared, 0)
    for row in generator.integers(longest - 1, bars.num_rows, instants):
        end = int(row) + 1
        at = bars["open_time"][int(row)].as_py() + interval
        whole = compute_plan(bars.slice(0, end), plan, interval)
        for count in tails:
            # a plain run over the tail, and not the live path, which never looks back further than declared
            tail = compute_plan(bars.slice(end - count, count), plan, interval)
            assert tail.times[-1] == np.datetime64(at.replace(tzinfo=None), "us")
            for name in plan.names:
                one, other = whole.columns[name][-1], tail.columns[name][-1]
                if not (one == other or (np.isnan(one) and np.isnan(other))):
                    needed[name] = max(needed[name], _after(tails, count))
    return [WarmUp(name, declared[name], max(needed[name], 1)) for name in plan.names]


def _after(tails: list[int], count: int) -> int:
    """Return the next longer tail that was tried: ``count`` bars were too few."""
    return next((item for item in tails if item > count), count + 1)
