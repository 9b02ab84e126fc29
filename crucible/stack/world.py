"""The market and the clock that all processes of one home share, kept so that a second start continues the first."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crucible.clock import ScaledClock
from crucible.duration import format_duration
from crucible.errors import SettingsError
from crucible.process import write_json
from crucible.recipe import Recipe

SIMULATION_START = datetime(2026, 1, 5, tzinfo=UTC)
"""Where the clock of a new simulated market stands; any Monday would do."""

SIMULATION_LISTED = SIMULATION_START - timedelta(days=800)
"""When the simulated market began: enough history for every shipped recipe."""

REPLAY_LEFT = timedelta(days=2)
"""How much of a file of real bars is kept for being lived through."""


@dataclass(frozen=True)
class World:
    """One market under one clock.

    Attributes
    ----------
    exchange : list of str
        Arguments of ``crucible practice serve`` that say which market. A simulated one trades the symbols of whatever
        recipes it is started with.
    now : str
        Where the clock stands when the world is started next, ISO, UTC.
    speed : float
        How many times faster than real time it runs.
    """

    exchange: list[str]
    now: str
    speed: float

    def exchange_arguments(self, symbols: Iterable[str]) -> list[str]:
        """Return the arguments of ``crucible practice serve``; only a simulated market can trade any of ``symbols``."""
        if "--simulate" not in self.exchange:
            return self.exchange
        return [*self.exchange, *(part for symbol in sorted(set(symbols)) for part in ("--symbol", symbol))]

    def clock(self) -> ScaledClock:
        """Return a clock that stands at :attr:`now` at this moment."""
        return ScaledClock.starting(datetime.fromisoformat(self.now), self.speed)

    def stopped_at(self, instant: datetime) -> World:
        """Return the world as it is to be continued after it stopped at ``instant``."""
        return replace(self, now=max(instant, datetime.fromisoformat(self.now)).isoformat())

    def save(self, path: Path) -> None:
        """Write the world to ``path``, atomically."""
        write_json(path, asdict(self))


def simulated(recipe: Recipe, *, seed: int, signal: float, speed: float) -> World:
    """Return a new simulated market.

    Parameters
    ----------
    recipe : Recipe
        Its horizon is where the planted signal can be read.
    seed : int
        Equal seeds give equal markets.
    signal : float
        Attainable correlation between a forecast and the return over the horizon; 0 plants none.
    speed : float
        How many times faster than real time.
    """
    return World(
        exchange=[
            "--simulate", "--seed", str(seed), "--signal", str(signal),
            "--signal-horizon", format_duration(recipe.topic.horizon),
            "--listed", SIMULATION_LISTED.isoformat(),
        ],
        now=SIMULATION_START.isoformat(),
        speed=speed,
    )  # fmt: skip


def replayed(recipe: Recipe, bars: Path, *, speed: float) -> World:
    """Return a market that replays the file ``bars``; its last two days are still to come.

    Raises
    ------
    DataError
        If the file is missing or holds no usable bars; the sentence says which fault.
    SettingsError
        If it is too short for the recipe.
    """
    from crucible.market.files import read_bar_file  # pyarrow, which a simulated market does without

    table = read_bar_file(bars, recipe.data.symbol, recipe.data.stored)
    first, last = table["open_time"][0].as_py(), table["open_time"][-1].as_py()
    now = last - REPLAY_LEFT
    if now - first < recipe.data.history:
        raise SettingsError(
            f"{bars} holds {(last - first).days} days of bars; recipe {recipe.name} needs "
            f"{format_duration(recipe.data.history)} and two more days to live through."
        )
    return World(
        exchange=["--bars", str(bars.resolve()), "--symbol", recipe.data.symbol,
                  "--interval", format_duration(recipe.data.stored)],
        now=now.replace(hour=0, minute=0, second=0, microsecond=0).isoformat(),
        speed=speed,
    )  # fmt: skip


def read_world(path: Path) -> World | None:
    """Return the world that was saved at ``path``, or ``None`` where there is none.

    Raises
    ------
    SettingsError
        If the file is damaged.
    """
    try:
        return World(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"{path} is damaged ({error}); delete {path.parent} to begin anew.") from error
