"""The market, the recipes and the calendar of the unattended month; see ``python -m benchmarks.month``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crucible.practice.reversal import reversal_of
from crucible.practice.signal import plant
from crucible.practice.simulate import SimulatedMarket
from crucible.recipe import Recipe, parse_recipe

START = datetime(2026, 3, 2, tzinfo=UTC)
"""A Monday: the worker begins to serve."""

HOUR = timedelta(hours=1)
BLOCK = HOUR / 12
HISTORY = timedelta(days=100)
SIGNAL = 0.6
"""Attainable correlation at an hour. Two days of an hourly topic are 48 epochs: a market that can be known less than
that loses its skill too quietly for 48 epochs to tell, whoever looks."""

RETRAINED = (9, 23)
"""Days of the month, at three o'clock, as the recipes' cron line says."""

SYMBOLS = {"month_btc": ("BTCUSDT", 901), "month_eth": ("ETHUSDT", 902), "month_sol": ("SOLUSDT", 903)}

_RECIPE = """
name = "{name}"
version = 1
[topic]
testnet = {topic}
asset = "{asset}/USD"
target = "log_return"
horizon = "1h"
cadence = "1h"
loss = "sqe"
[data]
sources = ["binance"]
symbol = "{symbol}"
stored = "1h"
interval = "1h"
offset = "0m"
complete = 1.0
history = "100d"
[features]
set = "momentum"
version = 1
[models]
candidates = ["zero", "ridge"]
recency = "5d"
[models.ridge]
alpha = 10.0
[search]
trials = 1
folds = 2
rounds = 1
deadline = "1m"
[validation]
folds = 4
test = "10d"
min_train = "30d"
window = "expanding"
embargo = "1h"
deployment = "15d"
seed = 7
[gates]
minimum_grade = "F"
alpha = 0.05
confirm = 0.005
bootstrap = 300
block = 2
too_good = 0.8
[deploy]
wallet = "month"
retrain = "0 3 9,23 * *"
max_staleness = "2h"
live_epochs = 72
"""


@dataclass(frozen=True)
class Calendar:
    """When the month ends, and what is planted in it.

    Attributes
    ----------
    days : int
        How long it lasts.
    turns : int
        Days after which the signal says the opposite; ``days`` or more for never.
    worse : int
        Days after which a person promotes a worse model of the last recipe; ``days`` or more for never.
    """

    days: int = 40
    turns: int = 30
    worse: int = 12

    @property
    def turns_at(self) -> datetime:
        """The instant of the break, UTC."""
        return START + timedelta(days=self.turns)


def recipe_text(name: str) -> str:
    """Return the recipe ``name`` as TOML."""
    symbol, topic = SYMBOLS[name]
    return _RECIPE.format(name=name, topic=topic, asset=symbol[:3], symbol=symbol)


def month_recipe(name: str) -> Recipe:
    """Return the recipe ``name``."""
    return parse_recipe(recipe_text(name), name)


def month_market(seed: int, calendar: Calendar) -> SimulatedMarket:
    """Return the market: every symbol with the same planted signal, which turns when the calendar says so."""
    symbols = tuple(symbol for symbol, _ in SYMBOLS.values())
    listed = START - HISTORY - timedelta(days=5)
    signal = plant(SIGNAL, HOUR)
    turn = (calendar.turns_at, reversal_of(signal, HOUR)) if calendar.turns < calendar.days else None
    return SimulatedMarket(symbols, listed, seed, signal, turn)
