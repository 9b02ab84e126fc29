"""A new recipe's text, from a topic of the catalogue, a strength and a wallet's name: what ``crucible init`` writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from crucible.duration import format_duration
from crucible.recipe import Recipe, parse_recipe
from crucible.topics.catalogue import CatalogueTopic

Strength = Literal["quick", "balanced", "thorough"]

STRENGTHS: dict[Strength, str] = {
    "quick": "a look: half the history, ridge only, 2 trials; a minute or so",
    "balanced": "as the shipped recipes: ridge, LightGBM, CatBoost and their mean, 8 to 12 trials",
    "thorough": "twice the history, seven learners and three ensembles, 24 trials; for a night",
}
"""What each look-back and strength means."""


@dataclass(frozen=True)
class _Grid:
    """What depends on how far ahead the topic looks."""

    bar: str
    days: int
    """Of history at strength ``balanced``; a multiple of 18, so that its parts are whole days."""
    cadence: str
    retrain: str
    stale: str
    trials: int


_FACTOR: dict[Strength, float] = {"quick": 0.5, "balanced": 1, "thorough": 2}
_CANDIDATES: dict[Strength, tuple[str, ...]] = {
    "quick": ("zero", "last_value", "ridge", "mean"),
    "balanced": ("zero", "last_value", "ridge", "lightgbm", "catboost", "mean"),
    "thorough": (
        "zero", "last_value", "drift", "ridge", "elastic_net", "har", "lightgbm", "catboost", "mean", "weighted",
        "stacked",
    ),
}  # fmt: skip
_SETTINGS = {
    "ridge": "alpha = 300.0",
    "elastic_net": "alpha = 0.01\nshare = 0.5           # of the penalty that is on absolute coefficients",
    "har": "alpha = 300.0",
    "lightgbm": (
        "trees = 80\nlearning_rate = 0.05\nleaves = 15\nmin_leaf_rows = 200\nfeature_fraction = 0.6\nbins = 63"
    ),
    "catboost": "trees = 80\nlearning_rate = 0.06\ndepth = 4\nborders = 64",
}


def draft_name(topic: CatalogueTopic) -> str:
    """Return a recipe's usual name for a topic, for example ``eth_usd_8h`` or ``eth_usd_8h_price``."""
    asset = topic.asset.lower().replace("/", "_")
    # the playground topics are prices and the shipped recipes name them without saying so
    kind = "_price" if topic.target == "price" and not topic.playground else ""
    return f"{asset}_{'5min' if topic.horizon == timedelta(minutes=5) else format_duration(topic.horizon)}{kind}"


def draft_recipe(topic: CatalogueTopic, name: str, wallet: str, strength: Strength) -> tuple[Recipe, str]:
    """Return a recipe and the commented text that it is read from.

    Parameters
    ----------
    topic : CatalogueTopic
        What is answered.
    name, wallet : str
        Of the recipe, and of the wallet that signs.
    strength : str
        One of :data:`STRENGTHS`.

    Raises
    ------
    RecipeError
        If a name is none.
    """
    grid = _grid(topic.horizon)
    days = int(grid.days * _FACTOR[strength])
    trials = {"quick": 2, "balanced": grid.trials, "thorough": 24}[strength]
    ids = [f"{network} = {id_}" for network in ("testnet", "mainnet") if (id_ := getattr(topic, network)) is not None]
    candidates = _CANDIDATES[strength]
    tables = "\n\n".join(f"[models.{one}]\n{_SETTINGS[one]}" for one in candidates if one in _SETTINGS)
    what = (
        "the absolute price at t + horizon; the worker converts its predicted log return"
        if topic.target == "price"
        else "ln(price at t + horizon / price at t)"
    )
    loss = "sqe" if topic.target == "price" else "zptae"
    text = f"""\
# {topic.name}: {topic.asset}, {format_duration(topic.horizon)} ahead, as a {topic.target.replace("_", " ")}.
# Made by `crucible init` with strength "{strength}". Every key is explained in docs/reference/recipe.md.
name = "{name}"
version = 1

[topic]
{chr(10).join(ids)}
asset = "{topic.asset}"
target = "{topic.target}"  # {what}
horizon = "{format_duration(topic.horizon)}"
cadence = "{grid.cadence}"         # how often the topic asks
loss = "{loss}"           # the topic's loss method; `crucible topics --live --json` says what the chain uses

[data]
sources = ["binance", "binanceus"]  # asked in this order; another exchange only fills gaps where it agrees
symbol = "{topic.asset.split("/")[0]}USDT"
stored = "{grid.bar}"           # length of the bars that are fetched and kept
interval = "{grid.bar}"         # length of the bars that features see, made of stored ones
offset = "0m"           # how far their grid is shifted against UTC
complete = 1.0          # least share of its stored bars that a bar needs
history = "{days}d"

[features]
set = "core"            # `crucible features list {name}` shows what is in it
version = 2

[models]
candidates = [{", ".join(f'"{one}"' for one in candidates)}]

{tables}

[search]
trials = {trials}              # per learning candidate, on rows before the outer windows
folds = 3
rounds = {1 if strength == "quick" else 2}
deadline = "1m"

[validation]
folds = 4
test = "{days // 9}d"
min_train = "{days // 3}d"
window = "expanding"
embargo = "{grid.bar}"
deployment = "{days // 9}d"      # the newest rows: opened once per version, after the outer windows passed
seed = 7

[gates]
minimum_grade = "F"     # the kit's own grade; "F" asks for none, because it is not calibrated
alpha = 0.05
confirm = 0.005         # level of the last test, outer windows and deployment set together
bootstrap = 2000
block = 2

[deploy]
wallet = "{wallet}"
retrain = "{grid.retrain}"  # cron, UTC
max_staleness = "{grid.stale}"   # a newest bar older than this is not predicted from
"""
    return parse_recipe(text, f"the new recipe {name}"), text


def _grid(horizon: timedelta) -> _Grid:
    if horizon < timedelta(hours=1):
        return _Grid("5m", 90, "5m", "0 3 * * *", "10m", 8)
    if horizon < timedelta(days=1):
        return _Grid("5m", 180, "5m", "15 3 * * *", "10m", 12)
    return _Grid("1h", 720, "1h", "30 3 * * 1", "2h", 12)
