"""What the alert rules look at: the state of every deployed recipe, gathered from files at one instant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from crucible.bar_stages import bar_store
from crucible.errors import CrucibleError, RecipeError
from crucible.market.recipe_bars import series_of
from crucible.monitor.contract import broken_contract
from crucible.monitor.states import last_state
from crucible.monitor.store import Event, monitor_store
from crucible.monitor.submissions import deployed_names, deployment_of, newest_submissions_of, report_of
from crucible.recipe import Recipe, load_recipe
from crucible.settings import Settings

_DAYS = 7  # over which spending is measured
_NEWEST = 200  # submissions that a look reads; no more misses in a row are counted
_ENDED = frozenset({"missed", "rejected", "included", "scored", "unscored", "left_out"})


@dataclass(frozen=True)
class Watched:
    """One deployed recipe.

    Attributes
    ----------
    recipe : str
        Its name.
    cadence : timedelta
        Between epochs, in the clock's time.
    deployed_at : datetime or None
        When the present deployment was asked for, UTC; ``None`` where that is not known.
    worker_alive : bool
        Whether a worker runs and has reported within ten seconds of real time.
    worker_says : str
        Its state and last message.
    last_seen : datetime or None
        When the newest submission window was seen, UTC.
    last_end : str
        State of the newest epoch that has ended: ``included``, ``missed``; empty if there is none.
    why : str
        Its reason.
    nonce : int
        Its nonce.
    misses : int
        How many epochs in a row, up to the newest, were missed or rejected, of the newest 200.
    address : str
        The wallet's.
    balance : int or None
        In uallo, as last asked for.
    runway : float or None
        Days that the balance lasts at the rate of the last days; ``None`` where nothing was spent or little is known.
    bar_closed : datetime or None
        When the newest stored bar closed, UTC.
    drift, decay : str
        What has moved, and how the loss has become worse; empty if not.
    contract : str
        What is broken; empty if nothing.
    """

    recipe: str
    cadence: timedelta
    deployed_at: datetime | None = None
    worker_alive: bool = True
    worker_says: str = ""
    last_seen: datetime | None = None
    last_end: str = ""
    why: str = ""
    nonce: int = 0
    misses: int = 0
    address: str = ""
    balance: int | None = None
    runway: float | None = None
    bar_closed: datetime | None = None
    drift: str = ""
    decay: str = ""
    contract: str = ""


@dataclass(frozen=True)
class Situation:
    """Everything at one instant of the clock, UTC; ``events`` are those since the watch began.

    ``unwatched`` are the deployed recipes of which nothing is known at this instant, and why: the file is gone or
    faulty, or a journal or the bars cannot be read.
    """

    now: datetime
    recipes: tuple[Watched, ...] = ()
    events: tuple[Event, ...] = ()
    unwatched: tuple[tuple[str, str], ...] = ()


def observe(settings: Settings, since: str) -> Situation:
    """Gather the situation; a recipe that cannot be watched keeps no other from it.

    Parameters
    ----------
    settings : Settings
        The home.
    since : str
        Events from this instant on, ISO, UTC.

    Raises
    ------
    StoreError
        If the fleet's database or the monitor's store is damaged.
    """
    found, unwatched = [], [*_unreadable(settings)]
    for recipe in deployed_recipes(settings):
        try:
            found.append(watched(settings, recipe))
        except CrucibleError as error:
            unwatched.append((recipe.name, str(error)))
    events = monitor_store(settings).events(since=since)
    return Situation(settings.clock.now(), tuple(found), tuple(events), tuple(unwatched))


def deployed_recipes(settings: Settings) -> list[Recipe]:
    """Return the recipes for which something is deployed; one that cannot be read is an alert of its own."""
    found = []
    for path in sorted(settings.recipes.glob("*.toml")):
        try:
            recipe = load_recipe(path)
        except RecipeError:
            continue
        if recipe.answers(settings.network) and deployment_of(settings, recipe.name) is not None:
            found.append(recipe)
    return found


def _unreadable(settings: Settings) -> Iterator[tuple[str, str]]:
    for name in deployed_names(settings):
        try:
            load_recipe(settings.recipes / f"{name}.toml")
        except RecipeError as error:
            yield name, str(error)


def watched(settings: Settings, recipe: Recipe) -> Watched:
    """Return the state of one deployed recipe."""
    store, now = monitor_store(settings), settings.clock.now()
    deployment, report = deployment_of(settings, recipe.name), report_of(settings, recipe.name)
    rows = newest_submissions_of(settings, recipe, _NEWEST)
    ended = [row for row in rows if row.state in _ENDED]
    misses = next((at for at, row in enumerate(reversed(ended)) if row.state not in ("missed", "rejected")), len(ended))
    address = report.address if report else ""
    balances = store.balances(address, since=(now - timedelta(days=_DAYS)).isoformat()) if address else []
    last = bar_store(settings).coverage(series_of(recipe.data)).last
    return Watched(
        recipe=recipe.name,
        cadence=recipe.topic.cadence,
        deployed_at=_instant(deployment.written_at) if deployment else None,
        worker_alive=report is not None and report.alive,
        worker_says=f"{report.state}: {report.message}" if report else "no worker has started",
        last_seen=datetime.fromisoformat(rows[-1].seen_at) if rows else None,
        last_end=ended[-1].state if ended else "",
        why=(ended[-1].reason or "") if ended else "",
        nonce=ended[-1].nonce if ended else 0,
        misses=misses,
        address=address,
        balance=balances[-1][1] if balances else None,
        runway=runway_days(balances),
        bar_closed=last + recipe.data.stored if last else None,
        drift=_state(settings, "drift", recipe.name),
        decay=_state(settings, "decay", recipe.name),
        contract=broken_contract(settings, recipe),
    )


def runway_days(balances: Sequence[tuple[str, int]]) -> float | None:
    """Return how many days the newest balance lasts at the rate at which it was spent.

    Only falls count: what a faucet or a reward brings is no smaller expense.

    Parameters
    ----------
    balances : sequence of (str, int)
        Instant (ISO, UTC) and uallo, oldest first.
    """
    if len(balances) < 2:
        return None
    spent = sum(max(before[1] - after[1], 0) for before, after in pairwise(balances))
    took = datetime.fromisoformat(balances[-1][0]) - datetime.fromisoformat(balances[0][0])
    if spent <= 0 or took <= timedelta(0):
        return None
    return balances[-1][1] / spent * (took / timedelta(days=1))


def _state(settings: Settings, kind: str, recipe: str) -> str:
    state = last_state(monitor_store(settings), kind, recipe)
    return str(state.detail.get("what") or kind) if state is not None and state.detail["holds"] else ""


def _instant(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None
