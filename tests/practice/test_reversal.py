"""A market that turns back: as predictable as before, the other way round, and the same until then."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from crucible.errors import SettingsError
from crucible.practice.reversal import reversal_of
from crucible.practice.signal import plant
from crucible.practice.simulate import SimulatedMarket

HOUR = timedelta(hours=1)
LISTED = datetime(2024, 1, 1, tzinfo=UTC)
TURN = datetime(2025, 1, 10, 7, tzinfo=UTC)
END = datetime(2026, 1, 1, tzinfo=UTC)


def ms(instant):
    return int(instant.timestamp() * 1000)


@pytest.fixture(scope="module")
def signal():
    return plant(0.5, HOUR)


@pytest.fixture(scope="module")
def market(signal):
    return SimulatedMarket(("BTCUSDT",), LISTED, 4, signal, (TURN, reversal_of(signal, HOUR)))


def hours(market, start, end):
    """Hourly standardised returns, and the times at which they begin."""
    candles = market.candles("BTCUSDT", 3_600_000, ms(start), ms(end))
    moves = np.diff(np.log(candles.close))
    return candles.time[1:], moves


@pytest.mark.parametrize("correlation", [0.1, 0.3, 0.6])
def test_a_reversal_is_as_predictable_as_the_signal_and_as_volatile(correlation):
    signal = plant(correlation, HOUR)
    turn = reversal_of(signal, HOUR)
    assert turn.correlation(HOUR) == pytest.approx(correlation, abs=1e-6)
    assert turn.scale**2 * turn.variance(60) == pytest.approx(signal.variance(60))


def test_until_the_turn_nothing_is_different_and_then_everything_is(market, signal):
    before = SimulatedMarket(("BTCUSDT",), LISTED, 4, signal)
    day = timedelta(days=1)
    for one, other in zip(
        market.candles("BTCUSDT", 60_000, ms(TURN - day), ms(TURN)).columns(),
        before.candles("BTCUSDT", 60_000, ms(TURN - day), ms(TURN)).columns(), strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(one, other)
    assert (
        market.candles("BTCUSDT", 60_000, ms(TURN), ms(TURN + day)).close[-1]
        != before.candles("BTCUSDT", 60_000, ms(TURN), ms(TURN + day)).close[-1]
    )


def test_hourly_returns_turn_from_following_to_coming_back_and_stay_as_large(market):
    _, old = hours(market, LISTED, TURN)
    times, new = hours(market, TURN, END)
    follow, back = (np.corrcoef(part[1:], part[:-1])[0, 1] for part in (old, new))
    assert follow > 0.3
    assert back < -0.25
    assert 0.8 < new.std() / old.std() < 1.25
    told = market.best_forecast("BTCUSDT", times, HOUR)
    assert np.corrcoef(told, new)[0, 1] == pytest.approx(0.5, abs=0.06)


def test_what_no_reversal_can_attain_is_refused():
    with pytest.raises(SettingsError, match="weaker signal"):
        reversal_of(plant(0.8, HOUR), HOUR)
