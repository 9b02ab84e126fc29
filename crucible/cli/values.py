"""Option values of the command line: durations and instants (``type=duration`` in a click option)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from crucible.duration import parse_duration


def duration(text: str | timedelta) -> timedelta:
    """Return the duration that ``text`` names, for example ``5m``.

    Raises
    ------
    click.BadParameter
        If it names none.
    """
    if isinstance(text, timedelta):
        return text
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error


def offset(text: str | timedelta) -> timedelta:
    """Return the duration that ``text`` names, which may also be nothing: ``0m``.

    Raises
    ------
    click.BadParameter
        If it names none.
    """
    return timedelta(0) if text in ("0", "0s", "0m", "0h") else duration(text)


def instant(text: str | datetime) -> datetime:
    """Return the instant in ISO 8601 ``text``, UTC.

    Raises
    ------
    click.BadParameter
        If it is none, or has no time zone.
    """
    try:
        found = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no ISO 8601 instant; write for example 2026-01-01T00:00:00Z.") from error
    if found.tzinfo is None:
        raise click.BadParameter(f"{text!r} has no time zone; write {text}Z if it is UTC.")
    return found.astimezone(UTC)
