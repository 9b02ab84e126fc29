"""Misbehaviour on command: which faults are armed, for how often and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from crucible.errors import SettingsError
from crucible.localnet.fault_table import FAULTS


@dataclass
class Armed:
    """A fault that is on.

    Attributes
    ----------
    count : int or None
        How many occurrences are left; ``None`` for any number.
    until : float or None
        Monotonic time, seconds, at which it ends by itself; ``None`` for never.
    topic : int or None
        The only topic that it hits; ``None`` for all.
    value : float
        What the fault's table row says; 0 if it has none.
    """

    name: str
    count: int | None = None
    until: float | None = None
    topic: int | None = None
    value: float = 0.0


@dataclass
class Faults:
    """All faults of one node. House actors are never hit.

    Attributes
    ----------
    refuse : tuple or None
        ``(codespace, code, text)`` with which the next CheckTx is refused, in whatever words a test likes.
    lose_responses : int
        How many of the next broadcasts are accepted and then answered with an error.
    inclusion_delay : int
        How many blocks a transaction waits in the mempool.
    halted : bool
        No blocks are made by the timer.
    """

    refuse: tuple[str, int, str] | None = None
    lose_responses: int = 0
    inclusion_delay: int = 0
    halted: bool = False
    now: Callable[[], float] = time.monotonic
    _armed: dict[tuple[str, int | None], Armed] = field(default_factory=dict)

    def arm(
        self,
        name: str,
        *,
        count: int | None = None,
        seconds: float | None = None,
        topic: int | None = None,
        value: float | None = None,
    ) -> None:
        """Switch a fault on; one that is on already is set anew.

        Parameters
        ----------
        count : int, optional
            After so many occurrences it is over.
        seconds : float, optional
            Real seconds after which it is over.
        topic : int, optional
            The only topic to hit.
        value : float, optional
            What the fault's table row says.

        Raises
        ------
        SettingsError
            An unknown name, or something that this fault does not take.
        """
        kind = FAULTS.get(name)
        if kind is None:
            raise SettingsError(f"There is no fault {name!r}; `crucible localnet fault --list` shows all.")
        if count is not None and (not kind.by_count or count < 1):
            raise SettingsError(
                f"{name} takes no count of {count}; it lasts until it is cleared or its seconds are over."
            )
        if topic is not None and not kind.by_topic:
            raise SettingsError(f"{name} hits the whole node; it cannot be limited to a topic.")
        if value is not None and (kind.default is None or not value > 0):
            raise SettingsError(f"{name} takes no value {value:g}" + (f"; give {kind.value}." if kind.value else "."))
        if seconds is not None and not seconds > 0:
            raise SettingsError(f"{name} cannot last {seconds:g} s.")
        until = None if seconds is None else self.now() + seconds
        chosen = (kind.default or 0.0) if value is None else value
        self._armed[name, topic] = Armed(name, count, until, topic, chosen)

    def clear(self, name: str | None = None) -> None:
        """Switch off one fault, or all of them, those that are plain attributes included."""
        for key in list(self._armed):
            if name in (None, key[0]):
                del self._armed[key]
        if name is None:
            self.refuse, self.lose_responses, self.inclusion_delay, self.halted = None, 0, 0, False

    def active(self, name: str, topic: int | None = None) -> Armed | None:
        """Return the fault if it is on for ``topic``, without counting an occurrence."""
        for key in ((name, None), (name, topic)):
            armed = self._armed.get(key)
            if armed is None:
                continue
            if armed.until is not None and self.now() >= armed.until:
                del self._armed[key]
                continue
            return armed
        return None

    def take(self, name: str, topic: int | None = None) -> Armed | None:
        """Return the fault if it is on for ``topic``, and count an occurrence."""
        armed = self.active(name, topic)
        if armed is not None and armed.count is not None:
            armed.count -= 1
            if armed.count <= 0:
                del self._armed[armed.name, armed.topic]
        return armed

    def value(self, name: str, otherwise: float) -> float:
        """Return the value of a fault that is on, or ``otherwise``."""
        armed = self.active(name)
        return armed.value if armed else otherwise

    def topics(self, name: str) -> set[int | None]:
        """Return the topics that a fault is on for; ``None`` among them stands for all."""
        return {topic for kind, topic in list(self._armed) if kind == name and self.active(name, topic)}

    def describe(self) -> list[dict[str, Any]]:
        """Return what is on, as plain values; ``seconds`` are those that are left."""
        rows = []
        for name, topic in sorted(self._armed, key=str):
            armed = self.active(name, topic)
            if armed is not None:
                row = asdict(armed)
                until = row.pop("until")
                rows.append({**row, "seconds": None if until is None else round(until - self.now(), 3)})
        return rows
