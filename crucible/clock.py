"""The only place that reads the wall clock; everything else is handed a :class:`Clock`.

A process learns its clock from text (``CRUCIBLE_CLOCK``), so that the practice exchange, localnet and the worker
agree on the time without talking to each other:

``system``
    Real time.
``2026-02-01T00:00:00Z@1763700000.0x60``
    The given instant happened at that Unix time, and time has run 60 times faster since.
``stepped:60:data/clock``
    The instant that the file holds. Whoever wrote it there decides when time goes on; an hour usually takes a minute.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from crucible.errors import SettingsError

_SCALED = re.compile(r"^(?P<start>[^@]+)@(?P<wall>[0-9.]+)x(?P<speed>[0-9.]+)$")
_STEPPED = re.compile(r"^stepped:(?P<speed>[0-9.]+):(?P<path>.+)$")
_LOOK_SECONDS = 0.02


class Clock(Protocol):
    """What time it is, and how to wait. All instants are aware UTC datetimes."""

    def now(self) -> datetime:
        """Return the present instant, UTC."""
        ...

    def wall_seconds(self, duration: timedelta) -> float:
        """Return how many real seconds ``duration`` of this clock takes."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Wait for ``duration`` of this clock's time."""
        ...

    def text(self) -> str:
        """Return the text from which :func:`parse_clock` makes an equal clock."""
        ...


@dataclass(frozen=True)
class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        """Return the present instant, UTC."""
        return datetime.now(UTC)

    def wall_seconds(self, duration: timedelta) -> float:
        """Return ``duration`` in seconds."""
        return duration.total_seconds()

    async def sleep(self, duration: timedelta) -> None:
        """Wait for ``duration``."""
        await asyncio.sleep(max(duration.total_seconds(), 0.0))

    def text(self) -> str:
        """Return ``system``."""
        return "system"


@dataclass(frozen=True)
class ScaledClock:
    """Time that stood at ``start`` at Unix time ``wall_start`` and runs ``speed`` times as fast as real time."""

    start: datetime
    wall_start: float
    speed: float

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or not self.speed > 0:
            raise SettingsError(f"A scaled clock needs a start with a time zone and a speed above 0, not {self!r}.")

    @classmethod
    def starting(cls, start: datetime, speed: float) -> ScaledClock:
        """Return a clock that stands at ``start`` now."""
        return cls(start=start, wall_start=time.time(), speed=speed)

    def now(self) -> datetime:
        """Return the present instant of this clock, UTC."""
        return self.start + timedelta(seconds=(time.time() - self.wall_start) * self.speed)

    def wall_seconds(self, duration: timedelta) -> float:
        """Return how many real seconds ``duration`` takes."""
        return duration.total_seconds() / self.speed

    async def sleep(self, duration: timedelta) -> None:
        """Wait for ``duration`` of this clock's time."""
        await asyncio.sleep(max(self.wall_seconds(duration), 0.0))

    def text(self) -> str:
        """Return ``<start>@<wall_start>x<speed>``."""
        return f"{self.start.astimezone(UTC).isoformat()}@{self.wall_start!r}x{self.speed!r}"


@dataclass(frozen=True)
class SteppedClock:
    """The instant that a file holds: several processes share a time that one of them moves, as slowly as it must.

    Attributes
    ----------
    path : pathlib.Path
        The file; ISO, UTC.
    speed : float
        How many times faster than real time it usually runs: only patience is reckoned by it.
    """

    path: Path
    speed: float

    def now(self) -> datetime:
        """Return the instant that the file holds.

        Raises
        ------
        SettingsError
            If there is no such file, or it holds no instant.
        """
        try:
            return datetime.fromisoformat(self.path.read_text())
        except (OSError, ValueError) as error:
            raise SettingsError(f"The stepped clock {self.path} cannot be read ({error}).") from error

    def move_to(self, instant: datetime) -> None:
        """Let it be ``instant``, aware, for every process that reads this clock."""
        fresh = self.path.with_name(self.path.name + ".next")
        fresh.write_text(instant.astimezone(UTC).isoformat())
        fresh.replace(self.path)

    def wall_seconds(self, duration: timedelta) -> float:
        """Return how many real seconds ``duration`` usually takes."""
        return duration.total_seconds() / self.speed

    async def sleep(self, duration: timedelta) -> None:
        """Wait until the clock was moved on by ``duration``."""
        until = self.now() + duration
        while self.now() < until:
            await asyncio.sleep(_LOOK_SECONDS)

    def text(self) -> str:
        """Return ``stepped:<speed>:<path>``."""
        return f"stepped:{self.speed!r}:{self.path}"


@dataclass
class ManualClock:
    """A clock that a test moves by hand; sleeping moves it."""

    at: datetime
    on_advance: list[Callable[[datetime], None]] = field(default_factory=list)

    def now(self) -> datetime:
        """Return the instant it was set to."""
        return self.at

    def advance(self, duration: timedelta) -> None:
        """Move forward by ``duration`` and call the listeners."""
        self.at += duration
        for listener in self.on_advance:
            listener(self.at)

    def wall_seconds(self, duration: timedelta) -> float:
        """Return 0: waiting on this clock takes no real time."""
        return 0.0

    async def sleep(self, duration: timedelta) -> None:
        """Advance by ``duration`` without waiting."""
        self.advance(max(duration, timedelta(0)))
        await asyncio.sleep(0)

    def text(self) -> str:
        """Raise, because another process cannot follow a clock that is moved by hand."""
        raise SettingsError("A manual clock cannot be shared with another process.")


def parse_clock(text: str) -> Clock:
    """Return the clock that ``text`` describes.

    Raises
    ------
    SettingsError
        If it is neither ``system`` nor ``<ISO instant>@<unix seconds>x<speed>`` nor ``stepped:<speed>:<path>``.
    """
    if text == "system":
        return SystemClock()
    if (stepped := _STEPPED.match(text)) and float(stepped["speed"]) > 0:
        return SteppedClock(Path(stepped["path"]), float(stepped["speed"]))
    match = _SCALED.match(text)
    try:
        if match is None:
            raise ValueError(text)
        start = datetime.fromisoformat(match["start"])
        return ScaledClock(start=start, wall_start=float(match["wall"]), speed=float(match["speed"]))
    except ValueError:
        raise SettingsError(
            f"CRUCIBLE_CLOCK is {text!r}; it must be 'system' or '<ISO instant>@<unix seconds>x<speed>'."
        ) from None
