"""The first stage of the picture, and what else is done to stored bars: fetch, judge, hand to an audit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import pyarrow as pa

from crucible.data_settings import DataSection
from crucible.features.engine import warmup_bars
from crucible.market.ingest import IngestReport, history_span, present
from crucible.market.quality import MonthReport, all_reports, inspect
from crucible.market.quality_page import page
from crucible.market.quarantine import quarantined
from crucible.market.recipe_bars import history_of, read_bars, series_of
from crucible.market.store import BarStore, Series
from crucible.market.update import open_sources, update
from crucible.process import write_atomic
from crucible.recipe import Recipe
from crucible.settings import Settings

Progress = Callable[[int, int], None]


def bar_store(settings: Settings) -> BarStore:
    """Return the bar store of this home."""
    return BarStore(settings.bars, clock=settings.clock)


def fetch_bars(settings: Settings, recipe: Recipe, progress: Progress | None = None) -> tuple[IngestReport, ...]:
    """Bring the recipe's history up to date, and that of its peers after it; return what was done for each.

    Only missing ranges are requested, of one source after the other.
    """
    return tuple(_fetch_symbol(settings, member, progress) for member in recipe.data.members)


def _fetch_symbol(settings: Settings, data: DataSection, progress: Progress | None) -> IngestReport:
    sources = open_sources(data.sources, data.symbol, settings)
    # a shifted or longer bar that ends the history may have begun a little earlier
    margin = data.interval - data.stored
    start, end = history_span(present(sources.all), data.history + margin, data.stored)
    series = series_of(data)
    report = update(sources, bar_store(settings), series, start, end, progress)
    inspect_bars(settings, series, report.months)
    return report


def fetch_month(settings: Settings, data: DataSection, month: str) -> IngestReport:
    """Bring one month (``2026-01``) of the stored bars up to date, and judge it."""
    start = datetime.fromisoformat(f"{month}-01T00:00:00+00:00")
    end = (start + timedelta(days=32)).replace(day=1)
    series = series_of(data)
    report = update(open_sources(data.sources, data.symbol, settings), bar_store(settings), series, start, end)
    inspect_bars(settings, series, report.months)
    return report


def inspect_bars(
    settings: Settings, series: Series, months: Iterable[str], progress: Progress | None = None
) -> list[MonthReport]:
    """Judge months of a series, put those that fail into quarantine, and write the quality page."""
    store = bar_store(settings)
    reports = inspect(store, series, months, settings.quality, progress)
    if reports:
        text = page(all_reports(settings.quality), quarantined(store), f"{settings.clock.now():%Y-%m-%d %H:%M} UTC")
        write_atomic(settings.quality / "index.html", text.encode())
    return reports


def audit_bars(settings: Settings, recipe: Recipe, count: int = 0) -> pa.Table:
    """Return the newest stored bars for an audit: ``count`` of them, or what a quick one needs.

    Raises
    ------
    DataError
        If no bars are stored.
    """
    store = bar_store(settings)
    start, end = history_of(store, recipe.data)
    wanted = min(count or max(4 * warmup_bars(recipe), 1500), (end - start) // recipe.data.interval)
    return read_bars(store, recipe.data, end - wanted * recipe.data.interval, end)
