"""The worker's reports of itself: the newest of each recipe, written by a thread so that no window waits for a disk."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace

import psutil

from crucible.clock import SystemClock
from crucible.settings import Settings
from crucible.worker.daemon_thread import in_daemon_thread
from crucible.worker.deployment import BEAT_SECONDS, Actual, write_actual

_GATHER_SECONDS = 0.05  # changes that come together are written together


class Reporter:
    """Keeps what every recipe of this process reports, and writes it when it changes and every two seconds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._actual: dict[str, Actual] = {}
        self._changed = asyncio.Event()
        self._writing = threading.Lock()
        process = psutil.Process(os.getpid())
        self._pid, self._started = process.pid, process.create_time()

    def of(self, recipe: str) -> Actual:
        """Return what ``recipe`` reports at present."""
        if recipe not in self._actual:
            self._actual[recipe] = Actual(
                recipe=recipe, pid=self._pid, started=self._started, state="starting", bundle="", generation=0,
                model_version=0, refused_generation=0, address="", last_nonce=0, beat=_now(), message="",
            )  # fmt: skip
        return self._actual[recipe]

    def report(self, recipe: str, **changes: object) -> None:
        """Change what ``recipe`` reports; on the disk soon."""
        self._actual[recipe] = replace(self.of(recipe), beat=_now(), **changes)  # type: ignore[arg-type]
        self._changed.set()

    def forget(self, recipe: str) -> None:
        """Report ``recipe`` no longer."""
        self._actual.pop(recipe, None)

    async def run(self) -> None:
        """Write for ever.

        Raises
        ------
        StoreError
            If the disk refuses.
        """
        while True:
            self._changed.clear()
            await in_daemon_thread(self.write)
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._changed.wait()
                await asyncio.sleep(_GATHER_SECONDS)
            except TimeoutError:
                continue

    def write(self) -> None:
        """Write every report now; of two threads that write, the later one has the last word."""
        with self._writing:  # or a thread that was abandoned at the end would write "ready" over "stopped"
            for actual in list(self._actual.values()):  # only read here: another thread may be changing it
                write_actual(self._settings, replace(actual, beat=_now()))


def _now() -> float:
    return SystemClock().now().timestamp()
