"""Every library feature against the slow oracle, with gaps and for several horizons; and its declaration's promises."""

from datetime import timedelta

import numpy as np
import pytest
from oracle import ORACLE, Bars, Missing

from crucible.features.engine import compute_plan
from crucible.features.library import CORE, FAMILIES, LIBRARY, WIDE
from crucible.features.plan import compile_plan
from crucible.market.bars import check_bars, open_times

FIVE = timedelta(minutes=5)
# a level's variance loses digits to cancellation; all else is good to the last few
LOOSE = {"bollinger": 1e-7}


def gridded(bars):
    """Return rows with ``t`` in seconds, None where a bar is missing, and the rows that are there."""
    slots = (open_times(bars) - open_times(bars)[0]) // 300_000_000
    rows = [None] * (int(slots[-1]) + 1)
    for slot, row in zip(slots, bars.to_pylist(), strict=True):
        rows[slot] = {**row, "t": row["open_time"].timestamp() + 300}
    return rows, slots.tolist()


@pytest.mark.parametrize("horizon_bars", [1, 2, 5])
def test_every_feature_is_the_oracle_s(make_bars, horizon_bars):
    assert set(ORACLE) == set(LIBRARY)
    bars = check_bars(make_bars(700, seed=4, missing=(300, 301, 555)), FIVE, "bars")
    found = compute_plan(bars, compile_plan(WIDE, horizon_bars), FIVE)
    rows, slots = gridded(bars)
    scale = np.nanstd(found.values, axis=0)
    chosen = [*range(0, 60, 7), 130, 298, 299, 300, 303, 350, 420, 481, 552, 553, 600, 650, 696]
    compared = 0
    for row in chosen:
        seen = Bars(rows[: slots[row] + 1])
        for index, name in enumerate(found.names):
            try:
                expected = ORACLE[name](seen, LIBRARY[name].bars(horizon_bars))
            except Missing:
                expected = np.nan
            value = found.values[row, index]
            assert np.isnan(value) == np.isnan(expected), (name, row, value, expected)
            if not np.isnan(expected):
                assert abs(value - expected) <= LOOSE.get(name, 1e-9) * (scale[index] + abs(expected)), (name, row)
                compared += 1
    assert compared > 800


def test_every_declaration_keeps_its_promises(make_bars):
    bars = check_bars(make_bars(1500, seed=2), FIVE, "bars")
    found = compute_plan(bars, compile_plan(WIDE, 3), FIVE)
    for index, name in enumerate(found.names):
        feature, column = LIBRARY[name], found.values[:, index]
        known = column[np.isfinite(column)]
        assert not np.isinf(column).any(), name
        assert len(known) > 1000, name
        assert known.std() > 0, name
        assert feature.low is None or known.min() >= feature.low - 1e-12, name
        assert feature.high is None or known.max() <= feature.high + 1e-12, name
        # not one value before the declared warm-up is needed, and all after it are there
        assert np.isfinite(column[feature.lookback(3) :]).all(), name


def test_the_library_is_sorted_into_families():
    assert len(LIBRARY) == sum(len(family.FEATURES) for family in FAMILIES) == len(WIDE.features) >= 60
    assert all(item.family == family.FAMILY for family in FAMILIES for item in family.FEATURES)
    assert set(CORE.names) <= set(WIDE.names)
    for feature in LIBRARY.values():
        assert 0 < len(feature.estimates) < 110
        assert 0 < len(feature.because) < 110


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_windows_grow_with_the_horizon(name):
    feature = LIBRARY[name]
    for small, large in ((1, 2), (4, 8), (100, 200)):
        for window, bars in feature.bars(small).items():
            assert feature.bars(large)[window] >= bars
    for bars in feature.bars(400).values():
        assert bars >= 200
