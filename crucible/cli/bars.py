"""``crucible bars``: fetch, import and inspect bars."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crucible.cli.values import duration

if TYPE_CHECKING:
    from crucible.market.ingest import IngestReport
    from crucible.market.series import Coverage, Series
    from crucible.recipe import DataSection
    from crucible.settings import Settings


@click.group()
def bars() -> None:
    """Fetch, import and inspect bars."""


@bars.command()
@click.argument("recipe")
@click.option("--recheck", is_flag=True, help="Ask again for bars that the exchange did not have before.")
def fetch(recipe: str, recheck: bool) -> None:
    """Bring the stored history of RECIPE up to date from its exchange.

    Only what is missing is asked for. CRUCIBLE_EXCHANGE_URL names another server with the same API, for example the
    practice exchange.

    Example: crucible bars fetch btc_usd_5min
    """
    from crucible.market.store import BarStore, Series
    from crucible.recipe import find_recipe
    from crucible.settings import Settings

    settings = Settings.load()
    data = find_recipe(settings.recipes, recipe).data
    series = Series(data.source, data.symbol, data.interval)
    if recheck:
        BarStore(settings.bars).forget_absent(series)
    report = _fetch(settings, data, series)
    click.echo(
        f"{series}: {report.rows_new} new bars, {report.rows_total} stored, "
        f"{sum(gap.bars for gap in report.gaps)} missing in {len(report.gaps)} gaps"
    )


def _fetch(settings: Settings, data: DataSection, series: Series) -> IngestReport:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from crucible.market.ingest import history_span, ingest
    from crucible.market.source import open_source
    from crucible.market.store import BarStore

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    source = open_source(data.source, settings.exchange_url)
    start, end = history_span(source.now(), data.history, data.interval)
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(str(series), total=None)
        return ingest(
            source, BarStore(settings.bars), series, start, end,
            lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip


@bars.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--symbol", required=True, help="The exchange's id, for example BTCUSDT.")
@click.option("--interval", type=duration, required=True, help="Length of a bar, for example 5m.")
@click.option("--source", default="binance", show_default=True, help="Under which source the bars are stored.")
@click.option("--allow-gaps", is_flag=True, help="Accept missing bars; they stay missing.")
def import_(file: Path, symbol: str, interval: timedelta, source: str, allow_gaps: bool) -> None:
    """Add the bars of a Parquet or CSV FILE to the store.

    Its columns are open_time, open, high, low, close and volume; open_time has a time zone, or is in milliseconds
    since 1970. Bars that are stored already are replaced where they differ.

    Example: crucible bars import BTCUSDT_5m.csv --symbol BTCUSDT --interval 5m
    """
    from crucible.market.files import read_bar_file
    from crucible.market.store import BarStore, Series
    from crucible.settings import Settings

    series = Series(source, symbol, interval)
    report = BarStore(Settings.load().bars).write(series, read_bar_file(file, symbol, interval, allow_gaps=allow_gaps))
    click.echo(
        f"{series}: {report.rows_new} new bars, {report.rows_changed} changed, {report.rows_total} stored; "
        f"partitions written: {report.partitions}"
    )


@bars.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every gap.")
def show(as_json: bool) -> None:
    """List what is stored: ranges, rows and gaps.

    Example: crucible bars show --json
    """
    from crucible.market.store import BarStore
    from crucible.settings import Settings

    store = BarStore(Settings.load().bars)
    found = [(series, store.coverage(series)) for series in store.series()]
    if as_json:
        click.echo(json.dumps([_row(series, coverage) for series, coverage in found], indent=2))
        return
    if not found:
        click.echo(f"No bars are stored in {store.root} so far; try: crucible bars fetch btc_usd_5min")
        return
    _print_table(found)


def _print_table(found: list[tuple[Series, Coverage]]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(
        Column("series", no_wrap=True), "first (UTC)", "last (UTC)", "rows", "missing", "longest gap", title="Bars"
    )
    for series, coverage in found:
        longest = max(coverage.gaps, key=lambda gap: gap.bars, default=None)
        gap = f"{longest.bars} from {longest.start:%Y-%m-%d}" if longest else "-"
        ends = (f"{at:%Y-%m-%d %H:%M}" if at else "-" for at in (coverage.first, coverage.last))
        table.add_row(str(series), *ends, f"{coverage.rows:,}", f"{coverage.missing:,}", gap)
    Console().print(table)


def _row(series: Series, coverage: Coverage) -> dict[str, Any]:
    from crucible.duration import format_duration

    return {
        "source": series.source,
        "symbol": series.symbol,
        "interval": format_duration(series.interval),
        "first": coverage.first.isoformat() if coverage.first else None,
        "last": coverage.last.isoformat() if coverage.last else None,
        "rows": coverage.rows,
        "missing": coverage.missing,
        "gaps": [
            {"start": gap.start.isoformat(), "end": gap.end.isoformat(), "bars": gap.bars} for gap in coverage.gaps
        ],
    }
