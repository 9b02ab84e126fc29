import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crucible.cli import main
from crucible.clock import ScaledClock
from crucible.errors import BundleError, GateError, RegistryError
from crucible.registry.models import (
    CHALLENGER,
    CHAMPION,
    alias_version,
    fetch_bundle,
    get_version,
    promote,
    register,
    set_alias,
    versions,
)
from crucible.registry.store import client
from crucible.registry.tracking import log_evaluation

NAME = "btc_usd_5min"
PASSED = {"verdict": "passed", "grade": "B", "recipe_digest": "r" * 64, "bars_digest": "b" * 64}
REFUSED = {"verdict": "refused", "verdict_reasons": "grade F (0 of 7), C is required", "grade": "F"}


@pytest.fixture
def run_id(settings, evaluation):
    return log_evaluation(settings, evaluation)


def test_a_version_carries_its_bundle_and_says_what_it_is(settings, make_bundle, run_id):
    bundle = make_bundle()
    assert register(settings, bundle, run_id, PASSED) == 1
    (version,) = versions(settings, NAME)
    assert (version.number, version.aliases) == (1, ())
    registered_at = datetime.fromisoformat(version.tags["registered_at"])
    assert registered_at.utcoffset() == timedelta(0)
    own = {"bundle_sha256": bundle.digest, "candidate": "mean", "registered_at": registered_at.isoformat()}
    assert version.tags == {**PASSED, **own}
    stored = client(settings).get_model_version(NAME, "1")
    assert stored.run_id == run_id
    assert stored.description == f"Candidate mean, grade B, verdict passed. Bundle {bundle.digest}."


def test_mlflow_itself_can_download_a_version(settings, make_bundle, run_id, tmp_path, monkeypatch):
    from mlflow.artifacts import download_artifacts

    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", settings.tracking_uri)
    bundle = make_bundle()
    register(settings, bundle, run_id, PASSED)
    set_alias(settings, NAME, CHAMPION, 1)
    for uri in (f"models:/{NAME}/1", f"models:/{NAME}@champion"):
        folder = Path(download_artifacts(artifact_uri=uri, dst_path=str(tmp_path / uri[-1])))
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "registered_model_meta"}
        assert files == {path.name: path.read_bytes() for path in bundle.path.iterdir()}


def test_another_bundle_of_the_same_run_leaves_older_versions_as_they_were(settings, make_bundle, run_id):
    first, second = make_bundle(1), make_bundle(2)
    assert first.digest != second.digest
    assert [register(settings, bundle, run_id, PASSED) for bundle in (first, second)] == [1, 2]
    for bundle in (first, second):
        for path in bundle.path.iterdir():
            path.unlink()
        bundle.path.rmdir()
    assert fetch_bundle(settings, NAME, 1).digest == first.digest
    assert fetch_bundle(settings, NAME, 2).digest == second.digest


def test_a_fetched_bundle_is_the_registered_one_and_predicts(settings, make_bundle, run_id, tmp_path):
    bundle = make_bundle(candidate="ridge")
    register(settings, bundle, run_id, PASSED)
    elsewhere = tmp_path / "other"
    fetched = fetch_bundle(_with_bundles(settings, elsewhere), NAME, 1)
    assert fetched.path == elsewhere / "data" / "bundles" / bundle.digest
    assert [path.name for path in fetched.path.parent.iterdir()] == [bundle.digest]
    import numpy as np

    x = np.random.default_rng(0).normal(size=(10, 5))
    assert np.array_equal(fetched.predict(x), bundle.predict(x))


def _with_bundles(settings, home):
    """The same MLflow store, seen from a home that has no bundles so far."""
    (home / "mlruns").parent.mkdir(parents=True)
    (home / "mlruns").symlink_to(settings.mlruns)
    return replace(settings, home=home)


def test_an_altered_bundle_is_refused_and_the_right_one_can_still_come(settings, make_bundle, run_id, tmp_path):
    bundle = make_bundle(candidate="ridge")
    register(settings, bundle, run_id, PASSED)
    elsewhere = _with_bundles(settings, tmp_path / "other")
    stored = Path(get_version(settings, NAME, 1).source.removeprefix("file://"))
    model = next(path for path in stored.iterdir() if path.name != "manifest.json")
    content = model.read_bytes()
    model.write_bytes(content + b" ")
    with pytest.raises(BundleError, match="was altered"):
        fetch_bundle(elsewhere, NAME, 1)
    assert list(elsewhere.bundles.iterdir()) == []
    model.write_bytes(content)
    assert fetch_bundle(elsewhere, NAME, 1).digest == bundle.digest


def test_a_version_whose_files_are_gone_is_one_sentence(settings, make_bundle, run_id, tmp_path):
    register(settings, make_bundle(), run_id, PASSED)
    Path(get_version(settings, NAME, 1).source.removeprefix("file://")).rename(tmp_path / "gone")
    elsewhere = _with_bundles(settings, tmp_path / "other")
    with pytest.raises(RegistryError, match=r"The bundle at .* cannot be fetched: "):
        fetch_bundle(elsewhere, NAME, 1)
    assert list(elsewhere.bundles.iterdir()) == []


def test_a_version_that_crucible_did_not_register_is_refused(settings, run_id):
    mlflow = client(settings)
    mlflow.create_registered_model(NAME)
    mlflow.create_model_version(NAME, "file:///nowhere")
    with pytest.raises(BundleError, match="carries no bundle_sha256"):
        fetch_bundle(settings, NAME, 1)


def test_aliases_move_and_only_to_what_is_there(settings, make_bundle, run_id):
    assert alias_version(settings, NAME, CHAMPION) is None
    for seed in (1, 2):
        register(settings, make_bundle(seed), run_id, PASSED)
    assert alias_version(settings, NAME, CHAMPION) is None
    for number in (2, 1, 2):
        set_alias(settings, NAME, CHAMPION, number)
        assert alias_version(settings, NAME, CHAMPION) == number
    set_alias(settings, NAME, CHALLENGER, 2)
    assert get_version(settings, NAME, 2).aliases == (CHALLENGER, CHAMPION)
    with pytest.raises(RegistryError, match="has no version 3; there are: 1, 2"):
        set_alias(settings, NAME, CHAMPION, 3)
    with pytest.raises(RegistryError, match="cannot be listed: "):
        versions(settings, "it's")


def test_asking_for_an_alias_is_quick(settings, make_bundle, run_id):
    register(settings, make_bundle(), run_id, PASSED)
    set_alias(settings, NAME, CHAMPION, 1)
    alias_version(settings, NAME, CHAMPION)
    start = time.process_time()
    for _ in range(20):
        alias_version(settings, NAME, CHAMPION)
    assert (time.process_time() - start) / 20 < 0.02


def test_a_pass_promotes_and_says_when_by_the_clock_of_the_home(settings, make_bundle, run_id):
    register(settings, make_bundle(), run_id, PASSED)
    clock = ScaledClock.starting(datetime(2031, 5, 1, tzinfo=UTC), 1.0)
    promote(replace(settings, clock_text=clock.text()), NAME, 1)
    assert alias_version(settings, NAME, CHAMPION) == 1
    tags = get_version(settings, NAME, 1).tags
    assert tags["promoted_by"] == "gates"
    assert "override_reason" not in tags
    assert 0 <= (datetime.fromisoformat(tags["promoted_at"]) - clock.start).total_seconds() < 60


@pytest.mark.parametrize("tags", [REFUSED, {}])
def test_a_refusal_needs_a_reason_which_is_kept(settings, make_bundle, run_id, tags):
    register(settings, make_bundle(), run_id, tags)
    for empty in (None, "", "  "):
        with pytest.raises(GateError) as caught:
            promote(settings, NAME, 1, override=empty)
    assert tags.get("verdict_reasons", "it carries no verdict") in str(caught.value)
    assert f"crucible promote {NAME} --version 1 --override" in str(caught.value)
    assert alias_version(settings, NAME, CHAMPION) is None
    promote(settings, NAME, 1, override="a person decided")
    found = get_version(settings, NAME, 1)
    assert found.aliases == (CHAMPION,)
    assert (found.tags["promoted_by"], found.tags["override_reason"]) == ("override", "a person decided")


def test_a_later_promotion_by_the_gates_forgets_the_old_reason(settings, make_bundle, run_id):
    register(settings, make_bundle(), run_id, PASSED)
    promote(settings, NAME, 1, override="back to the first")
    promote(settings, NAME, 1)
    tags = get_version(settings, NAME, 1).tags
    assert tags["promoted_by"] == "gates"
    assert "override_reason" not in tags


def test_nothing_executable_is_stored(settings, make_bundle, run_id):
    from crucible.models.bundle import SUFFIXES

    for candidate in ("ridge", "lightgbm", "catboost", "mean"):
        register(settings, make_bundle(candidate=candidate), run_id, PASSED)
    files = [path for path in settings.mlruns.rglob("*") if path.is_file()]
    assert len(files) > 12
    forbidden = {".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".py", ".pt", ".skops"}
    assert [path for path in files if path.suffix in forbidden or path.name in ("MLmodel", "python_model")] == []
    # a pickle of any name begins with protocol 2 to 5
    assert [
        path for path in files if path.read_bytes()[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    ] == []
    carried = [path for path in files if "bundle" in path.parts]
    assert {path.suffix for path in carried} <= SUFFIXES


@pytest.fixture
def typed(settings, monkeypatch, capsys):
    """Run ``crucible promote``; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("CRUCIBLE_HOME", str(settings.home))

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["promote", *arguments])
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return run


def test_the_command_promotes_the_challenger_or_says_why_not(settings, make_bundle, run_id, typed):
    code, _, err = typed(NAME)
    assert (code, err.startswith(f"crucible: Model {NAME} has no @challenger")) == (1, True)
    register(settings, make_bundle(1), run_id, PASSED)
    register(settings, make_bundle(2), run_id, REFUSED)
    set_alias(settings, NAME, CHALLENGER, 1)
    assert typed(NAME)[:2] == (0, f"@champion of {NAME} is version 1\n")
    set_alias(settings, NAME, CHALLENGER, 2)
    code, out, err = typed(NAME)
    assert (code, out) == (1, "")
    assert "grade F (0 of 7), C is required" in err
    assert alias_version(settings, NAME, CHAMPION) == 1
    assert typed(NAME, "--override", " ")[0] == 2
    assert typed(NAME, "--override", "I know why")[:2] == (0, f"@champion of {NAME} is version 2 (by override)\n")
    # the way back
    assert typed(NAME, "--version", "1")[0] == 0
    assert alias_version(settings, NAME, CHAMPION) == 1
    assert "no version 9; there are: 1, 2" in typed(NAME, "--version", "9")[2]


def test_the_command_lists_versions(settings, make_bundle, run_id, typed):
    assert typed("--list", NAME)[::2] == (
        1, f"crucible: Model {NAME} has no versions; materialise `challenger` of that recipe first.\n"
    )  # fmt: skip
    bundle = make_bundle()
    register(settings, bundle, run_id, PASSED)
    set_alias(settings, NAME, CHAMPION, 1)
    code, out, _ = typed("--list", NAME)
    assert code == 0
    for word in ("champion", "mean", "B", "passed", bundle.digest[:12]):
        assert word in out
    assert json.dumps(os.listdir(".")) == "[]"
