import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crucible.cli import main
from crucible.errors import SchemaError
from crucible.validation.scorecard import GRADES, PRIMARY, _ranks, scorecard

_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def number(value):
    return _SPECIAL.get(value, value) if isinstance(value, str) else value


def differs(found, wanted):
    """Whether two values of the vectors disagree: numbers by 1e-9, everything else by equality."""
    if isinstance(wanted, bool) or wanted is None or (isinstance(wanted, str) and wanted not in _SPECIAL):
        return found != wanted
    return found != pytest.approx(number(wanted), rel=1e-9, abs=1e-9, nan_ok=True)


@pytest.mark.conformance
def test_every_field_of_every_case_of_the_vectors_agrees(shared):
    cases = json.loads((shared / "vectors" / "scorecard.json").read_text())["cases"]
    assert len(cases) == 73
    faults = []
    for case in cases:
        y, p = (np.array([number(v) for v in case[name]]) for name in ("y_true", "y_pred"))
        card = scorecard(y, p, epoch_minutes=case["epoch_length_minutes"], expected_epochs=case["n_expected_epochs"])
        expected = dict(case["expected"])
        metrics = expected.pop("metrics")
        assert expected.pop("num_primary_metrics") == len(PRIMARY)
        assert set(card.metrics) == set(metrics)
        faults += [
            (case["id"], case["kind"], name, found, wanted)
            for name, found, wanted in [
                *((name, card.metrics[name], wanted) for name, wanted in metrics.items()),
                *((name, getattr(card, name), wanted) for name, wanted in expected.items()),
            ]
            if differs(found, wanted)
        ]
    assert faults == []


@pytest.mark.parametrize(
    ("y", "p", "words"),
    [([], [], "equally long"), ([1.0], [1.0, 2.0], "equally long"), ([1.0, math.nan], [1.0, 2.0], "finite"),
     ([1.0, 2.0], [math.inf, 2.0], "finite")],
)  # fmt: skip
def test_what_cannot_be_graded_is_refused(y, p, words):
    with pytest.raises(SchemaError, match=words):
        scorecard(np.array(y), np.array(p))


def test_grades_follow_the_number_of_passes():
    y = np.random.default_rng(0).normal(size=5000)
    assert scorecard(y, 0.1 * y).grade == "A+"
    assert scorecard(y, -y).num_passed == 1  # the correlation is significant, the wrong way round


def test_every_threshold_counts_once():
    assert len(PRIMARY) == len({flag for flag, _, _ in PRIMARY.values()}) == 7
    assert GRADES == ("F", "F", "D", "C", "B", "B+", "A", "A+")


@pytest.mark.parametrize(("expected", "wanted"), [(None, None), (10, True), (11, False)])
def test_temporal_coverage_is_reported_and_not_scored(expected, wanted):
    y = np.random.default_rng(0).normal(size=5)
    card = scorecard(y, y, expected_epochs=expected)
    assert card.temporal_coverage_pass is wanted
    assert card.num_passed == scorecard(y, y).num_passed


@given(
    y=arrays(np.float64, 12, elements=st.floats(-1, 1).filter(lambda v: v == 0 or abs(v) > 1e-6)),
    p=arrays(np.float64, 12, elements=st.floats(-1, 1).filter(lambda v: v == 0 or abs(v) > 1e-6)),
)
def test_what_must_hold_for_any_predictions(y, p):
    card, mirrored, scaled = scorecard(y, p), scorecard(-y, -p), scorecard(y, 3 * p)
    m = card.metrics
    rounding = 1e-12
    assert 0 <= m["da_ci_lower"] <= m["directional_accuracy"] + rounding
    assert m["directional_accuracy"] - rounding <= m["da_ci_upper"] <= 1
    assert -1 <= m["pearson_r"] <= 1
    assert -1 <= m["czar_improvement"] <= 1
    assert m["true_positives"] + m["true_negatives"] + m["false_positives"] + m["false_negatives"] == 12
    for name in ("directional_accuracy", "pearson_r", "wrmse_improvement", "czar_improvement"):
        assert mirrored.metrics[name] == pytest.approx(m[name], abs=1e-12)
    for name in ("directional_accuracy", "pearson_r", "spearman_r", "czar_improvement"):
        assert scaled.metrics[name] == pytest.approx(m[name], abs=1e-9)
    assert all(isinstance(value, int | float) for value in m.values())


@given(arrays(np.float64, st.integers(1, 60), elements=st.integers(-5, 5).map(float)))
def test_ranks_equal_scipys(values):
    from scipy.stats import rankdata

    assert np.array_equal(_ranks(values), rankdata(values))


def test_two_constants_do_not_correlate():
    # the mean of three times 0.1 is not 0.1, which once left a trace to correlate
    card = scorecard(np.full(3, 0.1), np.full(3, 0.3))
    assert (card.metrics["pearson_r"], card.metrics["pearson_pvalue"]) == (0.0, 1.0)
    assert (card.metrics["spearman_r"], card.metrics["spearman_pvalue"]) == (0.0, 1.0)


@pytest.fixture
def graded(tmp_path, capsys):
    """Run ``crucible score`` on a file of the given rows; returns (exit code, stdout, stderr)."""

    def run(y, p, *options):
        path = tmp_path / "predictions.parquet"
        pq.write_table(pa.table({"y_true": y, "y_pred": p}), path)
        with pytest.raises(SystemExit) as end:
            main(["score", str(path), *options])
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return run


def refuse(token):
    raise AssertionError(f"{token} is not JSON")


def test_the_command_prints_strict_json(graded):
    y = np.random.default_rng(0).normal(size=50)
    code, out, _ = graded(y, 0.5 * y, "--json", "--epoch-minutes", "60", "--expected-epochs", "200")
    values = json.loads(out, parse_constant=refuse)
    card = scorecard(y, 0.5 * y, epoch_minutes=60, expected_epochs=200)
    assert code == 0
    assert values == {
        "metrics": card.metrics, "passed": card.passed, "score": card.score, "grade": card.grade,
        "num_passed": card.num_passed, "num_primary_metrics": 7, "temporal_coverage_pass": False,
    }  # fmt: skip
    # where no return moved, the percentage error is infinite, and JSON has no such number
    assert (
        json.loads(graded([0.0, 0.0], [1.0, 2.0], "--json")[1], parse_constant=refuse)["metrics"]["mape"] == "Infinity"
    )


def test_the_command_prints_a_table_by_default(graded):
    y = np.random.default_rng(0).normal(size=50)
    code, out, _ = graded(y, y)
    assert code == 0
    assert "grade A+ (7 of 7)" in out
    assert all(name in out for name in PRIMARY)


def test_the_command_refuses_in_one_sentence(graded):
    code, out, err = graded([1.0, 2.0], [1.0, np.nan])
    assert (code, out) == (1, "")
    assert err.startswith("crucible: ")
    assert err.count("\n") == 1
    assert "'y_pred' is not a finite number in row 1" in err
    assert graded([1.0], [1.0], "--epoch-minutes", "0")[0] == 2
    assert graded([1.0], [1.0], "--expected-epochs", "0")[0] == 2
