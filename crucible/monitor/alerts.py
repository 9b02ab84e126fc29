"""From what holds to what is told: new alerts, reminders and recoveries, each once, and never too many at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from crucible.errors import StoreError
from crucible.monitor.alert_rules import RULES, Rule, Severity
from crucible.monitor.situation import Situation
from crucible.process import write_json

MOST_AN_HOUR = 20
"""More messages than this in any hour of real time are told as one: how many there are, and of what."""

_KEPT = timedelta(days=30)


@dataclass(frozen=True)
class Message:
    """What is sent. ``key`` names the alert, ``kind`` is ``alert``, ``reminder``, ``recovery`` or ``summary``."""

    key: str
    kind: str
    severity: Severity
    title: str
    body: str


@dataclass(frozen=True)
class Active:
    """Something that holds, or held and is not told as over so far. Instants are real time, ISO, UTC.

    Attributes
    ----------
    key, sentence
        Which, and what was said of it last.
    since : str
        When it began.
    told : str
        When it was told last; empty if it was not told so far.
    """

    key: str
    sentence: str
    since: str
    told: str = ""


@dataclass(frozen=True)
class AlertState:
    """What was told so far; kept in ``data/monitor/alerts.json``.

    Attributes
    ----------
    begun : str
        When the watch first ran, in the clock's time: earlier events are not told.
    active : dict of str to Active
        By key.
    noticed : dict of str to str
        Notices that were told, and when, in real time.
    sent : tuple of str
        When each message of the last hour was sent, in real time.
    held : int
        Messages that were held back since, because there were too many.
    """

    begun: str
    active: dict[str, Active] = field(default_factory=dict)
    noticed: dict[str, str] = field(default_factory=dict)
    sent: tuple[str, ...] = ()
    held: int = 0


def evaluate(
    state: AlertState, situation: Situation, real_now: datetime, rules: Sequence[Rule] = RULES
) -> tuple[AlertState, list[Message]]:
    """Return what is to be told now, and the state once it was told; the same situation again tells nothing.

    Parameters
    ----------
    state : AlertState
        From the last time.
    situation : Situation
        What holds.
    real_now : datetime
        Real time, UTC: how long something holds, and how often it is told, does not depend on an accelerated clock.
    rules : sequence of Rule
        All by default.
    """
    now = real_now.isoformat()
    active, noticed, messages = dict(state.active), dict(state.noticed), []
    holding: set[str] = set()
    titles = {rule.name: rule.title for rule in rules}
    for rule in rules:
        for subject, sentence in rule.find(situation):
            key = f"{rule.name}:{subject}"
            holding.add(key)
            title = f"{rule.title}: {subject.partition(' (')[0]}"
            if rule.severity == "notice":
                if key not in noticed:
                    noticed[key] = now
                    messages.append(Message(key, "alert", rule.severity, title, sentence))
                continue
            item = replace(active.get(key, Active(key, sentence, now)), sentence=sentence)
            lasted = real_now - datetime.fromisoformat(item.since)
            if not item.told and lasted >= rule.after:
                messages.append(Message(key, "alert", rule.severity, title, f"{sentence}\n{rule.do}"))
                item = replace(item, told=now)
            elif item.told and real_now - datetime.fromisoformat(item.told) >= rule.remind:
                messages.append(
                    Message(key, "reminder", rule.severity, f"Still: {title}", f"{sentence}\nsince {item.since}")
                )
                item = replace(item, told=now)
            active[key] = item
    unknown = {name for name, _ in situation.unwatched}
    for key in set(active) - holding:
        if key.partition(":")[2] in unknown:
            continue  # nobody knows whether it is over
        item = active.pop(key)
        if item.told:
            name, _, subject = key.partition(":")
            title = f"Over: {titles.get(name, name)}: {subject}"
            took = _words(real_now - datetime.fromisoformat(item.since))
            messages.append(Message(key, "recovery", "notice", title, f"it lasted {took}; it was: {item.sentence}"))
    noticed = {key: at for key, at in noticed.items() if key in holding or _within(at, real_now, _KEPT)}
    return _limit(replace(state, active=active, noticed=noticed), messages, real_now)


def healthy(state: AlertState, rules: Sequence[Rule] = RULES) -> bool:
    """Return whether nothing critical that was told holds; only then the dead-man's ping is due."""
    critical = {rule.name for rule in rules if rule.severity == "critical"}
    return not any(item.told and item.key.partition(":")[0] in critical for item in state.active.values())


def read_state(path: Path, begun: datetime) -> AlertState:
    """Return the state that :func:`write_state` wrote, or a new one that begins at ``begun``.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    try:
        values = json.loads(path.read_text())
        active = {key: Active(**item) for key, item in values.pop("active").items()}
        return AlertState(**{**values, "sent": tuple(values["sent"])}, active=active)
    except FileNotFoundError:
        return AlertState(begun.isoformat())
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete it, and what holds is told anew.") from error


def write_state(path: Path, state: AlertState) -> None:
    """Keep the state, atomically, so that a restart tells nothing twice."""
    write_json(path, asdict(state))


def _limit(state: AlertState, messages: list[Message], now: datetime) -> tuple[AlertState, list[Message]]:
    recent = tuple(at for at in state.sent if _within(at, now, timedelta(hours=1)))
    room = MOST_AN_HOUR - len(recent)
    if len(messages) + (1 if state.held else 0) <= room:
        due = list(messages)
        if state.held:
            body = f"{state.held} messages were held back, because there were more than {MOST_AN_HOUR} in an hour"
            due.append(
                Message(
                    "rate limit", "summary", "notice", "More alerts", f"{body}; `crucible alerts list` shows what holds"
                )
            )
        return replace(state, sent=(*recent, *[now.isoformat()] * len(due)), held=0), due
    # the most urgent first; one place is kept for the message that says how many more there are
    order = {"critical": 0, "warning": 1, "notice": 2}
    kept = sorted(messages, key=lambda item: order[item.severity])[: max(room - 1, 0)]
    held = state.held + len(messages) - len(kept)
    return replace(state, sent=(*recent, *[now.isoformat()] * len(kept)), held=held), kept


def _within(at: str, now: datetime, span: timedelta) -> bool:
    return now - datetime.fromisoformat(at) < span


def _words(took: timedelta) -> str:
    minutes = int(took.total_seconds() // 60)
    return f"{minutes} minutes" if minutes >= 2 else f"{int(took.total_seconds())} seconds"
