"""The unattended month as a page: one picture, the figures, and the list of what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from benchmarks.sides.month_world import START

_WIDTH, _LEFT, _LANE, _TOP, _HIGH = 960, 96, 120, 34, 80
_COLOURS = {"retrained": "#6a4fb3", "promoted": "#1a7f4b", "rolled back": "#b3261e", "alarm": "#c77700"}
_SHAPES = {
    "retrained": "M-5 -5h10v10h-10z", "promoted": "M0 -6L6 5H-6z", "rolled back": "M0 6L6 -5H-6z",
    "alarm": "M0 -6L6 0L0 6L-6 0z",
}  # fmt: skip
_TOLD = {
    "answer_topic": "retrained", "begun": "first model promoted by a person", "planted": "a worse model promoted by a "
    "person", "promote": "looked at the challenger", "roll_back": "rolled back", "alert": "told", "recovery": "over",
    "reminder": "told again",
}  # fmt: skip


def day_of(at: str) -> float:
    """Return an instant as days since the worker began to serve."""
    return (datetime.fromisoformat(at) - START).total_seconds() / 86_400


def picture(found: Mapping[str, Any]) -> str:
    """Return the SVG: per topic the sum of lost skill with its level, and marks for what happened."""
    days, turns = found["calendar"]["days"], found["calendar"]["turns"]
    names, level = list(found["accepted"]), float(found["level"])
    height = _TOP + _LANE * len(names) + 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'aria-label="The sum of lost skill of three topics over the days, and what was done about it" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    parts += _legend()
    for lane, name in enumerate(names):
        base = _TOP + _LANE * lane + _HIGH + 26
        parts.append(f'<text x="8" y="{base - _HIGH / 2}" fill="#222">{name.removeprefix("month_")}</text>')
        parts += _curve([item for item in found["skill"] if item[1] == name], base, days, level)
        for at, kind in marks(found, name):
            x = _x(at, days)
            shape, colour, y = _SHAPES[kind], _COLOURS[kind], base - _HIGH - 8 + 14 * (kind == "alarm")
            parts.append(
                f'<path d="{shape}" transform="translate({x:.1f} {y:.1f})" fill="{colour}">'
                f"<title>day {at:.2f}: {kind}</title></path>"
            )
    bottom = _TOP + _LANE * len(names) + 12
    if turns < days:
        x = _x(turns, days)
        parts.append(f'<path d="M{x:.1f} {_TOP}V{bottom}" stroke="#b3261e" stroke-dasharray="5 4"/>')
        parts.append(
            f'<text x="{x - 6:.1f}" y="{bottom + 30}" text-anchor="end" fill="#b3261e">the signal turns</text>'
        )
    for tick in range(0, days + 1, 5):
        parts.append(f'<text x="{_x(tick, days):.1f}" y="{bottom + 14}" text-anchor="middle" fill="#555">{tick}</text>')
    parts.append(f'<text x="{_LEFT}" y="{bottom + 30}" fill="#555">days</text>')
    return "\n".join([*parts, "</svg>", ""])


def marks(found: Mapping[str, Any], name: str) -> list[tuple[float, str]]:
    """Return (day, kind) of what happened to a topic."""
    mine = [event for event in found["events"] if event["topic"] == name]
    done = [(event["day"], "retrained") for event in mine if event["what"] == "answer_topic"]
    kinds = {"Drift": "alarm", "Worse": "alarm", "Promo": "promoted", "Rolle": "rolled back"}
    told = [event for event in mine if event["what"] == "alert" and event["title"][:5] in kinds]
    return sorted(done + [(event["day"], kinds[event["title"][:5]]) for event in told])


def page(runs: Sequence[tuple[str, str, Mapping[str, Any]]]) -> str:
    """Return the page as Markdown, of (heading, image, run) each."""
    lines = [
        "# An unattended month",
        "",
        _HEAD,
        "",
        *_INTRODUCTION,
        "",
    ]
    for heading, image, found in runs:
        lines += [*_section(heading, image, found), ""]
    return "\n".join([*lines, *_READING, ""])


def _section(heading: str, image: str, found: Mapping[str, Any]) -> list[str]:
    calendar, names = found["calendar"], list(found["accepted"])
    quiet = min(calendar["turns"], calendar["days"])
    after = {name: at for name, at in found["noticed_after_days"].items() if at is not None}
    noticed = ", ".join(f"{name} {at:.2f}" for name, at in after.items()) or "not noticed"
    rows = [
        ("simulated", f"{calendar['days']} days, {len(names)} hourly topics, {found['epochs'] * len(names):,} epochs"),
        ("accepted by the chain", f"{sum(found['accepted'].values()):,}"),
        ("missed", f"{sum(found['missed'].values())}"),
        (f"false alarms in the {quiet} days before a break", str(len(found["false_alarms_before"]))),
        ("break noticed after (days)", noticed if calendar["turns"] < calendar["days"] else "there was none"),
        ("retrainings", str(sum(len(item) for item in found["retrainings"].values()))),
        ("deployments", str(sum(found["deployments"].values()))),
        ("roll-backs", str(len(found["roll_backs"]))),
        ("failed runs", str(len(found["failed"]))),
    ]
    return [
        f"## {heading}", "", f"The market's seed was {found['seed']}.", *found.get("notes", []), "",
        "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), "",
        f"![{heading}: the sum of lost skill per topic, and what was done]({image})", "",
        "| day | topic | what | |", "|---|---|---|---|",
        *(f"| {event['day']:.2f} | {event['topic']} | {_TOLD.get(event['what'], event['what'])} | {_words(event)} |"
          for event in found["events"]),
    ]  # fmt: skip


_HEAD = """
Every figure is of a run of `benchmarks/month.py`; `make month` lives through forty days anew and rewrites this page.
""".strip()

_INTRODUCTION = """
Three topics are answered on a practice market whose returns follow their own trend, until on one day they begin to
turn back instead: as predictable as before and as volatile, but every model is now wrong the other way round. Nobody
looks. The exchange, localnet, the fleet and its worker run as they always do and talk over their real wires;
retrainings, promotions, deployments and roll-backs are the runs that Dagster's own sensors and schedules ask for. On
one of the topics somebody promotes a worse model before that, whose forecasts are two and a half times too large.

What is made easier than life: the clock is [stepped](../adr/0064-a-clock-that-stands-in-a-file.md), so that a run
takes no simulated time and a slow machine misses nothing. The market can be predicted with a correlation of 0.6,
because an hourly topic has 48 epochs in two days, and [less than that cannot be
told](../adr/0063-a-loss-of-skill-is-a-likelihood-ratio.md) from them by anybody. And the recipes [say
so](../adr/0065-how-right-is-too-right.md), since their gates would else take so much skill for a leak.
""".strip().splitlines()

_READING = """
The line is the sum of evidence that a model has lost its skill, looked at every six hours; above the dashed level it
is an alarm. It begins again at 0 with every deployment, since it is about one model. A retraining soon after the break
still learns mostly from before it, and its model is replaced in turn.

On sixty other seeds, with the detectors alone (`python -m benchmarks.month_seeds`), 180 topics gave six false alarms in
5,400 quiet days, one month of three topics in ten; 175 breaks were noticed within two days, and the others within 2.75.
""".strip().splitlines()


def _words(event: Mapping[str, Any]) -> str:
    left_out = {"day", "at", "what", "topic", "severity", "seconds"}
    told = [str(value) for key, value in event.items() if key not in left_out and value not in ("", None)]
    return "; ".join(told).replace("|", "/").replace("\n", " ")


def _curve(points: Sequence[Sequence[Any]], base: float, days: int, level: float) -> list[str]:
    def y(value: float) -> float:
        return base - min(value, 2.5 * level) / (2.5 * level) * _HIGH

    path = " ".join(
        f"{'L' if number else 'M'}{_x(day_of(at), days):.1f} {y(value):.1f}"
        for number, (at, _, value) in enumerate(points)
    )
    right = _x(days, days)
    return [
        f'<path d="M{_LEFT} {base}H{right:.1f}" stroke="#999"/>',
        f'<path d="M{_LEFT} {y(level):.1f}H{right:.1f}" stroke="#c77700" stroke-dasharray="2 3"/>',
        f'<path d="{path}" fill="none" stroke="#3b6ea5" stroke-width="1.6"/>',
    ]


def _legend() -> list[str]:
    parts, x = [], _LEFT
    for kind, shape in _SHAPES.items():
        parts.append(f'<path d="{shape}" transform="translate({x} 16)" fill="{_COLOURS[kind]}"/>')
        parts.append(f'<text x="{x + 10}" y="20" fill="#222">{kind}</text>')
        x += 110
    parts.append(f'<path d="M{x} 16h24" stroke="#3b6ea5" stroke-width="1.6"/>')
    parts.append(f'<text x="{x + 30}" y="20" fill="#222">evidence of lost skill (dashed: the level)</text>')
    return parts


def _x(day: float, days: int) -> float:
    return _LEFT + day / days * (_WIDTH - _LEFT - 16)
