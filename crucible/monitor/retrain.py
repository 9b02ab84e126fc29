"""Whether to retrain now: a pure decision from evidence and from what was retrained before.

A noisy market gives evidence every hour, and a retraining costs an hour of a machine and one more look at the same
rows. So each reason counts once, evidence must last, there is a pause after every run, a longer one after each that
changed nothing, and a budget per day and week. Only a person and the schedule are not asked about budgets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

Reason = Literal["topic", "bars", "decay", "drift"]
"""Why: a new topic parameter, bars repaired, the live loss has become worse, a distribution has moved."""

REASONS: tuple[Reason, ...] = get_args(Reason)
"""In the order of their weight: where several hold, the first one is named."""


@dataclass(frozen=True)
class Evidence:
    """One thing that speaks for retraining.

    Attributes
    ----------
    reason : str
        One of :data:`REASONS`.
    mark : str
        What identifies it: the digest of the topic, or of the bars, the first row of an alarm. The same mark never
        causes a second run.
    since : datetime
        When it first held, UTC.
    sentence : str
        The same for a person.
    """

    reason: Reason
    mark: str
    since: datetime
    sentence: str


@dataclass(frozen=True)
class Past:
    """An earlier retraining.

    Attributes
    ----------
    at : datetime
        When it was asked for, UTC.
    reason : str
        One of :data:`REASONS`, ``schedule`` or ``person``.
    mark : str
        Of its evidence.
    promoted : bool
        Whether a new champion came of it.
    """

    at: datetime
    reason: str
    mark: str
    promoted: bool


@dataclass(frozen=True)
class Budget:
    """How often evidence may cause a run.

    Attributes
    ----------
    per_day, per_week : int
        Most runs, per recipe, in any day and any week.
    pause : timedelta
        Least time between two runs, of whatever cause. It doubles with each run in a row that promoted nothing.
    longest : timedelta
        The pause never becomes longer than this.
    lasting : mapping of str to timedelta
        How long evidence must hold before it counts: a distribution that has moved for an hour has not moved.
    """

    per_day: int = 2
    per_week: int = 6
    pause: timedelta = timedelta(hours=6)
    longest: timedelta = timedelta(days=2)
    lasting: Mapping[str, timedelta] | None = None

    def must_last(self, reason: Reason) -> timedelta:
        """Return how long evidence of this kind must hold."""
        return (self.lasting or _LASTING).get(reason, timedelta(0))


_LASTING: Mapping[str, timedelta] = {"drift": timedelta(hours=6)}


@dataclass(frozen=True)
class Decision:
    """Whether to retrain.

    Attributes
    ----------
    go : bool
        Whether to start a run now.
    evidence : Evidence or None
        Because of which, if so.
    sentence : str
        Why, or why not.
    """

    go: bool
    evidence: Evidence | None
    sentence: str


@dataclass(frozen=True)
class Waiting:
    """A challenger that has yet to prove itself live: what it lacks, and until when others wait for it (UTC)."""

    sentence: str
    until: datetime


def decide(
    now: datetime,
    evidence: Sequence[Evidence],
    history: Sequence[Past],
    budget: Budget | None = None,
    waiting: Waiting | None = None,
) -> Decision:
    """Decide for one recipe.

    Parameters
    ----------
    now : datetime
        The present, UTC.
    evidence : sequence of Evidence
        What holds at present.
    history : sequence of Past
        Every earlier run, in any order.
    budget : Budget, optional
        The usual one by default.
    waiting : Waiting, optional
        A run would put another challenger in this one's place, which would begin anew: none would ever be promoted.
    """
    budget = budget or Budget()
    used = {past.mark for past in history}
    fresh = [item for item in evidence if item.mark not in used]
    if not fresh:
        return Decision(False, None, "nothing new speaks for it" if evidence else "nothing speaks for it")
    ripe = [item for item in fresh if now - item.since >= budget.must_last(item.reason)]
    if not ripe:
        return Decision(False, None, f"{fresh[0].sentence}; that must last {budget.must_last(fresh[0].reason)}")
    first = min(ripe, key=lambda item: (REASONS.index(item.reason), item.since))
    if waiting and now < waiting.until:
        return Decision(False, None, f"{first.sentence}; but {waiting.sentence}")
    if why := _spent(now, history, budget):
        return Decision(False, None, f"{first.sentence}; but {why}")
    return Decision(True, first, first.sentence)


def pause_after(history: Sequence[Past], budget: Budget) -> timedelta:
    """Return how long to wait after the newest run: twice as long for each one in a row that promoted nothing."""
    vain = 0
    for past in sorted(history, key=lambda item: item.at, reverse=True):
        if past.promoted:
            break
        vain += 1
    return min(budget.pause * 2 ** min(max(vain - 1, 0), 16), budget.longest)


def _spent(now: datetime, history: Sequence[Past], budget: Budget) -> str:
    runs = [past for past in history if past.at <= now]
    if runs:
        newest, pause = max(past.at for past in runs), pause_after(runs, budget)
        if now - newest < pause:
            return f"the last run was at {newest:%Y-%m-%d %H:%M} UTC, and the pause is {pause}"
    # a person's runs and the schedule's are nobody's budget, but they do start the pause
    asked = [past.at for past in runs if past.reason in REASONS]
    for most, span, words in ((budget.per_day, timedelta(days=1), "day"), (budget.per_week, timedelta(days=7), "week")):
        if sum(now - at < span for at in asked) >= most:
            return f"the budget of {most} runs a {words} is spent"
    return ""
