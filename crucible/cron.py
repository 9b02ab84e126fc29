"""Cron lines: five fields, or a word such as ``@daily``; what a schedule would refuse is refused in the recipe."""

from __future__ import annotations

import re

_WORDS = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"})
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_PART = re.compile(r"(\*|(?P<first>[a-z0-9]+)(-(?P<last>[a-z0-9]+))?)(/(?P<step>[0-9]+))?")


def check_cron(text: str) -> str:
    """Return ``text`` if it is a cron line: minute, hour, day of the month, month, day of the week.

    Each field is ``*``, a number, a range ``1-5``, any of these with a step ``*/15``, or several of them after one
    another with commas; months and days may be called by three letters.

    Raises
    ------
    ValueError
        If it is none; which field is wrong.
    """
    if text.strip().lower() in _WORDS:
        return text
    fields = text.lower().split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"{text!r} is no cron line; write five fields, for example '0 3 * * *' for 03:00 every day")
    for field, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            if not _fits(part, low, high, names):
                raise ValueError(f"{text!r} is no cron line: {part!r} is no {name}, which is * or from {low} to {high}")
    return text


def _fits(part: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    found = _PART.fullmatch(part)
    if found is None or found["step"] == "0" or (found["step"] and int(found["step"]) > high):
        return False
    if found["first"] is None:
        return True
    ends = [_number(end, low, names) for end in (found["first"], found["last"] or found["first"])]
    # a step takes a range or everything: what `5/15` means differs between crons
    return low <= ends[0] <= ends[1] <= high and not (found["step"] and found["last"] is None)


def _number(word: str, low: int, names: tuple[str, ...]) -> int:
    if word in names:
        return names.index(word) + low
    return int(word) if word.isdigit() and word.isascii() else -1
