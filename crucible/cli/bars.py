"""``crucible bars``: fetch, mend, import, export and inspect bars."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crucible.cli.bars_fetch import backfill, repair
from crucible.cli.bars_mirror import pull, push
from crucible.cli.bars_quality import accept, check
from crucible.cli.bars_target import find_target, find_targets
from crucible.cli.sql import sql
from crucible.cli.values import duration, instant, offset

if TYPE_CHECKING:
    from crucible.market.ledger import ExplainedGap
    from crucible.market.series import Coverage, Series
    from crucible.market.store import BarStore


@click.group()
def bars() -> None:
    """Fetch, mend, import, export and inspect bars.

    Where a command takes a TARGET, it is the name of a recipe, or a series written SOURCE/SYMBOL/INTERVAL, for
    example binance/BTCUSDT/5m.
    """


for command in (backfill, repair, check, accept, push, pull, sql):
    bars.add_command(command)


@bars.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every gap.")
def ls(as_json: bool) -> None:
    """List what is stored, and what is in quarantine.

    Example: crucible bars ls --json
    """
    from crucible.bar_stages import bar_store
    from crucible.market.quarantine import quarantined
    from crucible.settings import Settings

    store = bar_store(Settings.load())
    found = [(series, store.coverage(series)) for series in store.series()]
    aside = quarantined(store)
    if as_json:
        rows = [_row(store, series, coverage) for series, coverage in found]
        away = [{"series": str(item.series), "month": item.month, "bars": item.bars, "why": item.why} for item in aside]
        click.echo(json.dumps({"series": rows, "quarantine": away}, indent=2))
        return
    if not found:
        click.echo(f"No bars are stored in {store.root} so far; try: crucible bars backfill btc_usd_5min")
    else:
        _print_table(store, found)
    for item in aside:
        click.echo(f"in quarantine: {item.series} {item.month}, {item.bars} bars: {item.why}")


@bars.command()
@click.argument("target", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def gaps(target: str | None, as_json: bool) -> None:
    """List every missing interval of TARGET (of everything, without one), and why it is missing.

    Example: crucible bars gaps binance/BTCUSDT/1h
    """
    from rich.console import Console
    from rich.table import Column, Table

    from crucible.bar_stages import bar_store
    from crucible.settings import Settings

    settings = Settings.load()
    store = bar_store(settings)
    wanted = [found.series for found in find_targets(settings, target)] if target else store.series()
    found = [(series, store.ledger(series).explain(store.coverage(series).gaps)) for series in wanted]
    if as_json:
        click.echo(json.dumps([_gap_row(series, gap) for series, items in found for gap in items], indent=2))
        return
    for series, items in found:
        missing = sum(gap.bars for gap in items)
        longest = max((gap.bars for gap in items), default=0)
        title = f"{series}: {missing:,} bars missing in {len(items):,} gaps, the longest {longest}"
        if not items:
            click.echo(f"{series}: no gaps")
            continue
        table = Table("from (UTC)", "to", Column("bars", justify="right"), "cause", "asked", "detail", title=title)
        for gap in items[:50]:
            table.add_row(
                f"{gap.start:%Y-%m-%d %H:%M}", f"{gap.end:%Y-%m-%d %H:%M}", f"{gap.bars:,}", gap.cause, gap.source,
                gap.detail,
            )  # fmt: skip
        Console().print(table)
        if len(items) > 50:
            click.echo(f"and {len(items) - 50:,} more; --json prints them all")


@bars.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--symbol", required=True, help="Base and quote currency, for example BTCUSDT.")
@click.option("--interval", type=duration, required=True, help="Length of a bar, for example 5m.")
@click.option("--source", default="binance", show_default=True, help="Whose bars they are.")
@click.option("--allow-gaps", is_flag=True, help="Accept missing bars; they stay missing, and the ledger says so.")
def import_(file: Path, symbol: str, interval: timedelta, source: str, allow_gaps: bool) -> None:
    """Add the bars of a Parquet, CSV or Feather FILE to the store.

    Its columns are open_time, open, high, low, close and volume; open_time has a time zone, or is in milliseconds
    since 1970. Bars that are stored already are replaced where they differ.

    Example: crucible bars import BTCUSDT_5m.csv --symbol BTCUSDT --interval 5m
    """
    from crucible.bar_stages import bar_store
    from crucible.market.files import import_file
    from crucible.market.series import Series
    from crucible.settings import Settings

    series = Series(source, symbol, interval)
    store = bar_store(Settings.load())
    report = import_file(store, series, file, allow_gaps=allow_gaps)
    stored = store.coverage(series).rows
    click.echo(
        f"{series}: {report.rows_new} new bars, {report.rows_changed} changed, {stored} stored; "
        f"partitions written: {report.partitions}"
    )


@bars.command()
@click.argument("target")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--from", "start", type=instant, help="First open time, ISO 8601; all by default.")
@click.option("--to", "end", type=instant, help="Open times before this instant only.")
@click.option("--interval", type=duration, help="Longer bars, made of the stored ones.")
@click.option("--offset", type=offset, default="0m", show_default=True, help="How far their grid is shifted.")
@click.option(
    "--complete",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Least share of its parts.",
)
def export(
    target: str, file: Path, start: datetime | None, end: datetime | None, interval: timedelta | None,
    offset: timedelta, complete: float,
) -> None:  # fmt: skip
    """Write the bars of TARGET to FILE, as Parquet, CSV or Feather by its ending.

    Example: crucible bars export binance/BTCUSDT/5m btc_1h.parquet --interval 1h
    """
    from crucible.bar_stages import bar_store
    from crucible.errors import DataError
    from crucible.market.files import write_bar_file
    from crucible.market.resample import resample
    from crucible.settings import Settings

    settings = Settings.load()
    series = find_target(settings, target).series
    stored = bar_store(settings).read(series, start, end)
    if not stored.num_rows:
        raise DataError(f"No bars of {series} are stored there; see `crucible bars ls`.")
    made = resample(stored, series.interval, interval or series.interval, offset=offset, complete=complete)
    write_bar_file(file, made.bars)
    left_out = f"; {made.incomplete} incomplete ones left out" if made.incomplete else ""
    click.echo(f"{file}: {made.bars.num_rows} bars{left_out}")


def _print_table(store: BarStore, found: list[tuple[Series, Coverage]]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    right = [Column(name, justify="right", no_wrap=True) for name in ("bars", "missing", "filled")]
    ends = [Column(name, no_wrap=True) for name in ("series", "first (UTC)", "last (UTC)")]
    table = Table(*ends, *right, title="Bars")
    for series, coverage in found:
        first, last = (f"{at:%Y-%m-%d}" if at else "-" for at in (coverage.first, coverage.last))
        filled = sum(item.bars for part in store.manifests(series).values() for item in part.filled)
        table.add_row(str(series), first, last, f"{coverage.rows:,}", f"{coverage.missing:,}", f"{filled:,}")
    Console().print(table)


def _row(store: BarStore, series: Series, coverage: Coverage) -> dict[str, Any]:
    from crucible.duration import format_duration

    manifests = store.manifests(series)
    return {
        "source": series.source,
        "symbol": series.symbol,
        "interval": format_duration(series.interval),
        "first": coverage.first.isoformat() if coverage.first else None,
        "last": coverage.last.isoformat() if coverage.last else None,
        "rows": coverage.rows,
        "missing": coverage.missing,
        "filled": sum(item.bars for part in manifests.values() for item in part.filled),
        "gaps": [
            {"start": gap.start.isoformat(), "end": gap.end.isoformat(), "bars": gap.bars} for gap in coverage.gaps
        ],
    }


def _gap_row(series: Series, gap: ExplainedGap) -> dict[str, Any]:
    return {
        "series": str(series),
        "start": gap.start.isoformat(),
        "end": gap.end.isoformat(),
        "bars": gap.bars,
        "cause": gap.cause,
        "asked": gap.source,
        "detail": gap.detail,
    }
