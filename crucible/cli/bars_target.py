"""What a ``crucible bars`` command is about: a recipe's bars, or a series as SOURCE/SYMBOL/INTERVAL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from crucible.duration import parse_duration

if TYPE_CHECKING:
    from crucible.market.ingest import Progress
    from crucible.market.series import Series
    from crucible.market.update import Sources
    from crucible.settings import Settings


@dataclass(frozen=True)
class Target:
    """A series, the sources that may serve it, and how far back a recipe wants it (None for a bare series)."""

    series: Series
    sources: tuple[str, ...]
    history: timedelta | None

    def open(self, settings: Settings, override: tuple[str, ...] = ()) -> Sources:
        """Open the sources, those of ``--source`` in place of the recipe's where there are any."""
        from crucible.market.update import open_sources
        from crucible.venue import venue_of

        names = override or self.sources
        if venue_of(names[0].split(":")[0]) != self.series.source:
            names = (self.series.source, *names)
        return open_sources(names, self.series.symbol, settings)


def find_target(settings: Settings, text: str) -> Target:
    """Return the one series that ``text`` names; of a recipe, its own symbol's. See :func:`find_targets`."""
    return find_targets(settings, text)[0]


def find_targets(settings: Settings, text: str) -> tuple[Target, ...]:
    """Return what ``text`` names: a series such as ``binance/BTCUSDT/5m``, or a recipe's own and its peers'.

    Raises
    ------
    click.BadParameter
        If it has the form of a series and is none.
    RecipeError
        If there is no such recipe; with the nearest name.
    """
    from crucible.market.recipe_bars import series_of
    from crucible.market.series import Series
    from crucible.recipe import find_recipe

    if "/" in text and not text.endswith(".toml"):
        parts = text.split("/")
        if len(parts) != 3:
            raise click.BadParameter(f"{text!r} is no series; write SOURCE/SYMBOL/INTERVAL, binance/BTCUSDT/5m.")
        try:
            interval = parse_duration(parts[2])
        except ValueError as error:
            raise click.BadParameter(f"{error}.") from error
        return (Target(Series(parts[0], parts[1], interval), (parts[0],), None),)
    data = find_recipe(settings.recipes, text).data
    return tuple(Target(series_of(member), data.sources, data.history) for member in data.members)


@contextmanager
def progress_bar(description: str) -> Iterator[Progress]:
    """Yield a function (done, total) that draws a progress bar on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
