import json
import math

import numpy as np
import pytest

from crucible.errors import SchemaError
from crucible.validation.scorecard import scorecard

_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def number(value):
    return _SPECIAL.get(value, value) if isinstance(value, str) else value


@pytest.mark.conformance
def test_every_case_of_the_vectors_agrees(shared):
    cases = json.loads((shared / "vectors" / "scorecard.json").read_text())["cases"]
    assert len(cases) > 50
    faults = []
    for case in cases:
        y, p = ([number(v) for v in case[name]] for name in ("y_true", "y_pred"))
        card = scorecard(
            np.array(y),
            np.array(p),
            epoch_minutes=case["epoch_length_minutes"],
            expected_epochs=case["n_expected_epochs"],
        )
        expected = case["expected"]
        assert set(card.metrics) == set(expected["metrics"])
        for name, value in expected["metrics"].items():
            found, wanted = card.metrics[name], number(value)
            if not (found == pytest.approx(wanted, rel=1e-9, abs=1e-9, nan_ok=True)):
                faults.append((case["id"], case["kind"], name, found, wanted))
        for name in ("passed", "grade", "num_passed", "score", "temporal_coverage_pass"):
            if getattr(card, name) != expected[name] and not (
                name == "score" and math.isclose(card.score, expected[name])
            ):
                faults.append((case["id"], case["kind"], name, getattr(card, name), expected[name]))
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
