"""One evaluation: every candidate's losses, the chosen one's scorecard, verdict and plots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from crucible.recipe import Recipe
from crucible.validation.losses import topic_loss
from crucible.validation.plain import plain
from crucible.validation.plots import calibration_plot, equity_plot, loss_plot, scatter_plot
from crucible.validation.predictions import OutOfSample
from crucible.validation.scorecard import PRIMARY, Scorecard, scorecard
from crucible.validation.verdict import Verdict


@dataclass(frozen=True)
class Evaluation:
    """What came of judging the out-of-sample predictions of a recipe.

    Attributes
    ----------
    verdict : Verdict
        On the candidate that the inner search chose.
    scorecards : dict of str to Scorecard
        Of every candidate.
    fold_metrics : dict of str to list of dict
        Per candidate and test block: mean topic loss, directional accuracy, correlation.
    losses : dict of str to float
        Mean topic loss of every candidate.
    plots : dict of str to bytes
        PNG files by name.
    """

    verdict: Verdict
    scorecards: dict[str, Scorecard]
    fold_metrics: dict[str, list[dict[str, float]]]
    losses: dict[str, float]
    plots: dict[str, bytes]

    @property
    def scorecard(self) -> Scorecard:
        """The chosen candidate's scorecard."""
        return self.scorecards[self.verdict.candidate]

    def to_json(self) -> dict[str, Any]:
        """Return verdict, candidates, windows and scorecards as plain values."""
        found: dict[str, Any] = plain(
            {
                "verdict": self.verdict.to_json(),
                "candidates": self.candidate_rows(),
                "windows": self.fold_metrics,
                "scorecards": {name: {**card.metrics, "grade": card.grade} for name, card in self.scorecards.items()},
            }
        )
        return found

    def scorecard_rows(self) -> list[dict[str, Any]]:
        """Return the seven metrics as rows of a table."""
        card = self.scorecard
        return [
            {"metric": name, "value": round(card.metrics[name], 6), "passes when": rule, "passed": card.passed[flag]}
            for name, (flag, _, rule) in PRIMARY.items()
        ]

    def candidate_rows(self) -> list[dict[str, Any]]:
        """Return every candidate with its loss and grade, best first."""
        zero = self.losses.get("zero")
        return [
            {
                "candidate": name,
                "mean loss": float(f"{loss:.6g}"),
                "against zero %": round(100 * (loss / zero - 1), 3) if zero else 0.0,
                "direction right": round(self.scorecards[name].metrics["directional_accuracy"], 4),
                "correlation": round(self.scorecards[name].metrics["pearson_r"], 4),
                "grade": self.scorecards[name].grade,
            }
            for name, loss in sorted(self.losses.items(), key=lambda item: item[1])
        ]


def describe(
    recipe: Recipe, oos: OutOfSample, scale: np.ndarray, verdict: Verdict, plots: dict[str, bytes] | None = None
) -> Evaluation:
    """Return losses, scorecards and plots of the outer windows beside the verdict.

    Parameters
    ----------
    recipe : Recipe
        Loss and cadence.
    oos : OutOfSample
        Predictions of every candidate.
    scale : numpy.ndarray
        Shape (n,): see :func:`.topic_loss`.
    verdict : Verdict
        On the candidate that the search chose.
    plots : dict of str to bytes, optional
        PNG files by name, where they were drawn before.
    """
    minutes = recipe.topic.cadence.total_seconds() / 60
    per_row = {
        name: topic_loss(recipe, oos.y_true, predicted, oos.close, scale) for name, predicted in oos.y_pred.items()
    }
    return Evaluation(
        verdict=verdict,
        scorecards={name: scorecard(oos.y_true, p, epoch_minutes=minutes) for name, p in oos.y_pred.items()},
        fold_metrics={name: _by_fold(oos, name, per_row[name], minutes) for name in oos.y_pred},
        losses={name: float(values.mean()) for name, values in per_row.items()},
        plots=_draw(recipe, oos, scale, verdict.candidate) if plots is None else plots,
    )


def _draw(recipe: Recipe, oos: OutOfSample, scale: np.ndarray, candidate: str) -> dict[str, bytes]:
    return {
        "equity": equity_plot(oos, candidate),
        "predicted_against_actual": scatter_plot(oos, candidate),
        "calibration": calibration_plot(oos, candidate),
        "loss_by_block": loss_plot(recipe, oos, scale),
    }


def _by_fold(oos: OutOfSample, name: str, loss: np.ndarray, minutes: float) -> list[dict[str, float]]:
    rows = []
    for fold in np.unique(oos.fold):
        here = oos.fold == fold
        metrics = scorecard(oos.y_true[here], oos.y_pred[name][here], epoch_minutes=minutes).metrics
        rows.append(
            {
                "fold_loss": float(loss[here].mean()),
                "fold_directional_accuracy": metrics["directional_accuracy"],
                "fold_pearson_r": metrics["pearson_r"],
            }
        )
    return rows


def markdown(recipe: Recipe, evaluation: Evaluation) -> str:
    """Return a short report for a person."""
    verdict = evaluation.verdict
    lines = [
        f"# {recipe.name}: {verdict.candidate} {'passed' if verdict.passed else 'was refused'}, grade {verdict.grade}",
        "",
        "| gate | outcome | what was found |",
        "|---|---|---|",
        *(
            f"| {gate.name} | {gate.outcome if gate.passed else gate.outcome.upper()} | {gate.sentence} |"
            for gate in verdict.gates
        ),
        "",
        f"| candidate | mean {recipe.topic.loss} | against zero | direction right | correlation | grade |",
        "|---|---|---|---|---|---|",
        *(
            f"| {row['candidate']} | {row['mean loss']:.6g} | {row['against zero %']:+.2f} % | "
            f"{row['direction right']:.2%} | {row['correlation']:.4f} | {row['grade']} |"
            for row in evaluation.candidate_rows()
        ),
        "",
        "The candidate and its settings were chosen on rows before these windows. The deployment set stays closed "
        "until every gate on these windows lets the candidate through; it answers once per recipe version. The "
        "seven-metric grade is the network kit's own; it is not calibrated.",
    ]
    return "\n".join(lines) + "\n"
