"""``crucible practice``: serve a simulated or replayed exchange on loopback."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crucible.cli.values import duration, instant

if TYPE_CHECKING:
    from datetime import datetime

    from crucible.practice.market import Market

_DEFAULT_LISTING = timedelta(days=120)


@click.group()
def practice() -> None:
    """Serve a simulated or replayed exchange on loopback."""


@practice.command()
@click.option("--simulate", is_flag=True, help="A seeded simulated market, minute by minute.")
@click.option(
    "--bars", "files", multiple=True, type=click.Path(path_type=Path),
    help="A Parquet or CSV file of bars to replay instead; one per --symbol.",
)  # fmt: skip
@click.option("--symbol", "symbols", multiple=True, default=("BTCUSDT",), show_default=True, help="May be repeated.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the simulated market.")
@click.option(
    "--signal", "strength", type=float, default=0.0, show_default=True,
    help="Correlation with the coming return that a perfect forecaster attains; 0 is pure noise.",
)  # fmt: skip
@click.option("--signal-horizon", type=duration, default="5m", show_default=True, help="The horizon of that return.")
@click.option(
    "--turns-at",
    type=instant,
    help="When the signal turns: from then on what predicted the market misleads.  [default: never]",
)
@click.option("--listed", type=instant, help="When simulated trading began.  [default: 120 days ago]")
@click.option("--interval", type=duration, default="5m", show_default=True, help="Length of the bars in the file.")
@click.option("--allow-gaps", is_flag=True, help="Accept a file in which bars are missing; they stay missing.")
@click.option("--weight-limit", type=click.IntRange(min=1), help="Answer 429 beyond this request weight per minute.")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 for a free one.  [default: 0]")
@click.option(
    "--ready-file", type=click.Path(path_type=Path), help="Written once it listens: url, symbols, first, last."
)
def serve(
    simulate: bool,
    files: tuple[Path, ...],
    symbols: tuple[str, ...],
    seed: int,
    strength: float,
    signal_horizon: timedelta,
    turns_at: datetime | None,
    listed: datetime | None,
    interval: timedelta,
    allow_gaps: bool,
    weight_limit: int | None,
    host: str,
    port: int,
    ready_file: Path | None,
) -> None:
    """Speak Binance's kline API over a simulated market or files of real bars, until Ctrl-C.

    The clock (CRUCIBLE_CLOCK) decides which bars have happened, so a recorded year can pass in an hour.

    \b
    Examples:
      crucible practice serve --simulate --seed 7 --signal 0.2 --port 8100
      crucible practice serve --simulate --signal 0.6 --signal-horizon 1h --turns-at 2026-08-01T00:00:00Z
      crucible practice serve --bars BTCUSDT_5m.parquet --interval 5m --port 8100
      curl 'http://127.0.0.1:8100/api/v3/klines?symbol=BTCUSDT&interval=5m&limit=3'
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    from crucible.practice.run import run
    from crucible.practice.server import Exchange
    from crucible.practice.weight import WeightMeter
    from crucible.settings import Settings

    if simulate == bool(files):
        raise click.UsageError("Say either --simulate or --bars FILE.")
    if turns_at and not strength:
        raise click.UsageError("--turns-at needs a --signal that can turn.")
    clock = Settings.load().clock
    market: Market
    if files:
        market = _replayed(files, symbols, interval, allow_gaps)
    else:
        from crucible.practice.reversal import reversal_of
        from crucible.practice.signal import plant
        from crucible.practice.simulate import SimulatedMarket

        since, signal = listed or clock.now() - _DEFAULT_LISTING, plant(strength, signal_horizon)
        turn = (turns_at, reversal_of(signal, signal_horizon)) if turns_at else None
        market = SimulatedMarket(symbols, since, seed, signal, turn)
    run(
        Exchange(market, clock, WeightMeter(weight_limit)),
        host,
        port,
        ready_file,
        lambda url: click.echo(f"practice exchange: {url}/api/v3/klines ({', '.join(symbols)}); Ctrl-C ends it"),
    )


def _replayed(files: tuple[Path, ...], symbols: tuple[str, ...], interval: timedelta, allow_gaps: bool) -> Market:
    from crucible.market.files import read_bar_file
    from crucible.practice.replay import ReplayMarket

    if len(files) != len(symbols):
        raise click.UsageError(
            f"There are {len(files)} --bars and {len(symbols)} --symbol; each file needs its symbol."
        )
    bars = {
        symbol: read_bar_file(file, symbol, interval, allow_gaps=allow_gaps)
        for file, symbol in zip(files, symbols, strict=True)
    }
    return ReplayMarket(bars, interval)
