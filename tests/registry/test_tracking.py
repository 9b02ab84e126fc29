import json
import os
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import pytest

from crucible.errors import RegistryError
from crucible.registry.store import client
from crucible.registry.tracking import log_evaluation


def runs_of(settings, name):
    mlflow = client(settings)
    return mlflow.search_runs([mlflow.get_experiment_by_name(name).experiment_id])


def folder_of(run):
    return Path(urlparse(run.info.artifact_uri).path)


def test_a_parent_run_and_one_nested_run_per_candidate(settings, evaluation):
    parent_id = log_evaluation(settings, evaluation)
    runs = {run.info.run_name: run for run in runs_of(settings, evaluation.experiment)}
    assert set(runs) == {"evaluation e1", *evaluation.candidates}
    parent = runs.pop("evaluation e1")
    assert parent.info.run_id == parent_id
    assert parent.data.params == {"topic.horizon": "5m"}
    assert parent.data.metrics["directional_accuracy"] == 0.53
    assert {key: parent.data.tags[key] for key in evaluation.tags} == evaluation.tags
    for name, run in runs.items():
        assert run.data.tags["mlflow.parentRunId"] == parent_id
        assert run.data.tags["candidate"] == name
        assert run.data.params["trees"] == "100"
        assert run.data.metrics["topic_loss"] == 2.0
    assert {run.info.status for run in [parent, *runs.values()]} == {"FINISHED"}


def test_folds_are_steps(settings, evaluation):
    log_evaluation(settings, evaluation)
    run = next(run for run in runs_of(settings, evaluation.experiment) if run.info.run_name == "ridge")
    history = client(settings).get_metric_history(run.info.run_id, "fold_loss")
    assert [(point.step, point.value) for point in history] == [(fold, 1.0 + fold) for fold in range(5)]


def test_every_run_names_the_dataset_and_its_hash(settings, evaluation):
    log_evaluation(settings, evaluation)
    for run in runs_of(settings, evaluation.experiment):
        (used,) = run.inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("bars", "d" * 32)
        assert json.loads(used.dataset.profile) == {"num_rows": 9}


def test_files_are_artifacts_below_the_home_and_nowhere_else(settings, evaluation):
    log_evaluation(settings, evaluation)
    for run in runs_of(settings, evaluation.experiment):
        folder = folder_of(run)
        assert folder.is_relative_to(settings.mlruns / "artifacts" / evaluation.experiment)
        names = {path.name for path in folder.iterdir()}
        if run.info.run_name in evaluation.candidates:
            assert names == {"equity.png", "predictions.parquet"}
            assert (folder / "predictions.parquet").read_bytes() == b"PAR1" + run.info.run_name.encode()
        else:
            assert names == {"equity.png", "predictions.parquet", "report.md"}
            assert (folder / "report.md").read_text() == "# Report\n"
    assert list(os.scandir(".")) == []


def test_a_walk_forward_of_any_length_is_logged(settings, evaluation):
    folds = [{"fold_loss": float(fold), "b": 1.0, "c": 2.0} for fold in range(700)]
    many = replace(evaluation.candidates["ridge"], folds=folds, params={f"p{number}": number for number in range(230)})
    log_evaluation(settings, replace(evaluation, candidates={"ridge": many}))
    run = next(run for run in runs_of(settings, evaluation.experiment) if run.info.run_name == "ridge")
    assert len(client(settings).get_metric_history(run.info.run_id, "fold_loss")) == 700
    assert len(run.data.params) == 230


def test_an_evaluation_that_cannot_be_logged_is_one_sentence_and_no_run_is_left_running(settings, evaluation, tmp_path):
    missing = replace(evaluation, files=[tmp_path / "absent.parquet"])
    with pytest.raises(RegistryError, match=r"The evaluation of btc_usd_5min cannot be logged: .*absent.parquet"):
        log_evaluation(settings, missing)
    assert [run.info.status for run in runs_of(settings, evaluation.experiment)] == ["FAILED"]


def test_an_experiment_that_was_deleted_in_the_ui_comes_back(settings, evaluation):
    log_evaluation(settings, evaluation)
    mlflow = client(settings)
    mlflow.delete_experiment(mlflow.get_experiment_by_name(evaluation.experiment).experiment_id)
    log_evaluation(settings, evaluation)
    assert len(runs_of(settings, evaluation.experiment)) == 14


def test_logging_is_quick(settings, evaluation):
    log_evaluation(settings, evaluation)  # the first call imports
    start = time.process_time()
    log_evaluation(settings, evaluation)
    assert time.process_time() - start < 1.5
