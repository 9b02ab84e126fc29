"""The quality page: every judged month at a glance, as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from crucible.market.quality import MonthReport
from crucible.market.quarantine import Quarantined

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #c0392b; --good: #2e8b57; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: middle }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.bad { color: var(--bad); font-weight: 600 } .good { color: var(--good) }
svg { display: block } polyline { fill: none; stroke: currentColor; stroke-width: 1 }
"""


def page(reports: Sequence[MonthReport], aside: Sequence[Quarantined], at: str) -> str:
    """Return the page.

    Parameters
    ----------
    reports : sequence of MonthReport
        The newest result of each month.
    aside : sequence of Quarantined
        What is in quarantine now.
    at : str
        When the page was made, for people.
    """
    series = sorted({report.series for report in reports})
    bad = sum(not report.passed for report in reports)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Bars: quality</title><style>{_STYLE}</style>",
        "<h1>Quality of the stored bars</h1>",
        f"<p>{len(reports)} months of {len(series)} series judged, {bad} failed, {len(aside)} in quarantine. "
        f"Written {escape(at)}.</p>",
        _quarantine(aside) if aside else "",
        *(_table(name, [report for report in reports if report.series == name]) for name in series),
    ]
    return "\n".join(parts) + "</html>\n"


def sparkline(values: Sequence[float], width: int = 160, height: int = 28) -> str:
    """Return values as an inline SVG line; empty where there are fewer than two."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    points = " ".join(
        f"{index * width / (len(values) - 1):.1f},{height - 1 - (value - low) / span * (height - 2):.1f}"
        for index, value in enumerate(values)
    )
    label = f"closes from {values[0]:g} to {values[-1]:g}, between {low:g} and {high:g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{label}"><polyline fill="none" stroke="currentColor" points="{points}"/></svg>'
    )


def _table(name: str, reports: Sequence[MonthReport]) -> str:
    rows = "".join(
        f"<tr><td>{escape(report.month)}<td class=n>{report.rows:,}<td class=n>{report.missing:,}"
        f"<td class=n>{report.filled:,}<td>{sparkline(report.closes)}<td>{_verdict(report)}"
        for report in sorted(reports, key=lambda item: item.month, reverse=True)
    )
    return (
        f"<h2>{escape(name)}</h2><div class=scroll><table><tr><th>month<th class=n>bars<th class=n>missing"
        f"<th class=n>from others<th>close<th>checks{rows}</table></div>"
    )


def _verdict(report: MonthReport) -> str:
    if report.passed:
        return f"<span class=good>all {len(report.outcomes)} passed</span>"
    first = f" at {report.suspects[0][0]}" if report.suspects else ""
    return f"<span class=bad>{escape(', '.join(report.failed))} failed{escape(first)}</span>"


def _quarantine(aside: Sequence[Quarantined]) -> str:
    rows = "".join(
        f"<tr><td>{escape(str(entry.series))}<td>{escape(entry.month)}<td class=n>{entry.bars:,}"
        f"<td>{escape(entry.why)}<td>{entry.at:%Y-%m-%d %H:%M}"
        for entry in aside
    )
    return (
        "<h2>In quarantine</h2><p>Kept, and not served. <code>crucible bars repair</code> fetches these months anew; "
        "<code>crucible bars accept</code> puts one back.</p><div class=scroll><table>"
        f"<tr><th>series<th>month<th class=n>bars<th>why<th>since (UTC){rows}</table></div>"
    )
