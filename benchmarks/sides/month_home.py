"""A home whose clock is stepped: practice exchange, localnet and the real fleet, moved on an hour at a time."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.sides.month_world import BLOCK, HOUR, START, SYMBOLS, Calendar, month_market, month_recipe, recipe_text
from crucible.chain.keystore import Keystore
from crucible.clock import SteppedClock
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.run import topic_of
from crucible.practice.embedded import EmbeddedExchange
from crucible.process import Child, stop_all
from crucible.settings import Settings

_BLOCKS = 12
_USUAL_SPEED = 60.0  # an hour in a minute: by this the worker reckons its deadlines
_PATIENCE = 30.0  # real seconds for a window's submissions; then the chain goes on without them
_BEFORE = timedelta(minutes=50)  # of blocks a second apart, in which the worker registers


class MonthHome:
    """Everything that runs in the month, besides Dagster and the monitor, which the driver plays.

    Parameters
    ----------
    folder : Path
        The home.
    project : Path
        The folder that holds ``dagster.yaml``.
    calendar : Calendar
        What is planted.
    seed : int
        Of the market and of the house.
    names : sequence of str
        Recipes.
    """

    def __init__(
        self, folder: Path, project: Path, calendar: Calendar, seed: int, names: Sequence[str] = tuple(SYMBOLS)
    ) -> None:
        self.folder, self.project, self.calendar, self.seed, self.names = folder, project, calendar, seed, names
        self.clock = SteppedClock(folder / "clock", _USUAL_SPEED)
        self.slow: list[str] = []
        """Windows in which not all submissions had come before the chain went on."""

    def __enter__(self) -> Self:
        """Write the recipes, start everything, and make this process's environment that of the home."""
        self._stack = ExitStack()
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything that was started."""
        self._stack.close()

    def _start(self) -> None:
        recipes = self.folder / "recipes"
        recipes.mkdir(parents=True)
        for name in self.names:
            (recipes / f"{name}.toml").write_text(recipe_text(name))
        dagster = self.folder / "data" / "dagster"
        dagster.mkdir(parents=True)
        shutil.copy(self.project / "dagster.yaml", dagster)
        self.clock.move_to(START - _BEFORE)
        market = month_market(self.seed, self.calendar)
        exchange = self._stack.enter_context(EmbeddedExchange(market, self.clock))
        exchange.exchange.stream.update = 5.0
        topics = [topic_of(month_recipe(name), "testnet", BLOCK) for name in self.names]
        self.node = self._stack.enter_context(
            EmbeddedLocalnet(topics, block_seconds=0, clock=self.clock, exchange_url=exchange.url, competitors=2)
        )
        self.node.core.time = (START - _BEFORE).timestamp()
        values = {
            "CRUCIBLE_HOME": str(self.folder), "CRUCIBLE_RECIPES": str(recipes), "CRUCIBLE_CLOCK": self.clock.text(),
            "CRUCIBLE_EXCHANGE_URL": exchange.url, "CRUCIBLE_GRPC_URL": self.node.grpc_url,
            "CRUCIBLE_WEBSOCKET_URL": self.node.websocket_url, "CRUCIBLE_FAUCET_URL": self.node.faucet_url,
            "CRUCIBLE_API_URL": self.node.api_url, "DAGSTER_HOME": str(dagster),
            "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        before = dict(os.environ)
        self._stack.callback(lambda: (os.environ.clear(), os.environ.update(before)))
        os.environ.update(values)
        self.settings = Settings.load()
        self.address = Keystore(self.settings.keystore).create("month").address
        self.node.fund(self.address)
        self._fleet = Child.crucible(
            "fleet", ["fleet", "run"], log=self.folder / "data" / "logs" / "fleet.log", env=dict(os.environ),
            cwd=self.project,
        )  # fmt: skip
        self._stack.callback(lambda: stop_all([self._fleet]))

    @contextmanager
    def short_blocks(self) -> Iterator[None]:
        """Make a block a second, each a second of the clock long: for what needs a chain before the month begins."""
        stop = threading.Event()

        def make() -> None:
            while not stop.wait(0.2):
                self.node.step()
                self.clock.move_to(datetime.fromtimestamp(self.node.core.time, START.tzinfo))

        thread = threading.Thread(target=make, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def hour(self, at: datetime) -> None:
        """Live through the hour that begins at ``at``: its window opens, everybody answers, the chain goes on."""
        self._fleet.check()
        self._block(at)
        self._await_answers(at)
        for number in range(1, _BLOCKS):
            self._block(at + number * BLOCK)
        self.clock.move_to(at + HOUR - timedelta(seconds=1))

    def _block(self, at: datetime) -> None:
        self.clock.move_to(at)
        self.node.step(at.timestamp())

    def _await_answers(self, at: datetime) -> None:
        """Wait until every topic's answer is in the mempool; an hour that takes too long goes on all the same."""
        core, wanted = self.node.core, self.served
        begun, end = core.ledger.accounts[self.address].sequence, time.monotonic() + _PATIENCE
        while core.pending_account(self.address).sequence - begun < wanted or not self.node.idle:
            if time.monotonic() > end:
                self.slow.append(at.isoformat())
                return
            time.sleep(0.005)

    served = 0
    """How many topics are served, and answer every window."""
