"""Targets by time, for several horizons at once, with the interval that each label looks at."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from crucible.errors import DataError
from crucible.features.target import targets, to_price
from crucible.market.bars import check_bars

FIVE = timedelta(minutes=5)
HORIZONS = [FIVE, 3 * FIVE, timedelta(hours=1)]


@pytest.fixture
def bars(make_bars):
    return check_bars(make_bars(120, missing=(50, 51)), FIVE, "bars")


@pytest.mark.parametrize("quantity", ["log_return", "volatility"])
def test_each_horizon_is_the_definition_s(bars, quantity):
    close = {row["open_time"] + FIVE: row["close"] for row in bars.to_pylist()}
    for found, horizon in zip(targets(bars, FIVE, HORIZONS, quantity), HORIZONS, strict=True):
        assert (found.quantity, found.horizon) == (quantity, horizon)
        for at, value, end in zip(close, found.values, found.label_end, strict=True):
            assert end.item().replace(tzinfo=UTC) == at + horizon
            path = [close.get(at + step * FIVE) for step in range(horizon // FIVE + 1)]
            if quantity == "log_return":
                expected = np.log(path[-1] / path[0]) if path[-1] else np.nan
            else:
                returns = np.diff(np.log(path)) if None not in path else [np.nan]
                expected = np.sqrt(np.mean(np.square(returns)))
            assert value == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_a_price_is_the_close_moved_by_the_return():
    assert to_price(100.0, np.log(1.05)) == pytest.approx(105.0, rel=1e-15)
    assert to_price(100.0, 0.0) == 100.0


def test_a_horizon_that_does_not_fit_is_refused(bars):
    with pytest.raises(ValueError, match="no multiple of the bar"):
        targets(bars, FIVE, [timedelta(minutes=7)])
    with pytest.raises(DataError, match="no bars"):
        targets(bars.slice(0, 0), FIVE, [FIVE])
    assert bars["open_time"][0].as_py() == datetime(2026, 1, 1, tzinfo=UTC)
