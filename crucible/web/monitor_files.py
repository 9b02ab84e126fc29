"""What the monitor has measured of a worker, as far as it has: the file ``data/monitor/dashboard/<recipe>.json``.

Nothing here is computed or guessed; a number that the file does not hold is not shown. Its keys, each of them optional:

``at``
    When it was written, ISO, UTC.
``balance_uallo``, ``spent_uallo_per_day``, ``rewards_uallo``
    The wallet's balance, what it pays a day, and what it has earned in all.
``series``
    By name, lists of ``[nonce, value]``: ``ema_score``, ``field_score`` (the field's median), ``reward_uallo``,
    ``balance_uallo``, ``rank``.
``live``
    Rows ``{"what", "found", "outcome"}`` about forecasts against the network; ``outcome`` as a gate's.
``drift``
    Rows ``{"what", "value", "threshold", "outcome", "sentence"}``.
``alerts``
    Rows ``{"at", "level", "sentence"}``, open ones only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from crucible.settings import Settings
from crucible.web.remembered import Remembered, stamp_of
from crucible.web.values import instant, number, words_of

_MOST_BYTES = 4_000_000
_MOST_ROWS = 200

_remembered = Remembered()


@dataclass(frozen=True)
class Monitored:
    """What was measured; see the top of this module. ``trouble`` says why nothing could be read, where that is so."""

    at: datetime | None = None
    balance: float | None = None
    spent: float | None = None
    rewards: float | None = None
    series: dict[str, dict[int, float]] = field(default_factory=dict)
    live: tuple[dict[str, Any], ...] = ()
    drift: tuple[dict[str, Any], ...] = ()
    alerts: tuple[dict[str, Any], ...] = ()
    trouble: str = ""

    @property
    def runway(self) -> timedelta | None:
        """How long the balance lasts at what is spent a day; ``None`` where one of them is not known."""
        if self.balance is None or not self.spent or self.spent < 0:
            return None
        return timedelta(days=min(self.balance / self.spent, 36_500.0))


def monitor_file(settings: Settings, name: str) -> Path:
    """Return where the monitor leaves its numbers about the recipe ``name``."""
    return settings.data / "monitor" / "dashboard" / f"{name}.json"


def monitored(settings: Settings, name: str) -> Monitored:
    """Return what the monitor has measured of the recipe ``name``; empty where it has measured nothing."""
    path = monitor_file(settings, name)
    return _remembered.get(path, stamp_of(path), lambda: _read(path))


def _read(path: Path) -> Monitored:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return Monitored(trouble=f"{path.name} of the monitor is too large to be shown.")
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Monitored()
    except (OSError, ValueError, RecursionError) as error:
        return Monitored(trouble=f"{path.name} of the monitor cannot be read ({type(error).__name__}).")
    if not isinstance(values, dict):
        return Monitored(trouble=f"{path.name} of the monitor holds no object.")
    series = values.get("series")
    return Monitored(
        at=instant(values.get("at")),
        balance=number(values.get("balance_uallo")),
        spent=number(values.get("spent_uallo_per_day")),
        rewards=number(values.get("rewards_uallo")),
        series={words_of(key): _points(item) for key, item in series.items()} if isinstance(series, dict) else {},
        live=_rows(values.get("live")),
        drift=_rows(values.get("drift")),
        alerts=_rows(values.get("alerts")),
    )


def _points(items: object) -> dict[int, float]:
    found = {}
    for item in items if isinstance(items, list) else ():
        if isinstance(item, list) and len(item) == 2 and isinstance(item[0], int):
            value = number(item[1])
            if value is not None:
                found[item[0]] = value
    return found


def _rows(items: object) -> tuple[dict[str, Any], ...]:
    rows = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return tuple(
        {key: value for key, value in row.items() if isinstance(value, str | int | float)} for row in rows[:_MOST_ROWS]
    )
