"""MLflow tracking: one parent run per evaluation, one nested run per candidate."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crucible.clock import SystemClock
from crucible.settings import Settings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


@dataclass(frozen=True)
class CandidateRun:
    """What one candidate's run records.

    Attributes
    ----------
    params : dict
        The model's settings.
    folds : list of dict
        Metrics of each test block, in order; logged with the block's number as step.
    metrics : dict
        Metrics over all blocks.
    plots : dict of str to bytes
        PNG files by name.
    """

    params: Mapping[str, Any]
    folds: Sequence[Mapping[str, float]]
    metrics: Mapping[str, float]
    plots: Mapping[str, bytes]


@dataclass(frozen=True)
class EvaluationRun:
    """What the parent run of an evaluation records.

    Attributes
    ----------
    experiment : str
        The recipe's name.
    tags : dict
        Digests and the verdict.
    params : dict
        The recipe's settings, flat.
    metrics : dict
        The chosen candidate's scorecard.
    dataset : dict
        ``name, digest, source, schema, profile`` of the dataset; the last two are JSON text.
    files : list of Path
        Files to keep with the run.
    texts : dict of str to str
        Small texts to keep, by file name.
    plots : dict of str to bytes
        PNG files by name.
    candidates : dict of str to CandidateRun
        One nested run each.
    """

    experiment: str
    tags: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    dataset: Mapping[str, str]
    files: Sequence[Path]
    texts: Mapping[str, str]
    plots: Mapping[str, bytes]
    candidates: Mapping[str, CandidateRun]


def client(settings: Settings) -> MlflowClient:
    """Return an MLflow client on the home's store; the first call ever creates the store."""
    return _client(settings.tracking_uri, settings.mlruns)


@cache
def _client(uri: str, folder: Path) -> MlflowClient:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    folder.mkdir(parents=True, exist_ok=True)
    from mlflow.tracking import MlflowClient

    # MLflow creates its tables when a store is opened; two processes that do so at once ruin each other
    with (folder / ".migration.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        opened = MlflowClient(tracking_uri=uri, registry_uri=uri)
        opened.search_experiments(max_results=1)
        opened.search_registered_models(max_results=1)
    return opened


def log_evaluation(settings: Settings, run: EvaluationRun) -> str:
    """Log an evaluation and return the parent run's id.

    Metrics of a run are sent in one batch: five milliseconds each would add up.
    """
    mlflow = client(settings)
    experiment = _experiment(mlflow, settings, run.experiment)
    parent = mlflow.create_run(experiment, run_name=f"evaluation {run.tags['evaluation']}", tags=dict(run.tags))
    run_id: str = parent.info.run_id
    _log(mlflow, run_id, run.params, [(run.metrics, 0)])
    _log_dataset(mlflow, run_id, run.dataset)
    for path in run.files:
        mlflow.log_artifact(run_id, str(path))
    for name, text in run.texts.items():
        mlflow.log_text(run_id, text, name)
    _log_plots(mlflow, settings, run_id, run.plots)
    for name, candidate in run.candidates.items():
        tags = {"mlflow.parentRunId": run_id, "candidate": name}
        child = mlflow.create_run(experiment, run_name=name, tags=tags).info.run_id
        _log(mlflow, child, candidate.params, [*((fold, step) for step, fold in enumerate(candidate.folds)),
                                               (candidate.metrics, 0)])  # fmt: skip
        _log_dataset(mlflow, child, run.dataset)
        _log_plots(mlflow, settings, child, candidate.plots)
        mlflow.set_terminated(child)
    mlflow.set_terminated(run_id)
    return run_id


def _experiment(mlflow: MlflowClient, settings: Settings, name: str) -> str:
    found = mlflow.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    # stated explicitly: MLflow would otherwise put it below whatever folder the process was started in
    return str(mlflow.create_experiment(name, artifact_location=(settings.mlruns / "artifacts" / name).as_uri()))


def _log(
    mlflow: MlflowClient, run_id: str, params: Mapping[str, Any], metrics: Sequence[tuple[Mapping[str, float], int]]
) -> None:
    from mlflow.entities import Metric, Param

    now = int(SystemClock().now().timestamp() * 1000)
    mlflow.log_batch(
        run_id,
        metrics=[Metric(name, float(value), now, step) for values, step in metrics for name, value in values.items()],
        params=[Param(name, str(value)) for name, value in params.items()],
    )


def _log_dataset(mlflow: MlflowClient, run_id: str, dataset: Mapping[str, str]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    entity = Dataset(
        name=dataset["name"],
        digest=dataset["digest"],
        source_type="local",
        source=json.dumps({"uri": dataset["source"]}),
        schema=dataset["schema"],
        profile=dataset["profile"],
    )
    mlflow.log_inputs(run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", "evaluation")])])


def _log_plots(mlflow: MlflowClient, settings: Settings, run_id: str, plots: Mapping[str, bytes]) -> None:
    scratch = settings.mlruns / f".plots-{run_id}"
    scratch.mkdir(parents=True)
    try:
        for name, png in plots.items():
            path = scratch / f"{name}.png"
            path.write_bytes(png)
            mlflow.log_artifact(run_id, str(path))
            path.unlink()
    finally:
        scratch.rmdir()
