"""Durations as people write them in recipes: ``5m``, ``8h``, ``1d``."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FORM = re.compile(r"^([1-9][0-9]*)([smhd])$")


def parse_duration(text: str) -> timedelta:
    """Return the duration that ``text`` names.

    Raises
    ------
    ValueError
        If it is not a whole number above 0 followed by ``s``, ``m``, ``h`` or ``d``.
    """
    match = _FORM.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a whole number and s, m, h or d, for example '5m'")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def format_duration(duration: timedelta) -> str:
    """Return the shortest text that :func:`parse_duration` reads back as ``duration`` (whole seconds only)."""
    seconds = int(duration.total_seconds())
    for unit, size in reversed(_UNITS.items()):
        if seconds % size == 0 and seconds >= size:
            return f"{seconds // size}{unit}"
    raise ValueError(f"{duration} has no short form")
