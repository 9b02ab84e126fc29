"""Charts as SVG, made here and styled by the page: lines over time, and strips of what became of epochs.

Both are stretched to the width of the page; their words stand beside them as HTML and keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from crucible.web.values import plain

WIDTH, HEIGHT = 600, 120
_MOST_POINTS = 240

KINDS = {"included": "ok", "scored": "ok", "unscored": "ok", "left_out": "left", "missed": "lost", "rejected": "lost"}
"""What a state looks like; every other one is on its way."""

# height and offset in a cell of 8: kinds differ in shape as well as in colour
_SHAPES = {"ok": (0, 8), "left": (3, 5), "open": (3, 2), "lost": (5, 3)}
_WORDS = {"ok": "accepted", "left": "left out of the active set", "open": "on the way", "lost": "lost"}


@dataclass(frozen=True)
class Line:
    """One line of a chart: a name, and a value or nothing for every place on the x axis."""

    name: str
    values: Sequence[float | None]
    faint: bool = False


def kind_of(state: str) -> str:
    """Return what ``state`` looks like: ``ok``, ``left``, ``lost`` or ``open``."""
    return KINDS.get(state, "open")


def strip(states: Sequence[str], *, per_row: int, label: str) -> Markup:
    """Return epochs as cells, oldest first, in rows of ``per_row``; nothing where there are none."""
    if not states:
        return Markup()
    kinds = [kind_of(state) for state in states]
    rows = math.ceil(len(states) / per_row)
    missing = rows * per_row - len(states)
    paths: dict[str, list[str]] = {}
    index = 0
    while index < len(states):
        kind, place = kinds[index], missing + index
        end = index + 1
        while end < len(states) and kinds[end] == kind and (missing + end) // per_row == place // per_row:
            end += 1
        top, height = _SHAPES[kind]
        x, y, width = place % per_row, place // per_row * 10 + top, end - index
        paths.setdefault(kind, []).append(f"M{x} {y}h{width}v{height}h-{width}z")
        index = end
    counts = ", ".join(f"{kinds.count(kind):,} {words}" for kind, words in _WORDS.items() if kind in paths)
    drawn = "".join(f'<path class="{kind}" d="{"".join(parts)}"/>' for kind, parts in paths.items())
    return Markup(  # noqa: S704 - everything that is not a number is escaped
        f'<svg class="strip" viewBox="0 0 {per_row} {rows * 10 - 2}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}: {escape(counts)}">{drawn}</svg>'
    )


def chart(lines: Sequence[Line], *, title: str, unit: str, ends: tuple[str, str], form: str = ",.3g") -> Markup:
    """Return lines over time with their scale, or nothing where no line has two values.

    Parameters
    ----------
    lines : sequence of Line
        All of one length. More than 240 values are thinned so that every extreme stays.
    title, unit : str
        What is shown, and in what.
    ends : (str, str)
        What stands at the left and the right end of the x axis.
    form : str
        How the numbers of the scale are written.
    """
    usable = [line for line in lines if sum(value is not None for value in line.values) > 1]
    if not usable:
        return Markup()
    known = [value for line in usable for value in line.values if value is not None]
    low, high = min(known), max(known)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    low, high = (0.0 if 0 <= low < room else low - room), high + room  # nothing below zero where there can be nothing
    if not math.isfinite(high - low):
        return Markup()  # a journal may hold any number, and these have no scale
    drawn = "".join(
        f'<path class="line l{index}{" faint" if line.faint else ""}" d="{_path(line.values, low, high)}"/>'
        for index, line in enumerate(usable)
    )
    grid = "".join(f'<path class="grid" d="M0 {HEIGHT * part // 4}h{WIDTH}"/>' for part in (1, 2, 3))
    digits = 2 - math.floor(math.log10(high - low))  # a hundredth of the range is as fine as an eye can tell
    ticks = (round(value, digits) + 0.0 for value in (high, (low + high) / 2, low))  # and no negative zero
    scale = "".join(f"<span>{plain(value, form)}</span>" for value in ticks)
    said = "; ".join(_said(line, form) for line in usable)
    key = "".join(f'<li class="l{index}">{escape(line.name)}</li>' for index, line in enumerate(usable))
    return Markup(  # noqa: S704 - as above
        f'<figure class="chart"><figcaption>{escape(title)} <span class="unit">{escape(unit)}</span>'
        f'<ul class="key">{key}</ul></figcaption>'
        f'<div class="scale" aria-hidden="true">{scale}</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}, {escape(unit)}. {escape(said)}">{grid}{drawn}</svg>'
        f'<div class="ends" aria-hidden="true"><span>{escape(ends[0])}</span>'
        f"<span>{escape(ends[1])}</span></div></figure>"
    )


def _said(line: Line, form: str) -> str:
    known = [value for value in line.values if value is not None]
    words = [plain(value, form) for value in (min(known), max(known), known[-1])]
    return f"{line.name}: between {words[0]} and {words[1]}, now {words[2]}"


def _path(values: Sequence[float | None], low: float, high: float) -> str:
    step = WIDTH / max(len(values) - 1, 1)
    parts, pen = [], "M"
    for index, value in _thinned(values):
        if value is None:
            pen = "M"
            continue
        parts.append(f"{pen}{index * step:.0f} {HEIGHT * (high - value) / (high - low):.1f}")
        pen = "L"
    return "".join(parts)


def _thinned(values: Sequence[float | None]) -> list[tuple[int, float | None]]:
    """Keep the lowest and the highest of every bucket, in their order."""
    if len(values) <= _MOST_POINTS:
        return list(enumerate(values))
    found: list[tuple[int, float | None]] = []
    bucket = math.ceil(2 * len(values) / _MOST_POINTS)
    for start in range(0, len(values), bucket):
        known = [
            (value, index) for index, value in enumerate(values[start : start + bucket], start) if value is not None
        ]
        if not known:
            found.append((start, None))
            continue
        found += [(index, value) for index, value in sorted({min(known)[::-1], max(known)[::-1]})]
    return found
