"""The mechanism against the numbers of the chain."""

import json

import pytest
from click.testing import CliRunner

from crucible.cli import crucible
from crucible.network.verify import verify, verify_file

CASES = {
    "math.json": 43,
    "weights.json": 14,
    "weights_v016.json": 15,
    "forecast_implied.json": 40,
    "network_inference.json": 45,
    "losses.json": 57,
    "regrets.json": 57,
    "scores.json": 42,
    "rewards.json": 127,
    "topics.json": 725,
    "sortition.json": 313,
    "oracle_functions.json": 184,
    "replay.json": 5,  # one case, five epochs
}


@pytest.mark.conformance
@pytest.mark.parametrize("name", CASES)
def test_every_case_passes_at_its_tolerance(shared, name):
    report = verify_file(shared / "vectors" / name)
    failures = [failure for outcome in report.outcomes.values() for failure in outcome.failures]
    assert failures == []
    assert sum(outcome.passed for outcome in report.outcomes.values()) == CASES[name]
    assert sum(outcome.ties for outcome in report.outcomes.values()) == 0


@pytest.mark.conformance
def test_every_recorded_epoch_is_reproduced(shared):
    report = verify_file(shared / "vectors" / "oracle_scenarios.json")
    assert [failure for outcome in report.outcomes.values() for failure in outcome.failures] == []
    assert len(report.outcomes) == 13
    assert sum(outcome.passed for outcome in report.outcomes.values()) == 247
    assert sum(outcome.values for outcome in report.outcomes.values()) > 40_000
    assert sum(outcome.ties for outcome in report.outcomes.values()) == 0


@pytest.mark.conformance
def test_the_replay_leaves_out_only_what_the_table_does_not_determine(shared):
    outcome = verify_file(shared / "vectors" / "replay.json").outcomes["rolling_replay"]
    assert outcome.values > 1_200
    assert outcome.undetermined == 46  # what hangs on forecasters' scores before the table, in its first two epochs


@pytest.mark.conformance
def test_the_command_reports_every_file(shared):
    shown = CliRunner().invoke(crucible, ["network", "verify", str(shared / "vectors"), "--json"])
    assert shown.exit_code == 0, shown.output
    report = json.loads(shown.output)
    assert report["failed"] == 0
    assert set(CASES) <= set(report["files"])


def _write(folder, name, content):
    (folder / name).write_text(json.dumps(content))


def _case(**changes):
    return {
        "id": "x.1",
        "function": "median",
        "kind": "value",
        "inputs": {"data": ["1", "2", "4"]},
        "params": {},
        "expected": "2",
        "tolerance": {"exact": True},
        **changes,
    }


def test_a_wrong_number_an_unknown_function_and_a_missing_error_fail(tmp_path):
    cases = [
        _case(),
        _case(id="x.2", expected="2.0000001"),
        _case(id="x.3", function="tarot"),
        _case(id="x.4", kind="error", expected={"error": "NaN"}),
        _case(id="x.5", kind="oracle"),
        _case(id="x.6", inputs={}),
        _case(id="x.7", kind="error", inputs={"data": ["NaN"]}, expected={"error": "NaN"}),
    ]
    _write(tmp_path, "some.json", cases)
    shown = CliRunner().invoke(crucible, ["network", "verify", str(tmp_path), "--json"])
    assert shown.exit_code == 1
    functions = json.loads(shown.output)["files"]["some.json"]["functions"]
    assert functions["median"]["passed"] == 2
    assert [text.split(":")[0] for text in functions["median"]["failures"]] == ["x.2", "x.4", "x.5", "x.6"]
    assert functions["tarot"]["failures"] == ["x.3: the function 'tarot' is not supported"]


def test_people_see_a_table_and_each_failure(tmp_path):
    _write(tmp_path, "some.json", [_case(expected=["2"]), _case(function="tarot")])
    _write(tmp_path, "other.json", {"anything": 1})
    shown = CliRunner().invoke(crucible, ["network", "verify", str(tmp_path)], env={"COLUMNS": "160"})
    assert shown.exit_code == 1
    assert "no cases of the mechanism" in shown.output
    assert "0 passed, 2 failed" in shown.output


@pytest.mark.parametrize("content", ["{", None])
def test_a_folder_without_vectors_is_one_sentence(tmp_path, content):
    from crucible.errors import MechanismError

    if content:
        (tmp_path / "broken.json").write_text(content)
    with pytest.raises(MechanismError, match=r"\.json"):
        verify(tmp_path)
