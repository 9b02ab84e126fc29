"""The alert rules, as data: what each is about, when it holds, how soon it is told: ``docs/reference/alerts.md``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from crucible.monitor.situation import Situation, Watched

Severity = Literal["critical", "warning", "notice"]

RUNWAY_DAYS = 7.0
"""A balance that lasts less than this is low."""

LEAST_BALANCE = 10**12
"""In uallo: so little is low, whatever was spent so far; the worker asks the faucet below it."""

STALE_BARS = timedelta(hours=6)
"""Stored bars are stale when they are this much older (the clock's time) than the period in which they are renewed."""

_LIVE_LEAST, _LIVE_MOST, _LIVE_EPOCHS = timedelta(hours=1), timedelta(hours=6), 12

Holding = Iterator[tuple[str, str]]
"""Subject and sentence of each thing that holds."""


@dataclass(frozen=True)
class Rule:
    """When to tell a person what.

    Attributes
    ----------
    name : str
        For example ``missed_epoch``.
    severity : str
        ``critical`` withholds the dead-man's ping; a ``notice`` is told once and has no end.
    title : str
        The message's title; the subject follows it.
    find : callable
        From the situation to what holds: (subject, sentence) of each.
    means : str
        What it says, for people.
    do : str
        What to do about it.
    after : timedelta
        Real time for which it must hold before it is told.
    remind : timedelta
        Real time after which it is told again, while it holds.
    """

    name: str
    severity: Severity
    title: str
    find: Callable[[Situation], Holding]
    means: str
    do: str
    after: timedelta = timedelta(0)
    remind: timedelta = timedelta(hours=12)


def missed_epoch(situation: Situation) -> Holding:
    """The newest epoch that ended was missed, or no window was seen for two epochs although something is deployed."""
    for item in situation.recipes:
        if item.last_end in ("missed", "rejected"):
            more = f", {item.misses} in a row" if item.misses > 1 else ""
            yield item.recipe, f"nonce {item.nonce} was {item.last_end}{more}: {item.why or 'no reason is known'}"
            continue
        begun = max((at for at in (item.last_seen, item.deployed_at) if at is not None), default=None)
        if begun is not None and situation.now - begun > 2 * item.cadence:
            ago = int((situation.now - begun).total_seconds() // 60)
            yield item.recipe, f"no submission window was seen for {ago} minutes; one comes every {item.cadence}"


def dead_worker(situation: Situation) -> Holding:
    """A deployed recipe has no worker that runs and reports."""
    for item in situation.recipes:
        if not item.worker_alive:
            yield item.recipe, f"no worker runs; the last word was: {item.worker_says}"


def low_balance(situation: Situation) -> Holding:
    """A wallet holds little, or what it holds lasts less than a week."""
    for item in situation.recipes:
        if item.balance is None:
            continue
        if item.balance < LEAST_BALANCE:
            yield item.recipe, f"{item.address} holds {item.balance} uallo"
        elif item.runway is not None and item.runway < RUNWAY_DAYS:
            yield item.recipe, f"{item.address} holds {item.balance} uallo, which lasts {item.runway:.1f} days"


def live_period(cadence: timedelta) -> timedelta:
    """Return how often bars are brought up to date and live forecasts evaluated.

    Every hour; slower topics every 12 epochs, but four times a day, which is how often the null markets were looked at
    (``benchmarks/drift_null.py``), or once per epoch.
    """
    return min(max(_LIVE_LEAST, _LIVE_EPOCHS * cadence), max(_LIVE_MOST, cadence))


def stale_bars(situation: Situation) -> Holding:
    """The newest stored bar is old."""
    for item in situation.recipes:
        if item.bar_closed is not None and situation.now - item.bar_closed > STALE_BARS + live_period(item.cadence):
            yield item.recipe, f"the newest stored bar closed at {item.bar_closed:%Y-%m-%d %H:%M} UTC"


def drift(situation: Situation) -> Holding:
    """Features, predictions or residuals are distributed otherwise than in training."""
    yield from _told(situation, lambda item: item.drift, "these have moved: ")


def decay(situation: Situation) -> Holding:
    """The live loss has become worse than it used to be."""
    yield from _told(situation, lambda item: item.decay, "the live loss has become worse, ")


def contract(situation: Situation) -> Holding:
    """The chain says something else of the topic than the recipe, or than it did before."""
    yield from _told(situation, lambda item: item.contract, "")


def unwatched(situation: Situation) -> Holding:
    """A deployed recipe's file is gone or faulty, or its journal or bars cannot be read."""
    yield from situation.unwatched


def failed_run(situation: Situation) -> Holding:
    """A Dagster run failed, and its retries too."""
    yield from _events(situation, "run failed", lambda detail: f"{detail['job']}: {detail['error']}")


def promotion(situation: Situation) -> Holding:
    """Another version was deployed."""
    yield from _events(situation, "deployed", lambda detail: f"version {detail['version']} is deployed")


def rollback(situation: Situation) -> Holding:
    """The champion was taken back."""
    yield from _events(
        situation, "rolled back",
        lambda detail: f"from version {detail['from_version']} to {detail['to_version']}: {detail['why']}",
    )  # fmt: skip


_HALF_MINUTE = timedelta(seconds=30)
_NEVER = timedelta(days=36_500)

RULES: tuple[Rule, ...] = (
    Rule("missed_epoch", "critical", "Missed epoch", missed_epoch, "an epoch passed without a submission of ours",
         "`crucible fleet journal RECIPE` gives the reason of each; it ends with the next submission"),
    Rule("dead_worker", "critical", "Dead worker", dead_worker, "nobody submits for this recipe",
         "`crucible fleet status`, then the worker's log in `data/logs`; the fleet starts workers again by itself",
         after=_HALF_MINUTE),
    Rule("low_balance", "critical", "Low balance", low_balance, "soon no fee can be paid",
         "fund the address that it names", after=_HALF_MINUTE, remind=timedelta(days=1)),
    Rule("contract", "critical", "Topic changed", contract,
         "the topic is not what the recipe answers; promotion is blocked",
         "change the recipe and raise its version, or `crucible monitor contract RECIPE --accept`"),
    Rule("unwatched", "critical", "Unwatched", unwatched,
         "its worker goes on, but nothing new is told of it; what was told before stands",
         "`crucible recipe check RECIPE`, `crucible doctor`; or `crucible workers rm RECIPE` if it is to serve no more",
         after=_HALF_MINUTE),
    Rule("stale_bars", "warning", "Stale bars", stale_bars, "the store is not brought up to date",
         "see the runs of `live` in Dagster, and `crucible bars ls`", after=2 * _HALF_MINUTE),
    Rule("drift", "warning", "Drift", drift, "the market is not the one that the model was trained on",
         "nothing: a retraining is asked for when it lasts; `crucible monitor drift RECIPE` shows what", remind=_NEVER),
    Rule("decay", "warning", "Worse than before", decay, "the model has lost skill, against the network or no change",
         "nothing: a retraining is asked for; `crucible monitor live RECIPE` shows the scores", remind=_NEVER),
    Rule("failed_run", "notice", "Run failed", failed_run, "a Dagster run failed after its retries",
         "open the run in Dagster"),
    Rule("promotion", "notice", "Promoted", promotion, "another version serves from the next epoch on", "nothing"),
    Rule("rollback", "notice", "Rolled back", rollback, "the champion did worse live than the one before it",
         "nothing; the version that was taken back is not promoted again by itself"),
)  # fmt: skip
"""Every rule, most urgent first."""


def _told(situation: Situation, what: Callable[[Watched], str], words: str) -> Holding:
    for item in situation.recipes:
        if found := what(item):
            yield item.recipe, f"{words}{found}"


def _events(situation: Situation, kind: str, say: Callable[[dict[str, object]], str]) -> Holding:
    for event in situation.events:
        if event.kind == kind:
            yield f"{event.recipe or 'Dagster'} ({event.id})", say(dict(event.detail))
