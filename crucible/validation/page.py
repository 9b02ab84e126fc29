"""The report of one evaluation: one HTML page that needs nothing else, neither network nor script."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from crucible.recipe import Recipe
from crucible.validation.analysis import Analysis
from crucible.validation.evaluation import Evaluation

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --muted: #66717d; --line: #d9dee3; --paper: #fff; --good: #237032;
  --bad: #c92a2a; --open: #856600; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --muted: #9aa5b1; --line: #3a4450; --paper: #161b21;
  --good: #69db7c; --bad: #ff8787; --open: #ffd43b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 68rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
p.lead { color: var(--muted); margin-top: .2rem; }
div.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--muted); font-weight: 500; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.pass { color: var(--good); } .fail { color: var(--bad); } .undecided { color: var(--open); }
img { max-width: 100%; background: #fff; border-radius: 4px; }
"""

_SHOWN = 12  # features


def page(recipe: Recipe, evaluation: Evaluation, analysis: Analysis, search: Mapping[str, Any]) -> str:
    """Return the report.

    Parameters
    ----------
    recipe : Recipe
        What was evaluated.
    evaluation : Evaluation
        Verdict, candidates, scorecard, plots.
    analysis : Analysis
        Errors of the chosen candidate.
    search : mapping
        What the search left: ``trials, pruned, failed, overfitting, scores``.
    """
    verdict = evaluation.verdict
    outcome = "passed" if verdict.passed else "was refused"
    gates = [
        [gate.name, f'<span class="{gate.outcome}">{gate.outcome}</span>', escape(gate.sentence)]
        for gate in verdict.gates
    ]
    parts = [
        [part.heading, part.part, f"{part.rows:,}", _range(part.gain, part.gain_low, part.gain_high),
         _range(part.direction, part.direction_low, part.direction_high, sign="")]
        for part in analysis.parts
    ]  # fmt: skip
    coverage = analysis.coverage
    body = [
        f"<h1>{escape(recipe.name)} version {recipe.version}: {escape(verdict.candidate)} {outcome}</h1>",
        f'<p class="lead">{escape(recipe.topic.asset)}, {escape(recipe.topic.target)}, loss {recipe.topic.loss}; '
        f"the deployment set {'has answered' if verdict.confirmed else 'is still closed'}.</p>",
        "<h2>Gates</h2>",
        _table(["gate", "outcome", "what was found"], gates, numbers=0),
        "<h2>Candidates on the outer windows</h2>",
        _candidates(recipe, evaluation),
        f"<p>Chosen by the inner search: {search['trials']} trials, {search['pruned']} cut short, "
        f"{search['failed']} failed{_overfitting(search.get('overfitting'))}.</p>",
        f"<p>{escape(_equals(analysis))}</p>",
        *(f"<h2>{escape(_title(name))}</h2>{_image(name, png)}" for name, png in evaluation.plots.items()),
        "<h2>Where it errs</h2>",
        f"<p>Bias: {_plain(analysis.bias, analysis.bias_low, analysis.bias_high)} standard deviations. Adaptive "
        f"{coverage.asked:.0%} intervals held the truth in {coverage.found:.1%} of the rows, in the worst tenth in "
        f"{coverage.worst:.1%}.</p>",
        _table(["by", "rows of", "rows", "loss saved against zero", "direction right"], parts, numbers=3),
        *_importance(search.get("importance", []), len(next(iter(evaluation.fold_metrics.values())))),
        "<h2>Worst days</h2>",
        _table(["day (UTC)", "loss beyond zero's, in mean days of it"],
               [[day, f"{excess:+.3f}"] for day, excess in analysis.worst_days] or [["none", ""]], numbers=1),
        "<h2>The network kit's scorecard</h2>",
        "<p>As builders know it; it is not calibrated, and noise earns points.</p>",
        _rows(evaluation.scorecard_rows()),
    ]  # fmt: skip
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{escape(recipe.name)}: {outcome}</title>'
        f"<style>{_STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )


def _equals(analysis: Analysis) -> str:
    told = (
        f"Not to be told from the best on these windows (model confidence set, 90 %): {', '.join(analysis.best_set)}."
        if analysis.best_set
        else "These windows are too short to tell the candidates apart."
    )
    if math.isfinite(analysis.deflated_sharpe):
        tries = "one try" if analysis.tries == 1 else f"the luckiest of {analysis.tries} tries"
        told += (
            f" Following the forecasts beats what {tries} without skill would show with "
            f"probability {analysis.deflated_sharpe:.0%} (deflated Sharpe ratio)."
        )
    return told


def _candidates(recipe: Recipe, evaluation: Evaluation) -> str:
    rows = [
        [escape(row["candidate"]), f"{row['mean loss']:.6g}", f"{row['against zero %']:+.2f} %",
         f"{row['direction right']:.2%}", f"{row['correlation']:+.3f}", escape(row["grade"])]
        for row in evaluation.candidate_rows()
    ]  # fmt: skip
    header = ["candidate", f"mean {recipe.topic.loss}", "against zero", "direction right", "correlation", "grade"]
    return _table(header, rows, numbers=5)


def _rows(records: Sequence[Mapping[str, Any]]) -> str:
    return _table(
        list(records[0]), [[escape(str(value)) for value in record.values()] for record in records], numbers=1
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int) -> str:
    """Return a table whose columns from the last ``numbers`` on are right-aligned; cells are HTML."""
    right = len(header) - numbers
    head = "".join(f'<th{_class(i, right)} scope="col">{escape(name)}</th>' for i, name in enumerate(header))
    lines = "".join(
        "<tr>" + "".join(f"<td{_class(i, right)}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _class(index: int, right: int) -> str:
    return ' class="n"' if index >= right else ""


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _image(name: str, png: bytes) -> str:
    return f'<img alt="{escape(name.replace("_", " "))}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _range(value: float, low: float, high: float, sign: str = "+") -> str:
    if not math.isfinite(value):
        return "-"
    form = f"{sign}.2%"
    return f"{value:{form}}" + (f" ({low:{form}} to {high:{form}})" if math.isfinite(low) else " (too few rows)")


def _plain(value: float, low: float, high: float) -> str:
    return f"{value:+.3f}" + (f" ({low:+.3f} to {high:+.3f})" if math.isfinite(low) else "")


def _importance(found: Sequence[Mapping[str, Any]], windows: int) -> list[str]:
    """Return the features that a forecast leans on most; nothing where that was not looked at."""
    rows = [
        [escape(item["feature"]), f"{item['drop']:.1%}", f"{item['windows']} of {windows}",
         f"{item['moves']:.1%} ({item['moves_low']:.1%} to {item['moves_high']:.1%})" if "moves" in item else "-"]
        for item in found[:_SHOWN]
        if item["drop"] is not None
    ]  # fmt: skip
    if not rows:
        return []
    return [
        "<h2>What it leans on</h2>",
        "<p>Each feature was shuffled on the outer windows. One that helps in half of the windows helps by chance. Its "
        "share of what moves the forecasts is that of its absolute Shapley values, with the windows' range.</p>",
        _table(
            ["feature", "agreement lost without it", "windows in which it helped", "share of what moves the forecasts"],
            rows, numbers=3,
        ),
    ]  # fmt: skip


def _overfitting(value: float | None) -> str:
    if value is None:
        return ""
    return f"; the best of one half of the inner tests is below the median of the other with probability {value:.0%}"
