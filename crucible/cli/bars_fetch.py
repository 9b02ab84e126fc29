"""``crucible bars backfill`` and ``crucible bars repair``: bars from sources into the store."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from crucible.cli.bars_quality import inspect_with_progress
from crucible.cli.bars_target import Target, find_targets, progress_bar
from crucible.cli.values import instant

if TYPE_CHECKING:
    from crucible.settings import Settings

_SOURCES_HELP = "Ask this source (repeatable, in order) instead of the recipe's; coinbase:BTCUSD names its symbol."


@click.command()
@click.argument("target")
@click.option("--from", "start", type=instant, help="First open time, ISO 8601; by default the recipe's history.")
@click.option("--to", "end", type=instant, help="Open times before this instant only; by default the present.")
@click.option("--source", "sources", multiple=True, help=_SOURCES_HELP)
@click.option("--recheck", is_flag=True, help="Ask again for bars that the source did not have before.")
def backfill(
    target: str, start: datetime | None, end: datetime | None, sources: tuple[str, ...], recheck: bool
) -> None:
    """Fetch what is missing of TARGET, a recipe (with its peers) or SOURCE/SYMBOL/INTERVAL, and check what has come.

    Only what is missing is asked for, so an interrupted run goes on where it stopped. Where a source fails, the next
    one is asked; bars of another exchange only fill gaps, where they agree with ours. CRUCIBLE_EXCHANGE_URL names
    another server with Binance's API, for example the practice exchange.

    \b
    Examples:
      crucible bars backfill btc_usd_5min
      crucible bars backfill binance/ETHUSDT/1m --from 2021-01-01T00:00Z --source binance_archive --source binance
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    from crucible.settings import Settings

    settings = Settings.load()
    for found in find_targets(settings, target):
        _backfill(settings, found, start, end, sources, recheck)


def _backfill(
    settings: Settings, found: Target, start: datetime | None, end: datetime | None, sources: tuple[str, ...],
    recheck: bool,
) -> None:  # fmt: skip
    from crucible.bar_stages import bar_store
    from crucible.market.ingest import history_span, present
    from crucible.market.update import update

    store, series = bar_store(settings), found.series
    opened = found.open(settings, sources)
    if recheck:
        store.ledger(series).forget()
    now = present(opened.all)
    if start is None:
        if found.history is None:
            raise click.UsageError("A bare series has no history; say --from, for example 2025-01-01T00:00Z.")
        start = history_span(now, found.history, series.interval)[0]
    with progress_bar(str(series)) as progress:
        report = update(opened, store, series, start, end or now, progress)
    inspect_with_progress(settings, series, report.months)
    click.echo(
        f"{series}: {report.rows_new} new bars, {report.rows_revised} revised, {report.rows_total} stored, "
        f"{sum(gap.bars for gap in report.gaps)} missing in {len(report.gaps)} gaps"
    )


@click.command()
@click.argument("target")
@click.option("--from", "start", type=instant, help="Gaps from here on only, ISO 8601.")
@click.option("--to", "end", type=instant, help="Gaps before this instant only.")
@click.option("--source", "sources", multiple=True, help=_SOURCES_HELP)
@click.option(
    "--tolerance", type=click.FloatRange(min=0), default=0.005, show_default=True, help="Largest |log ratio| of closes."
)
@click.option("--all", "every", is_flag=True, help="Also gaps in which nothing was traded.")
def repair(
    target: str, start: datetime | None, end: datetime | None, sources: tuple[str, ...], tolerance: float, every: bool
) -> None:
    """Try to mend the gaps of TARGET: its own source again, then the others.

    Another exchange's bars are taken if they agree with ours around the gap to within the tolerance; otherwise they
    go into quarantine. They are marked in the store (column filled_from), counted by `crucible bars ls`, and give way
    to our own source's bars when these come. Months in quarantine are fetched anew.

    Example: crucible bars repair binance/BTCUSDT/1h --source binance --source coinbase:BTCUSD
    """
    from crucible.settings import Settings

    settings = Settings.load()
    for found in find_targets(settings, target):
        _repair(settings, found, start, end, sources, tolerance, every)


def _repair(
    settings: Settings, found: Target, start: datetime | None, end: datetime | None, sources: tuple[str, ...],
    tolerance: float, every: bool,
) -> None:  # fmt: skip
    from crucible.bar_stages import bar_store
    from crucible.market.repair import repair as mend

    store, series = bar_store(settings), found.series
    ledger = store.ledger(series)
    explained = ledger.explain(store.coverage(series).gaps)
    # a month in quarantine is a gap only where others lie on both sides of it, so these are taken from the ledger
    aside = [(note.start, note.end) for note in ledger.notes() if note.cause == "quarantined"]
    gaps = [
        (gap.start, gap.end) for gap in explained if gap.cause != "quarantined" and (every or gap.cause != "no trades")
    ]
    spans = sorted(
        (low, high) for low, high in [*gaps, *aside] if (not start or high > start) and (not end or low < end)
    )
    if not spans:
        without = f" ({len(explained)} gaps without trades)" if explained else ""
        click.echo(f"{series}: there is nothing to mend{without}")
        return
    opened = found.open(settings, sources)
    with progress_bar(f"{series}: gaps") as progress:
        report = mend(opened.own, opened.others, store, series, spans, tolerance=tolerance, progress=progress)
    inspect_with_progress(settings, series, report.months)
    for sentence in report.refused:
        click.echo(sentence)
    taken = ", ".join(f"{bars} from {name}" for name, bars in report.filled.items()) or "none from others"
    click.echo(f"{series}: {len(spans)} gaps, {report.own} bars of its own, {taken}; {report.left} still missing")
