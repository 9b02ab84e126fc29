"""One month of a simulated symbol, minute by minute, and the state from which the next month goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from crucible.practice.candles import MINUTE_MS, Candles
from crucible.practice.reversal import Reversal
from crucible.practice.signal import PlantedSignal

# a yearly volatility of about 55 %: in the middle of what large coins show
_MINUTE_VOLATILITY = 6.5e-4
# log-variance: AR(1) with a half-life of half a day and a standard deviation of 0.6
_VARIANCE_PERSISTENCE = 0.5 ** (1 / 720)
_VARIANCE_SPREAD = 0.6
# regimes: what each adds to the log-variance, and how many minutes it lasts on average
_REGIME_LEVEL = (-0.4, 1.1)
_REGIME_MINUTES = (3 * 1440, 720)
# the busiest hour of the day (UTC), and how much busier it is
_BUSY_MINUTE = 15 * 60
_DAILY_SWING = 0.25
_MEDIAN_TURNOVER = 400_000.0  # quote currency per minute


@dataclass(frozen=True)
class PathState:
    """Where a path stands at the end of a month.

    Attributes
    ----------
    price : float
        The last close.
    momentum : float
        z of :mod:`crucible.practice.signal`.
    variance : float
        Deviation of the log-variance from its level.
    regime : int
        0 calm, 1 turbulent.
    """

    price: float
    momentum: float = 0.0
    variance: float = 0.0
    regime: int = 0


@dataclass(frozen=True)
class PathMonth:
    """Minutes of one month.

    Attributes
    ----------
    candles : Candles
        One-minute candles, n of them.
    momentum : numpy.ndarray
        Shape (n,): z at each minute's close, which the next minute's return depends on.
    volatility : numpy.ndarray
        Shape (n,): standard deviation of each minute's log return.
    end : PathState
        The state after the last minute.
    """

    candles: Candles
    momentum: np.ndarray
    volatility: np.ndarray
    end: PathState


def simulate_month(
    state: PathState,
    signal: PlantedSignal,
    start_ms: int,
    minutes: int,
    generator: np.random.Generator,
    turn: tuple[int, Reversal] | None = None,
) -> PathMonth:
    """Return ``minutes`` minutes from ``start_ms`` on; the same arguments give the same numbers.

    From the instant of ``turn`` (milliseconds) on, its reversal takes the place of ``signal``; before it, nothing is
    changed by it.

    Stochastic volatility with regimes, drawn independently of the shocks, so that the signal's attainable correlation
    holds; high and low are drawn from the exact law of a Brownian bridge between open and close.
    """
    time = start_ms + MINUTE_MS * np.arange(minutes, dtype=np.int64)
    season = 1.0 + _DAILY_SWING * np.cos(2 * np.pi * ((time // MINUTE_MS) % 1440 - _BUSY_MINUTE) / 1440)
    regime = _regimes(state.regime, minutes, generator)
    variance = _autoregression(
        generator.standard_normal(minutes),
        _VARIANCE_PERSISTENCE,
        _VARIANCE_SPREAD * math.sqrt(1 - _VARIANCE_PERSISTENCE**2),
        state.variance,
    )
    level = np.exp(0.5 * (variance + np.take(_REGIME_LEVEL, regime)))
    volatility = _MINUTE_VOLATILITY * np.sqrt(season) * level

    shocks = generator.standard_normal(minutes)
    momentum = _autoregression(shocks, signal.phi, math.sqrt(1 - signal.phi**2), state.momentum)
    before = np.concatenate([[state.momentum], momentum[:-1]])
    standardised = math.sqrt(1 - signal.rho**2) * shocks + signal.rho * before
    if turn is not None and turn[0] <= time[-1]:
        at = max((turn[0] - start_ms) // MINUTE_MS, 0)
        momentum[at:], standardised[at:] = _reversed(shocks[at:], turn[1], momentum[at - 1] if at else state.momentum)
        volatility[at:] *= turn[1].scale
    returns = volatility * standardised

    close = state.price * np.exp(np.cumsum(returns))
    opened = np.concatenate([[state.price], close[:-1]])
    high, low = _extremes(returns, volatility, generator)
    noise = np.exp(0.35 * generator.standard_normal(minutes))
    volume = _MEDIAN_TURNOVER / close * season * level * (0.35 + np.abs(standardised)) * noise
    candles = Candles(time, opened, opened * np.exp(high), opened * np.exp(low), close, volume)
    # exp and log may differ in the last digit; a high below its close would be no candle
    candles = Candles(
        time,
        opened,
        np.maximum(candles.high, np.maximum(opened, close)),
        np.minimum(candles.low, np.minimum(opened, close)),
        close,
        volume,
    )
    end = PathState(float(close[-1]), float(momentum[-1]), float(variance[-1]), int(regime[-1]))
    return PathMonth(candles, momentum, volatility, end)


def _reversed(shocks: np.ndarray, turn: Reversal, before: float) -> tuple[np.ndarray, np.ndarray]:
    """Return z after each minute, and the standardised returns, of a market that turns back."""
    z = _autoregression(shocks, turn.persistence, turn.gain * turn.noise, before)
    return z, turn.noise * shocks - turn.kappa * np.concatenate([[before], z[:-1]])


def _autoregression(shocks: np.ndarray, persistence: float, scale: float, before: float) -> np.ndarray:
    """Return ``x`` with ``x[i] = persistence * x[i-1] + scale * shocks[i]`` and ``x[-1] = before``."""
    from scipy.signal import lfilter

    path, _ = lfilter([scale], [1.0, -persistence], shocks, zi=[persistence * before])
    return np.asarray(path)


def _regimes(regime: int, minutes: int, generator: np.random.Generator) -> np.ndarray:
    states: list[int] = []
    lengths: list[int] = []
    while sum(lengths) < minutes:  # a handful of turns a month; holding times are memoryless, so a month may cut one
        states.append(regime)
        lengths.append(int(generator.geometric(1 / _REGIME_MINUTES[regime])))
        regime = 1 - regime
    return np.repeat(states, lengths)[:minutes]


def _extremes(
    returns: np.ndarray, volatility: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest and lowest log price within each minute, relative to its open."""
    upper, lower = generator.random((2, len(returns)))
    spread = -2.0 * volatility**2
    high = (returns + np.sqrt(returns**2 + spread * np.log1p(-upper))) / 2
    low = (returns - np.sqrt(returns**2 + spread * np.log1p(-lower))) / 2
    return high, low
