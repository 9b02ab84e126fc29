"""Parts of the outer windows that a forecast is looked at in: by volatility, trend, clock, recency and event."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crucible.validation.predictions import OutOfSample

Regime = Callable[[OutOfSample, np.ndarray], dict[str, np.ndarray]]


def by_volatility(oos: OutOfSample, scale: np.ndarray) -> dict[str, np.ndarray]:
    """Thirds of the rows by the volatility that was known at the prediction time."""
    low, high = np.quantile(scale, [1 / 3, 2 / 3])
    return {"calm": scale <= low, "normal": (scale > low) & (scale <= high), "turbulent": scale > high}


def by_recency(oos: OutOfSample, scale: np.ndarray) -> dict[str, np.ndarray]:
    """The last quarter of the rows, in which skill that fades shows."""
    return {"the last quarter": np.arange(len(oos.times)) >= 3 * len(oos.times) // 4}


def by_trend(oos: OutOfSample, scale: np.ndarray) -> dict[str, np.ndarray]:
    """Rows after a rise and after a fall of the price over the last 5 % of the rows' number, by the close."""
    back = max(len(oos.close) // 20, 1)
    before = np.concatenate([np.full(back, oos.close[0]), oos.close[:-back]])[: len(oos.close)]
    return {"after a rise": oos.close > before, "after a fall": oos.close < before}


def by_hour(oos: OutOfSample, scale: np.ndarray) -> dict[str, np.ndarray]:
    """Six hours of the day, UTC."""
    hour = (oos.times.astype("datetime64[h]").astype(int)) % 24
    return {f"{low:02d}-{low + 6:02d} UTC": (hour >= low) & (hour < low + 6) for low in range(0, 24, 6)}


def by_weekday(oos: OutOfSample, scale: np.ndarray) -> dict[str, np.ndarray]:
    """Week and week-end."""
    day = (oos.times.astype("datetime64[D]").astype(int) + 3) % 7  # 1970 began on a Thursday
    return {"Monday to Friday": day < 5, "week-end": day >= 5}


def by_event(oos: OutOfSample, scale: np.ndarray) -> dict[str, np.ndarray]:
    """Rows just after a jump (one of the largest 2 % of moves between rows), and those around perpetuals' funding.

    Funding is paid at 00, 08 and 16 UTC; the hour before and the hour after count.
    """
    moves = np.abs(np.diff(np.log(oos.close), prepend=np.log(oos.close[:1])))
    minute = oos.times.astype("datetime64[m]").astype(np.int64) % 480
    return {
        "after a jump": moves > np.quantile(moves, 0.98),
        "around funding": (minute < 60) | (minute >= 420),
    }


REGIMES: tuple[Regime, ...] = (by_volatility, by_trend, by_recency)
"""Those that a gate looks at."""

PARTS: dict[str, Regime] = {
    "volatility": by_volatility,
    "trend": by_trend,
    "hour": by_hour,
    "weekday": by_weekday,
    "recency": by_recency,
    "event": by_event,
}
"""Those that a report shows, by heading."""
