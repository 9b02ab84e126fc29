from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible.errors import SettingsError
from crucible.practice.signal import PlantedSignal, plant
from crucible.practice.simulate import SimulatedMarket

FIVE = timedelta(minutes=5)
LISTED = datetime(2025, 1, 1, tzinfo=UTC)
YEAR_END = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = 60_000


def ms(instant):
    return int(instant.timestamp() * 1000)


def year(market, symbol="BTCUSDT", length=MINUTE):
    return market.candles(symbol, length, ms(LISTED), ms(YEAR_END))


def returns_ahead(candles, steps):
    """Non-overlapping returns over ``steps`` minutes, and the close instants at which they start."""
    close = np.log(candles.close)
    rows = np.arange(steps - 1, len(close) - steps, steps)
    return candles.time[rows] + MINUTE, close[rows + steps] - close[rows]


@pytest.fixture(scope="module")
def planted():
    return SimulatedMarket(("BTCUSDT",), LISTED, 3, plant(0.2, FIVE))


@pytest.fixture(scope="module")
def noise():
    return SimulatedMarket(("BTCUSDT",), LISTED, 3, plant(0.0, FIVE))


@pytest.mark.parametrize("steps", [5, 10, 15])
def test_an_oracle_reaches_the_attainable_correlation_and_no_more(planted, steps):
    horizon = timedelta(minutes=steps)
    times, target = returns_ahead(year(planted), steps)
    reached = np.corrcoef(planted.best_forecast("BTCUSDT", times, horizon), target)[0, 1]
    # fat tails make the error of a correlation larger than 1/sqrt(n); twice that, three times over
    assert reached == pytest.approx(planted.signal.correlation(horizon), abs=6 / np.sqrt(len(target)))
    assert planted.signal.correlation(FIVE) == pytest.approx(0.2, abs=1e-9)


def test_the_signal_shows_in_the_closes_of_bars_as_long_as_the_horizon(planted):
    close = np.log(year(planted, length=5 * MINUTE).close)
    moves = np.diff(close)
    scale = np.sqrt(np.convolve(moves**2, np.ones(48) / 48)[: len(moves)])
    lags = np.column_stack([np.roll(moves / scale, lag) for lag in range(8)])[60:-1]
    target = (np.roll(moves, -1) / scale)[60:-1]
    half = len(target) // 2
    weights, *_ = np.linalg.lstsq(lags[:half], target[:half], rcond=None)
    assert np.corrcoef(lags[half:] @ weights, target[half:])[0, 1] > 0.17


def test_without_a_signal_nothing_forecasts(noise):
    assert noise.signal.rho == 0
    times, target = returns_ahead(year(noise), 5)
    assert not noise.best_forecast("BTCUSDT", times, FIVE).any()
    for past in range(1, 6):
        assert abs(np.corrcoef(target[past:], target[:-past])[0, 1]) < 6 / np.sqrt(len(target))


@given(
    rho=st.floats(0.01, 0.9),
    phi=st.floats(0.05, 0.95),
    minutes=st.integers(1, 12),
)
@settings(max_examples=50, deadline=None)
def test_the_closed_form_equals_the_sum_over_all_shocks(rho, phi, minutes):
    """Variance and covariance from the weight of every single shock, without the closed form's algebra."""
    past = int(np.ceil(np.log(1e-12) / np.log(phi))) + 1
    shocks = past + minutes
    momentum = np.zeros((minutes, shocks))  # z before each of the coming minutes, as weights on the shocks
    for step in range(minutes):
        age = past + step - 1 - np.arange(shocks)
        momentum[step] = np.where(age >= 0, np.sqrt(1 - phi**2) * phi ** np.maximum(age, 0).astype(float), 0)
    coming = np.sqrt(1 - rho**2) * (np.arange(shocks) >= past) + rho * momentum.sum(axis=0)
    known = np.where(np.arange(shocks) < past, coming, 0)
    expected = known @ coming / np.sqrt((known @ known) * (coming @ coming))
    found = PlantedSignal(rho, phi).correlation(timedelta(minutes=minutes))
    assert found == pytest.approx(expected, abs=1e-6)


@given(correlation=st.floats(0, 0.85), minutes=st.integers(1, 2880))
@settings(max_examples=50, deadline=None)
def test_planting_gives_the_correlation_that_was_asked_for(correlation, minutes):
    horizon = timedelta(minutes=minutes)
    assert plant(correlation, horizon).correlation(horizon) == pytest.approx(correlation, abs=1e-9)


@pytest.mark.parametrize(
    ("correlation", "horizon", "words"),
    [(0.95, FIVE, "between 0 and 0.9"), (-0.1, FIVE, "between 0 and"), (0.1, timedelta(seconds=90), "whole number")],
)
def test_an_impossible_signal_is_refused(correlation, horizon, words):
    with pytest.raises(SettingsError, match=words):
        plant(correlation, horizon)


def test_candles_are_possible_and_the_market_looks_like_one(planted):
    minutes = year(planted)
    assert len(minutes) == 365 * 1440
    assert (np.diff(minutes.time) == MINUTE).all()
    assert (minutes.high >= np.maximum(minutes.open, minutes.close)).all()
    assert (minutes.low <= np.minimum(minutes.open, minutes.close)).all()
    assert (minutes.low > 0).all()
    assert (minutes.volume > 0).all()
    assert (minutes.open[1:] == minutes.close[:-1]).all()
    moves = np.diff(np.log(minutes.close))
    assert 0.3 < moves.std() * np.sqrt(525_600) < 1.0
    assert ((moves - moves.mean()) ** 4).mean() / moves.var() ** 2 > 4  # fat tails
    assert np.corrcoef(np.abs(moves), minutes.volume[1:])[0, 1] > 0.5
    days = (moves[: 364 * 1440] ** 2).reshape(364, 1440).sum(axis=1)
    assert np.corrcoef(days[1:], days[:-1])[0, 1] > 0.15  # volatility clusters, and regimes last


def test_any_range_in_any_order_is_the_same(planted):
    whole = year(planted)
    other = SimulatedMarket(("BTCUSDT",), LISTED, 3, plant(0.2, FIVE))
    for month in (9, 2, 11):
        start = ms(datetime(2025, month, 17, 3, 7, tzinfo=UTC))
        part = other.candles("BTCUSDT", MINUTE, start, start + 50_000 * MINUTE)
        expected = whole.between(start, start + 50_000 * MINUTE)
        for one, two in zip(part.columns(), expected.columns(), strict=True):
            np.testing.assert_array_equal(one, two)


def test_months_that_fell_out_of_memory_come_back_the_same(monkeypatch):
    monkeypatch.setattr("crucible.practice.simulate._MONTHS_KEPT", 1)
    market = SimulatedMarket(("BTCUSDT",), LISTED, 3, plant(0.2, FIVE))
    first = year(market).close
    market._views.clear()
    np.testing.assert_array_equal(year(market).close, first)


def test_symbols_and_seeds_differ(planted):
    other_seed = SimulatedMarket(("BTCUSDT", "ETHUSDT"), LISTED, 4, plant(0.2, FIVE))
    base = np.diff(np.log(year(planted).close))
    for candles in (year(other_seed), year(other_seed, "ETHUSDT")):
        assert abs(np.corrcoef(base, np.diff(np.log(candles.close)))[0, 1]) < 0.01


@pytest.mark.parametrize("length", [5, 60, 1440])
def test_long_candles_are_made_of_the_short_ones(planted, length):
    minutes, long = year(planted), year(planted, length=length * MINUTE)
    assert len(long) == len(minutes) // length
    shape = (-1, length)
    np.testing.assert_array_equal(long.open, minutes.open.reshape(shape)[:, 0])
    np.testing.assert_array_equal(long.close, minutes.close.reshape(shape)[:, -1])
    np.testing.assert_array_equal(long.high, minutes.high.reshape(shape).max(axis=1))
    np.testing.assert_array_equal(long.low, minutes.low.reshape(shape).min(axis=1))
    np.testing.assert_allclose(long.volume, minutes.volume.reshape(shape).sum(axis=1))


def test_a_listing_needs_a_zone_and_starts_at_midnight():
    with pytest.raises(SettingsError, match="time zone"):
        SimulatedMarket(("BTCUSDT",), datetime(2026, 1, 1), 1, plant(0.0, FIVE))  # noqa: DTZ001
    assert SimulatedMarket(("A",), datetime(2026, 1, 1, 7, tzinfo=UTC), 1, plant(0.0, FIVE)).first.hour == 0
