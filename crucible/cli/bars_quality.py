"""``crucible bars check`` and ``crucible bars accept``: are these bars right, and who says so."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from crucible.cli.bars_target import find_target, find_targets, progress_bar

if TYPE_CHECKING:
    from crucible.market.quality import MonthReport
    from crucible.market.series import Series
    from crucible.settings import Settings


@click.command()
@click.argument("target", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every month, and the checks that it failed.")
def check(target: str | None, as_json: bool) -> None:
    """Judge every stored month of TARGET (of everything, without one); exit 1 if one fails.

    A month that fails is put into quarantine: kept, listed, and not served. The results are JSON in data/quality/,
    and a page, data/quality/index.html.

    Example: crucible bars check binance/BTCUSDT/5m
    """
    from crucible.bar_stages import bar_store
    from crucible.errors import DataError
    from crucible.settings import Settings

    settings = Settings.load()
    store = bar_store(settings)
    wanted = [found.series for found in find_targets(settings, target)] if target else store.series()
    if not wanted or not any(store.files(series) for series in wanted):
        raise DataError("No bars are stored so far; try `crucible bars backfill btc_usd_5min`.")
    failed = 0
    rows: list[dict[str, object]] = []
    for series in wanted:
        reports = inspect_with_progress(settings, series, store.manifests(series), quiet=as_json)
        failed += sum(not report.passed for report in reports)
        rows += [
            {"series": str(series), "month": item.month, "bars": item.rows, "failed": list(item.failed)}
            for item in reports
        ]
        if as_json:
            continue
        click.echo(f"{series}: {len(reports)} months, {sum(report.passed for report in reports)} passed")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo(f"page: {settings.quality / 'index.html'}")
    if failed:
        raise DataError(f"{failed} months failed and are in quarantine; see `crucible bars ls`.")


@click.command()
@click.argument("series")
@click.argument("month")
@click.option("--reason", required=True, help="Why these bars are right; kept with them.")
def accept(series: str, month: str, reason: str) -> None:
    """Put the MONTH (2026-01) of a SERIES back from quarantine, because a person has looked at it.

    The bars in question pass the checks from then on; others do not.

    Example: crucible bars accept binance/BTCUSDT/5m 2025-10 --reason "the crash of October 10, seen on two exchanges"
    """
    from crucible.bar_stages import bar_store
    from crucible.errors import DataError
    from crucible.market.quarantine import accept as put_back
    from crucible.market.quarantine import quarantined
    from crucible.settings import Settings

    settings = Settings.load()
    store, owner = bar_store(settings), find_target(settings, series).series
    entries = [entry for entry in quarantined(store, owner) if entry.month == month]
    if not entries:
        raise DataError(f"Nothing of {owner} {month} is in quarantine; see `crucible bars ls`.")
    for entry in entries:
        put_back(store, entry, reason)
    report = inspect_with_progress(settings, owner, [month])[0]
    if not report.passed:
        raise DataError(f"{owner} {month} failed again, for other reasons: {', '.join(report.failed)}.")
    click.echo(f"{owner} {month}: {report.rows} bars are served again")


def inspect_with_progress(
    settings: Settings, series: Series, months: Iterable[str], *, quiet: bool = False
) -> list[MonthReport]:
    """Judge months with a progress bar, and say what was put into quarantine, unless ``quiet``."""
    from crucible.bar_stages import inspect_bars

    wanted = list(months)
    if not wanted:
        return []
    with progress_bar(f"{series}: checks") as progress:
        reports = inspect_bars(settings, series, wanted, progress)
    for report in reports:
        if not report.passed and not quiet:
            first = f", first at {report.suspects[0][0]}" if report.suspects else ""
            click.echo(f"in quarantine: {series} {report.month}: {', '.join(report.failed)} failed{first}")
    return reports
