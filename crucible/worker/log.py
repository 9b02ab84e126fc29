"""Log lines that carry the time of the clock that all processes share."""

from __future__ import annotations

import logging

from crucible.clock import Clock


class _ClockFormatter(logging.Formatter):
    def __init__(self, clock: Clock) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._clock = clock

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return self._clock.now().isoformat(timespec="milliseconds")


def log_to_stderr(clock: Clock) -> None:
    """Send this process's log to stderr, one line per change, stamped by ``clock``."""
    handler = logging.StreamHandler()
    handler.setFormatter(_ClockFormatter(clock))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
