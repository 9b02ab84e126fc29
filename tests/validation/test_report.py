import re
from dataclasses import replace

import numpy as np
import pytest

from crucible.validation.evaluation import describe, markdown
from crucible.validation.gates import judge
from crucible.validation.losses import topic_loss

PURGED = "no training label reaches its test block"


def evaluate(recipe, oos, scale, *, purged, chosen="ridge"):
    verdict, _ = judge(recipe, oos, chosen, scale, {PURGED: purged})
    return describe(recipe, oos, scale, verdict)


@pytest.fixture(scope="module")
def evaluated(recipe, make_oos):
    oos, scale = make_oos(recipe)
    return oos, scale, evaluate(recipe, oos, scale, purged=True)


def table(report, first):
    """Return the cells of the rows of the table whose header begins with ``first``."""
    lines = report.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} "))
    rows = lines[start + 2 :]
    end = next(number for number, line in enumerate(rows) if not line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows[:end]]


def test_the_report_states_the_verdict_and_every_gate(recipe, evaluated):
    _, _, evaluation = evaluated
    report = markdown(recipe, evaluation)
    assert report.splitlines()[0] == f"# btc_usd_5min: ridge was refused, grade {evaluation.verdict.grade}"
    gates = table(report, "gate")
    assert gates == [[gate.name, "pass", gate.sentence] for gate in evaluation.verdict.gates]
    assert "not calibrated" in report


def test_the_report_states_what_refused(recipe, make_oos):
    oos, scale = make_oos(recipe)
    evaluation = evaluate(recipe, replace(oos, y_pred={"mean": oos.y_pred["mean"]}), scale, purged=False, chosen="mean")
    report = markdown(recipe, evaluation)
    assert "mean was refused" in report.splitlines()[0]
    assert ["integrity", "FAIL", "it does not hold that no training label reaches its test block"] in table(
        report, "gate"
    )


def test_candidates_are_listed_best_first_with_their_own_figures(recipe, evaluated):
    oos, scale, evaluation = evaluated
    rows = table(markdown(recipe, evaluation), "candidate")
    assert [row[0] for row in rows] == ["ridge", "zero", "mean"]
    for name, loss, against, *_ in rows:
        own = topic_loss(recipe, oos.y_true, oos.y_pred[name], oos.close, scale).mean()
        zero = topic_loss(recipe, oos.y_true, np.zeros_like(oos.y_true), oos.close, scale).mean()
        assert float(loss) == pytest.approx(own, rel=1e-5)
        assert float(re.sub(r"[ %]", "", against)) == pytest.approx(100 * (own / zero - 1), abs=0.006)


def test_the_folds_add_up_to_the_whole(recipe, evaluated):
    oos, _, evaluation = evaluated
    weights = [np.mean(oos.fold == fold) for fold in np.unique(oos.fold)]
    for name, folds in evaluation.fold_metrics.items():
        assert len(folds) == recipe.validation.folds
        whole = sum(weight * fold["fold_loss"] for weight, fold in zip(weights, folds, strict=True))
        assert whole == pytest.approx(evaluation.losses[name])


def test_an_absurd_candidate_is_reported(recipe, make_oos):
    oos, scale = make_oos(recipe)
    oos.y_pred["ridge"][3] = 1000.0
    evaluation = evaluate(recipe, oos, scale, purged=True)
    assert table(markdown(recipe, evaluation), "candidate")[-1][:2] == ["ridge", "inf"]
    assert set(evaluation.plots) == {"equity", "predicted_against_actual", "calibration", "loss_by_block"}
