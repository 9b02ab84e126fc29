"""The unattended month of ``benchmarks/month.py``: a day of one topic, and all of it with ``CRUCIBLE_PROVE=1``."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes


def lived(root, tmp_path, *arguments, seconds):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.month", "--home", str(tmp_path / "home"), *arguments],
        cwd=root, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert set(found["missed"].values()) == {0}, found["slow_windows"]
    assert (found["failed"], found["troubles"], found["false_alarms_before"]) == ([], [], [])
    return found


@pytest.mark.timeout(900)
def test_a_day_goes_by_with_nobody_there(pytestconfig, tmp_path):
    found = lived(pytestconfig.rootpath, tmp_path, "--days", "1", "--recipes", "1", seconds=600)
    assert found["accepted"] == {"month_btc": 24}
    assert found["scored"]["month_btc"] >= 18
    assert found["deployments"] == {"month_btc": 1}
    assert len(found["skill"]) >= 2  # it was looked at
    assert found["rewarded"]["month_btc"] >= 12
    begun = [event for event in found["events"] if event["what"] == "answer_topic"]
    assert [event["verdict"] for event in begun] == ["passed"]


@pytest.mark.skipif(not os.environ.get("CRUCIBLE_PROVE"), reason="half an hour: CRUCIBLE_PROVE=1")
@pytest.mark.timeout(3600)
def test_forty_days_go_by_and_the_break_is_noticed(pytestconfig, tmp_path):
    found = lived(pytestconfig.rootpath, tmp_path, seconds=3600)
    assert max(found["noticed_after_days"].values()) <= 2.0
    assert [line.split()[1] for line in found["roll_backs"]] == ["month_sol:"]
    assert all(any("schedule" in line for line in lines) for lines in found["retrainings"].values())
    assert any("decay" in line for lines in found["retrainings"].values() for line in lines)
