"""Values as they come from files that others write, checked; and as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

_DASH, _MINUS = "\u2013", "\u2212"

ALLO = 1e18
"""uallo in one ALLO."""


def instant(text: object) -> datetime | None:
    """Return the instant in ISO text, UTC; ``None`` if it is none, or has no time zone."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def number(value: object) -> float | None:
    """Return a finite number, or ``None``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def words_of(value: object) -> str:
    """Return text, or nothing for what is no text."""
    return value if isinstance(value, str) else ""


def span(duration: timedelta) -> str:
    """Return a duration as a person says it: ``8 s``, ``12 min``, ``5.5 h``, ``3 d``."""
    seconds = abs(duration.total_seconds())
    for size, unit in ((86_400 * 2, "d"), (3600 * 2, "h"), (120, "min")):
        if seconds >= size:
            many = seconds / {"d": 86_400, "h": 3600, "min": 60}[unit]
            return f"{_tenths(many)} {unit}" if many < 10 and unit != "min" else f"{many:,.0f} {unit}"
    return f"{_tenths(seconds)} s" if seconds < 10 else f"{seconds:.0f} s"


def _tenths(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long before ``now`` something was; ``never`` for nothing."""
    if at is None:
        return "never"
    return f"{span(now - at)} ago" if at <= now else f"in {span(at - now)}"


def moment(at: datetime | None) -> str:
    """Return an instant as ``2026-01-05 05:50:02``, UTC; a dash for nothing."""
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else _DASH


def plain(value: float | None, form: str = ",.4g") -> str:
    """Return a number for people, or a dash."""
    return _DASH if value is None or not math.isfinite(value) else format(value, form).replace("-", _MINUS)


def share(part: float, whole: float) -> str:
    """Return a percentage that says 100 % only of all, and 0 % only of none."""
    if not whole:
        return _DASH
    value = 100 * part / whole
    if 0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100:
        return "> 99.9 %"
    return f"{value:.0f} %" if value in (0, 100) else f"{value:.1f} %"


def allo(uallo: float | None) -> str:
    """Return an amount of uallo in ALLO."""
    return _DASH if uallo is None else f"{plain(uallo / ALLO)} ALLO"


def short(text: object, length: int = 12) -> str:
    """Return the beginning of a digest, hash or address."""
    whole = words_of(text)
    return whole if len(whole) <= length + 1 else f"{whole[:length]}…"
