"""Markets whose truth is known, through the whole laboratory: how often noise is promoted, and how often skill."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import pyarrow as pa

from crucible.features.dataset import build_dataset
from crucible.market.bars import BAR_SCHEMA
from crucible.recipe import Recipe, parse_recipe
from crucible.validation.fits import Crew
from crucible.validation.laboratory import examine
from crucible.validation.statistics.precision import exact

FIVE = timedelta(minutes=5)
START = datetime(2024, 1, 1, tzinfo=UTC)
BARS = 20_000
_VOLATILITY = 1e-3


@dataclass(frozen=True)
class Market:
    """A market to be made.

    Attributes
    ----------
    kind : str
        ``walk`` (Gaussian), ``garch`` (fat tails, clustered), ``regimes`` (two volatilities that switch).
    horizon_bars : int
        The target's.
    correlation : float
        What a perfect forecast attains with the return over the horizon; 0 is noise.
    seed : int
        Of all randomness.
    bars : int
        Length of the history.
    half_life : float
        Of the planted momentum, in bars. A signal that lasts as long as the horizon gives far fewer independent
        events: the same correlation then takes several times as long to prove.
    """

    kind: str
    horizon_bars: int
    correlation: float
    seed: int
    bars: int = BARS
    half_life: float = 0.5


@dataclass(frozen=True)
class Judged:
    """What the laboratory said of one market.

    Attributes
    ----------
    market : Market
        Which one.
    promoted : bool
        Whether every gate passed, the deployment set's too.
    candidate : str
        Who was chosen.
    outcomes : dict of str to str
        Gate to outcome.
    p_values : dict of str to float
        Of the tests.
    stopped_by : str
        The first gate that stopped it; empty if promoted.
    seconds : float
        How long it took.
    """

    market: Market
    promoted: bool
    candidate: str
    outcomes: dict[str, str]
    p_values: dict[str, float]
    stopped_by: str
    seconds: float


def null_markets(count: int, seed: int = 0) -> Iterator[Market]:
    """Yield ``count`` markets without any signal: all kinds, horizons of 1, 8, 24 and 288 bars."""
    for index in range(count):
        kind = ("walk", "garch", "regimes")[index % 3]
        yield Market(kind, (1, 8, 24, 288)[index // 3 % 4], 0.0, seed * 100_003 + index)


def power_markets(count: int, correlation: float, seed: int = 1) -> Iterator[Market]:
    """Yield ``count`` markets with a planted ``correlation`` at 8 bars."""
    for index in range(count):
        yield Market(("walk", "garch", "regimes")[index % 3], 8, correlation, seed * 100_003 + index)


def run_suite(
    markets: Sequence[Market], workers: int = 2, progress: Callable[[int, int], None] | None = None
) -> list[Judged]:
    """Judge ``markets``, side by side in ``workers`` processes; told ``(done, total)`` after each."""
    found = []
    for done, item in enumerate(Crew(workers).run(judge_market, [(market,) for market in markets]), start=1):
        found.append(item)
        if progress:
            progress(done, len(markets))
    return found


def judge_market(market: Market) -> Judged:
    """Make ``market``, compute features, and run every stage of the laboratory on it."""
    started = time.perf_counter()
    recipe = suite_recipe(market.horizon_bars, market.bars)
    examined = examine(build_dataset(make_bars(market), recipe), recipe)
    verdict = examined.verdict
    tests = ("knows more than zero", "not the luck of many tries", "confirmed by the deployment set")
    return Judged(
        market, verdict.passed, verdict.candidate, {gate.name: gate.outcome for gate in verdict.gates},
        {gate.name: gate.value for gate in verdict.gates if gate.name in tests},
        next((gate.name for gate in verdict.gates if not gate.passed), ""), time.perf_counter() - started,
    )  # fmt: skip


def make_bars(market: Market) -> pa.Table:
    """Return five-minute bars of ``market``.

    The planted signal is momentum: with standard shocks e and z the sum of past ones, fading by half every
    ``half_life`` bars and scaled to unit variance, the next standardised return is a mix of a shock and z.
    """
    from scipy.signal import lfilter

    generator, n = np.random.default_rng(market.seed), market.bars
    phi = 0.5 ** (1.0 / market.half_life)
    volatility = _volatility(market.kind, generator, n)
    tails = generator.standard_t(5, n) / np.sqrt(5 / 3) if market.kind == "garch" else generator.normal(size=n)
    shocks = tails * volatility
    rho = _strength(market.correlation, market.horizon_bars, phi)
    momentum = np.concatenate([[0.0], lfilter([np.sqrt(1 - phi**2)], [1.0, -phi], tails)[:-1]])
    returns = _VOLATILITY * (np.sqrt(1 - rho**2) * shocks + rho * momentum * volatility)
    close = 100.0 * np.exp(np.cumsum(returns))
    opened = np.concatenate([[100.0], close[:-1]])
    spread = _VOLATILITY * volatility[:, None] * np.abs(generator.normal(size=(n, 2))) * 0.5
    first = int(START.timestamp() * 1e6)
    return pa.table(
        {
            "open_time": pa.array(first + np.arange(n) * (FIVE // timedelta(microseconds=1)), pa.int64()).cast(
                BAR_SCHEMA.field("open_time").type
            ),
            "open": opened,
            "high": np.maximum(opened, close) * np.exp(spread[:, 0]),
            "low": np.minimum(opened, close) * np.exp(-spread[:, 1]),
            "close": close,
            "volume": np.exp(generator.normal(2.0, 0.5, n)) * volatility,
        },
        schema=BAR_SCHEMA,
    )


def _volatility(kind: str, generator: np.random.Generator, n: int) -> np.ndarray:
    if kind == "walk":
        return np.ones(n)
    if kind == "garch":
        # log-volatility as an autoregression with a half-life of a day: clusters, and with t-shocks fat tails
        from scipy.signal import lfilter

        decay = 0.5 ** (1 / 288)
        noise = lfilter([np.sqrt(1 - decay**2)], [1.0, -decay], generator.normal(size=n))
        return np.exp(0.4 * noise)
    switches = generator.random(n) < 1 / 500
    return np.where(np.cumsum(switches) % 2 == 1, 2.0, 0.7)


@lru_cache
def _strength(correlation: float, horizon: int, phi: float) -> float:
    """Return the mix at which a perfect forecast has ``correlation`` with the return over ``horizon`` bars."""
    low, high = 0.0, 0.999
    for _ in range(60 if correlation else 0):
        rho = (low + high) / 2
        gain = rho * (1 - phi**horizon) / (1 - phi)
        c = rho * (np.sqrt((1 - rho**2) * (1 - phi**2)) + rho * phi)
        variance = horizon + 2 * c * (horizon * (1 - phi) - (1 - phi**horizon)) / (1 - phi) ** 2
        low, high = (rho, high) if gain / np.sqrt(variance) < correlation else (low, rho)
    return low if correlation else 0.0


def suite_recipe(horizon_bars: int, bars: int = BARS) -> Recipe:
    """Return the reduced recipe that every market is judged by: all stages, few trials, small trees."""
    step, horizon = int(FIVE.total_seconds()), horizon_bars * int(FIVE.total_seconds())
    usable = bars - 14 * horizon_bars - 100
    deployment, test = usable * 15 // 100, usable * 15 // 100
    return parse_recipe(
        json.dumps(
            {
                "name": "suite",
                "version": 1,
                "topic": {"testnet": 999_999, "asset": "BTC/USD", "target": "log_return", "horizon": f"{horizon}s",
                          "cadence": f"{step}s", "loss": "sqe"},
                "data": {"sources": ["binance"], "symbol": "BTCUSDT", "stored": f"{step}s", "interval": f"{step}s",
                         "offset": "0m", "complete": 1.0, "history": f"{bars * step}s"},
                "features": {"set": "momentum", "version": 1},
                "models": {
                    "candidates": ["zero", "ridge", "lightgbm", "mean"],
                    "ridge": {"alpha": 1000.0},
                    "lightgbm": {"trees": 40, "learning_rate": 0.05, "leaves": 7, "min_leaf_rows": 300,
                                 "feature_fraction": 0.5, "bins": 31},
                },
                "search": {"trials": 4, "folds": 2, "rounds": 2, "deadline": "1m"},
                "validation": {"folds": 4, "test": f"{test * step}s", "min_train": f"{usable * 24 // 100 * step}s",
                               "window": "expanding", "embargo": f"{step}s", "deployment": f"{deployment * step}s",
                               "seed": 7},
                "gates": {"minimum_grade": "F", "alpha": 0.05, "confirm": 0.005, "bootstrap": 500, "block": 2},
                "deploy": {"wallet": "suite", "retrain": "0 3 * * *", "max_staleness": "10m"},
            }
        ),
        "the suite's recipe",
    )  # fmt: skip


def summary(found: Sequence[Judged]) -> dict[str, object]:
    """Return how many were promoted, with an exact 95 % interval, how often each test rejects, and who stopped them."""
    promoted = sum(item.promoted for item in found)
    low, high = exact(promoted, len(found))
    tests = ("knows more than zero", "not the luck of many tries")
    rejects = {name: [item.p_values[name] < 0.05 for item in found if name in item.p_values] for name in tests}
    stops: dict[str, int] = {}
    for item in found:
        if item.stopped_by:
            stops[item.stopped_by] = stops.get(item.stopped_by, 0) + 1
    return {
        "markets": len(found),
        "promoted": promoted,
        "share": promoted / len(found),
        "share_low": low,
        "share_high": high,
        "rejects_at_5_percent": {name: float(np.mean(values)) for name, values in rejects.items()},
        "stopped_by": dict(sorted(stops.items(), key=lambda item: -item[1])),
        "seconds_per_market": float(np.mean([item.seconds for item in found])),
    }
