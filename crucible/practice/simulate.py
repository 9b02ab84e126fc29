"""A seeded simulated market: stochastic volatility, regimes, volume, and a planted signal of known strength."""

from __future__ import annotations

import calendar
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from crucible.errors import SettingsError
from crucible.practice.candles import MINUTE_MS, Candles
from crucible.practice.path import PathMonth, PathState, simulate_month
from crucible.practice.reversal import Reversal
from crucible.practice.signal import PlantedSignal

_FIRST_PRICE = {"BTCUSDT": 60_000.0, "ETHUSDT": 3_000.0, "SOLUSDT": 150.0, "NEARUSDT": 5.0}
_OTHER_PRICE = 100.0
_MONTHS_KEPT = 24  # about 3 MB each; older ones are made again from the state at their start
_VIEWS_KEPT = 512
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class SimulatedMarket:
    """Symbols that move independently of each other, minute by minute, from ``listed`` on and without an end.

    Any range is a function of (seed, symbol, listing date, signal) alone. It is made a calendar month at a time, so the
    first request for a late month makes the ones before it (about 10 ms each).

    Parameters
    ----------
    symbols : tuple of str
        For example ``("BTCUSDT",)``.
    listed : datetime
        When trading began; moved back to midnight UTC.
    seed : int
        Of all randomness.
    signal : PlantedSignal
        See :func:`crucible.practice.signal.plant`.
    turn : (datetime, Reversal), optional
        From this instant on the reversal takes the signal's place: a break that is planted.
    """

    symbols: tuple[str, ...]
    listed: datetime
    seed: int
    signal: PlantedSignal
    turn: tuple[datetime, Reversal] | None = None
    base: timedelta = timedelta(minutes=1)
    last: None = None
    _states: dict[tuple[str, int], PathState] = field(default_factory=dict, repr=False)
    _paths: OrderedDict[tuple[str, int], PathMonth] = field(default_factory=OrderedDict, repr=False)
    _views: OrderedDict[tuple[str, int, int], Candles] = field(default_factory=OrderedDict, repr=False)

    def __post_init__(self) -> None:
        if self.listed.tzinfo is None:
            raise SettingsError(f"The listing date {self.listed} has no time zone; write 2026-01-01T00:00:00Z.")
        self.listed = self.listed.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    @property
    def first(self) -> datetime:
        """When the first candle opens, UTC."""
        return self.listed

    def candles(self, symbol: str, length_ms: int, start_ms: int, end_ms: int) -> Candles:
        """Return the whole candles that open in ``[start_ms, end_ms)``; see :class:`.Market`."""
        start_ms = max(start_ms, _ms(self.listed))
        if end_ms <= start_ms:
            return Candles.none()
        months = range(self._index(start_ms), self._index(end_ms - 1) + 1)
        return Candles.join([self._view(symbol, length_ms, month) for month in months]).between(start_ms, end_ms)

    def best_forecast(self, symbol: str, times_ms: np.ndarray, horizon: timedelta) -> np.ndarray:
        """Return the expected log return over ``horizon`` given everything that is known at ``times_ms``.

        This is the forecast that attains ``signal.correlation(horizon)``. It holds volatility at its present level,
        which is a fair forecast for horizons well below half a day.

        Parameters
        ----------
        symbol : str
            One of :attr:`symbols`.
        times_ms : numpy.ndarray
            Shape (n,), int64: minute-close instants after :attr:`first`.
        horizon : timedelta
            A whole number of minutes.
        """
        steps = horizon // timedelta(minutes=1)
        gain = np.full(len(times_ms), self.signal.rho * (1 - self.signal.phi**steps) / (1 - self.signal.phi))
        if self.turn is not None:
            gain[np.asarray(times_ms) >= _ms(self.turn[0])] = -self.turn[1].reach(steps)
        forecast = np.empty(len(times_ms))
        minutes = np.asarray(times_ms) - MINUTE_MS
        months = np.array([self._index(int(minute)) for minute in minutes])
        for month in np.unique(months):
            path, rows = self._path(symbol, int(month)), months == month
            at = (minutes[rows] - path.candles.time[0]) // MINUTE_MS
            forecast[rows] = gain[rows] * path.volatility[at] * path.momentum[at]
        return forecast

    def _view(self, symbol: str, length_ms: int, month: int) -> Candles:
        key = (symbol, length_ms, month)
        if key not in self._views:
            self._views[key] = self._path(symbol, month).candles.merge(MINUTE_MS, length_ms)
            while len(self._views) > _VIEWS_KEPT:
                self._views.popitem(last=False)
        return self._views[key]

    def _path(self, symbol: str, month: int) -> PathMonth:
        """Return a month, counted from the listing's, after making those before it whose end is not known yet."""
        if (symbol, month) in self._paths:
            return self._paths[symbol, month]
        known = month
        while known > 0 and (symbol, known) not in self._states:
            known -= 1
        state = self._states.get((symbol, known), PathState(_FIRST_PRICE.get(symbol, _OTHER_PRICE)))
        for index in range(known, month + 1):
            start, end = self._span(index)
            entropy = np.random.SeedSequence([self.seed, zlib.crc32(symbol.encode()), index])
            generator = np.random.Generator(np.random.PCG64(entropy))
            turn = (_ms(self.turn[0]), self.turn[1]) if self.turn else None
            path = simulate_month(state, self.signal, _ms(start), (end - start) // self.base, generator, turn)
            state = self._states[symbol, index + 1] = path.end
        self._paths[symbol, month] = path
        while len(self._paths) > _MONTHS_KEPT:
            self._paths.popitem(last=False)
        return path

    def _index(self, ms: int) -> int:
        at = _EPOCH + timedelta(milliseconds=ms)
        return (at.year - self.listed.year) * 12 + at.month - self.listed.month

    def _span(self, index: int) -> tuple[datetime, datetime]:
        year, month = divmod(self.listed.month - 1 + index, 12)
        start = datetime(self.listed.year + year, month + 1, 1, tzinfo=UTC)
        end = start + timedelta(days=calendar.monthrange(start.year, start.month)[1])
        return max(start, self.listed), end


def _ms(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
