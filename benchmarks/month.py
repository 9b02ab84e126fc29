"""Thirty quiet days, a planted break, and what comes after it, with nobody there; prints JSON, and draws the page.

``python -m benchmarks.month`` lives through 40 days of three hourly topics: the practice exchange, localnet and the
fleet with its worker over their real wires, the monitor's look every hour, and every run that the sensors and schedules
of Dagster ask for. The clock is stepped: it goes on once a window's answers are in the mempool (or after 30 seconds
without them), and stands still while a run is executed, so that a slow machine changes nothing but how long it takes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.sides.month_home import MonthHome
from benchmarks.sides.month_picture import page, picture
from benchmarks.sides.month_world import HOUR, RETRAINED, START, SYMBOLS, Calendar, month_recipe
from crucible.monitor.alerts import Message
from crucible.monitor.evidence import DECAY, DRIFT, history
from crucible.monitor.levels import LEVELS
from crucible.monitor.send import Sender
from crucible.monitor.store import monitor_store
from crucible.monitor.submissions import ACCEPTED, rewards_of, submissions_of
from crucible.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
SENSORS_EVERY = 3
"""Hours between two ticks of every sensor: what they read changes when `live` has run, every six hours."""

_BOLD = 2.5  # how many times too large the forecasts of the planted worse model are


@dataclass
class Diary:
    """What happened, in the clock's time."""

    settings: Settings
    events: list[dict[str, Any]] = field(default_factory=list)

    def note(self, what: str, topic: str = "", **detail: Any) -> None:
        """Write down that something happened now."""
        now = self.settings.clock.now()
        day = round((now - START) / timedelta(days=1), 2)
        self.events.append({"day": day, "at": now.isoformat(), "what": what, "topic": topic, **detail})
        print(f"day {day:6.2f}  {what:14} {topic:10} {detail}", file=sys.stderr, flush=True)


class Mailbox(Sender):
    """Takes every alert, as a destination would."""

    def __init__(self, diary: Diary) -> None:
        super().__init__([])
        self._diary = diary

    def send(self, message: Message) -> dict[str, bool]:
        """Write the message down."""
        self._diary.note(message.kind, message.key.partition(":")[2].partition(" (")[0], title=message.title,
                         severity=message.severity, body=message.body.splitlines()[0])  # fmt: skip
        return {"mailbox": True}


def live(folder: Path, calendar: Calendar, seed: int, names: tuple[str, ...] = tuple(SYMBOLS)) -> dict[str, Any]:
    """Live through the calendar in a new home, and return events and summary."""
    from benchmarks.sides.month_dagster import Daemon
    from crucible.monitor.watch import Watch

    begun = time.monotonic()
    with MonthHome(folder, PROJECT, calendar, seed, names) as home:
        diary = Diary(home.settings)
        daemon = Daemon(home.settings, diary.note)
        try:
            with home.short_blocks():
                _begin(home, daemon, diary)
            watch = Watch(home.settings, Mailbox(diary), wall=home.clock)
            for hour in range(calendar.days * 24):
                at = START + hour * HOUR
                home.hour(at)
                if hour == calendar.worse * 24:
                    plant_worse(home.settings, names[-1], diary)
                    daemon.deploy()
                if at.hour == 3 and at.day in RETRAINED:
                    for name in names:
                        daemon.scheduled(name, at)
                if (hour + 1) % SENSORS_EVERY == 0:
                    daemon.sensors()
                asyncio.run(watch.once())
            _settle(home)
            found = summary(home, calendar, diary.events)
        finally:
            daemon.close()
        timing = {"seconds": round(time.monotonic() - begun), "runs": daemon.runs, "failed": daemon.failed,
                  "troubles": daemon.troubles[:20], "skill": daemon.skill, "loss": daemon.loss,
                  "run_seconds": {name: round(took) for name, took in daemon.seconds.items()}}  # fmt: skip
    level = LEVELS["skill"].value + math.log(24)
    return {
        "calendar": vars(calendar),
        "seed": seed,
        "level": round(level, 2),
        **found,
        **timing,
        "events": diary.events,
    }


def _begin(home: MonthHome, daemon: Any, diary: Diary) -> None:
    """Train every recipe, and promote the first version: nothing serves yet that a shadow could be compared with."""
    from crucible.registry.models import promote

    for name in home.names:
        daemon.run("answer_topic", name)
        promote(home.settings, name, 1, override="the first version: nothing serves yet")
        diary.note("begun", name)
    daemon.deploy()
    home.served = len(home.names)


def plant_worse(settings: Settings, name: str, diary: Diary) -> None:
    """Let a person promote a model whose forecasts are much too bold."""
    from crucible.models.bundle import Training, write_bundle
    from crucible.models.candidates import build_model
    from crucible.registry.models import promote, register
    from crucible.stage_records import iso_of, read_current, read_features, read_verdict

    recipe = month_recipe(name)
    data, current, verdict = (
        read_features(settings, recipe),
        read_current(settings, recipe),
        read_verdict(settings, recipe),
    )
    candidate = verdict["candidate"]
    model = build_model(candidate, recipe, data.names).fit(data.x, _BOLD * data.y)
    training = Training(current.bars_digest, len(data.y), iso_of(data.times[0]), iso_of(data.times[-1]))
    bundle = write_bundle(settings.bundles, recipe, candidate, data.names, training, model)
    version = register(settings, bundle, verdict["run_id"], {"verdict": "refused", "verdict_reasons": "planted"})
    promote(settings, name, version, override="planted: forecasts two and a half times too large")
    diary.note("planted", name, version=version)


def _settle(home: MonthHome) -> None:
    """Give the worker a while to learn what became of its last submissions."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        rows = [row for name in home.names for row in submissions_of(home.settings, month_recipe(name))]
        if not any(row.state in ("seen", "predicted", "signed", "broadcast") for row in rows):
            return
        time.sleep(0.2)


def summary(home: MonthHome, calendar: Calendar, events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the bar asks for, from journals and the monitor's store."""
    store, turned = monitor_store(home.settings), calendar.turns_at.isoformat()
    alarms = [
        event for kind in (DRIFT, DECAY) for event in store.events(kind) if event.detail["holds"]
    ]  # fmt: skip
    backs = store.events("rolled back")
    planted = START + timedelta(days=calendar.worse)
    bad_until = backs[0].at if backs else turned
    true = [e for e in alarms if e.recipe == home.names[-1] and planted.isoformat() <= e.at <= bad_until]
    quiet = [e for e in alarms if e.at < turned and e not in true]
    noticed = {
        name: min(
            ((datetime.fromisoformat(e.at) - calendar.turns_at) / timedelta(days=1)
             for e in alarms if e.recipe == name and e.at >= turned), default=None,
        )
        for name in home.names
    }  # fmt: skip
    rows = {name: submissions_of(home.settings, month_recipe(name)) for name in home.names}
    accepted = {name: sum(row.state in ACCEPTED for row in found) for name, found in rows.items()}
    return {
        "epochs": calendar.days * 24,
        "accepted": accepted,
        "missed": {name: calendar.days * 24 - count for name, count in accepted.items()},
        "scored": {name: sum(row.score is not None for row in found) for name, found in rows.items()},
        "rewarded": {name: len(rewards_of(home.settings, month_recipe(name))) for name in home.names},
        "slow_windows": home.slow,
        "noticed_after_days": {name: None if at is None else round(at, 2) for name, at in noticed.items()},
        "false_alarms_before": [f"{e.at} {e.recipe} {e.kind}: {e.detail['what']}" for e in quiet],
        "alarms_of_the_planted_model": [f"{e.at} {e.recipe} {e.kind}: {e.detail['what']}" for e in true],
        "alarms_after": [f"{e.at} {e.recipe} {e.kind}: {e.detail['what']}" for e in alarms if e.at >= turned],
        "retrainings": {
            name: [f"{p.at:%Y-%m-%d %H:%M} {p.reason}" for p in history(home.settings, name)] for name in home.names
        },
        "deployments": {name: len(store.events("deployed", name)) for name in home.names},
        "roll_backs": [f"{e.at} {e.recipe}: {e.detail['why']}" for e in backs],
        "alerts": sum(event["what"] == "alert" for event in events),
        "recoveries": sum(event["what"] == "recovery" for event in events),
    }


def main() -> None:
    """Live through it, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON (it always does)")
    parser.add_argument("--days", type=int, default=40, help="simulated days")
    parser.add_argument("--turns", type=int, default=30, help="days before the signal turns")
    parser.add_argument("--worse", type=int, default=12, help="days before somebody promotes a worse model")
    parser.add_argument("--seed", type=int, default=2026, help="of the market")
    parser.add_argument("--recipes", type=int, default=3, choices=(1, 2, 3), help="how many topics")
    parser.add_argument("--home", type=Path, help="a new folder to keep; a temporary one by default")
    parser.add_argument("--docs", type=Path, help="the docs folder whose page and picture are to be written anew")
    options = parser.parse_args()
    calendar = Calendar(options.days, options.turns, options.worse)
    with tempfile.TemporaryDirectory() as folder:
        found = live(options.home or Path(folder) / "home", calendar, options.seed, tuple(SYMBOLS)[: options.recipes])
    if options.docs:
        (options.docs / "images" / "unattended-month.svg").write_text(picture(found))
        (options.docs / "explanation" / "unattended-month.md").write_text(
            page([("What happened", "../images/unattended-month.svg", found)])
        )
    print(json.dumps(found, indent=2, default=str))


if __name__ == "__main__":
    main()
