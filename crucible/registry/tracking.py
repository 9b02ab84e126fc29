"""MLflow tracking: one parent run per evaluation, one nested run per candidate."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from crucible.clock import SystemClock
from crucible.registry.store import client, refusals
from crucible.settings import Settings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_METRICS_PER_BATCH, _PARAMS_PER_BATCH = 1000, 100  # MLflow refuses more


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
    files : dict of str to bytes
        Other files by file name, such as the candidate's out-of-sample predictions.
    """

    params: Mapping[str, Any]
    folds: Sequence[Mapping[str, float]]
    metrics: Mapping[str, float]
    plots: Mapping[str, bytes]
    files: Mapping[str, bytes] = field(default_factory=dict)


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


def log_evaluation(settings: Settings, run: EvaluationRun) -> str:
    """Log an evaluation and return the parent run's id.

    A run's metrics are sent in one batch, and its files as one folder: five milliseconds each would add up. A run
    that is interrupted is marked as failed.

    Raises
    ------
    RegistryError
        If the store or the disk refuses.
    """
    mlflow = client(settings)
    with refusals(f"The evaluation of {run.experiment} cannot be logged"):
        experiment = _experiment(mlflow, settings, run.experiment)
        with _started(mlflow, experiment, f"evaluation {run.tags['evaluation']}", run.tags) as run_id:
            _log(mlflow, run_id, run.params, [(run.metrics, 0)])
            _log_dataset(mlflow, run_id, run.dataset)
            texts = {name: text.encode() for name, text in run.texts.items()}
            _log_files(mlflow, run_id, {**texts, **_png(run.plots)}, run.files)
            for name, candidate in run.candidates.items():
                tags = {"mlflow.parentRunId": run_id, "candidate": name}
                with _started(mlflow, experiment, name, tags) as child:
                    steps = [*((fold, step) for step, fold in enumerate(candidate.folds)), (candidate.metrics, 0)]
                    _log(mlflow, child, candidate.params, steps)
                    _log_dataset(mlflow, child, run.dataset)
                    _log_files(mlflow, child, {**candidate.files, **_png(candidate.plots)})
    return run_id


@contextmanager
def _started(mlflow: MlflowClient, experiment: str, name: str, tags: Mapping[str, str]) -> Iterator[str]:
    run_id: str = mlflow.create_run(experiment, run_name=name, tags=dict(tags)).info.run_id
    try:
        yield run_id
    except BaseException:
        mlflow.set_terminated(run_id, status="FAILED")
        raise
    mlflow.set_terminated(run_id)


def _experiment(mlflow: MlflowClient, settings: Settings, name: str) -> str:
    from mlflow.entities import LifecycleStage
    from mlflow.exceptions import MlflowException

    found = mlflow.get_experiment_by_name(name)
    if found is None:
        # stated explicitly: MLflow would otherwise put it below whatever folder the process was started in
        location = f"{settings.artifacts}/{quote(name)}"
        try:
            return str(mlflow.create_experiment(name, artifact_location=location))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            # another process was quicker by a moment
            found = mlflow.get_experiment_by_name(name)
    if found.lifecycle_stage == LifecycleStage.DELETED:
        mlflow.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _log(
    mlflow: MlflowClient, run_id: str, params: Mapping[str, Any], metrics: Sequence[tuple[Mapping[str, float], int]]
) -> None:
    from mlflow.entities import Metric, Param

    now = int(SystemClock().now().timestamp() * 1000)
    points = [Metric(name, float(value), now, step) for values, step in metrics for name, value in values.items()]
    settings = [Param(name, str(value)) for name, value in params.items()]
    # one batch for all but the largest walk-forwards
    room = _METRICS_PER_BATCH - _PARAMS_PER_BATCH
    for batch in range(max(-(-len(points) // room), -(-len(settings) // _PARAMS_PER_BATCH))):
        mlflow.log_batch(
            run_id,
            metrics=points[batch * room : (batch + 1) * room],
            params=settings[batch * _PARAMS_PER_BATCH : (batch + 1) * _PARAMS_PER_BATCH],
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


def _png(plots: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{name}.png": image for name, image in plots.items()}


def _log_files(mlflow: MlflowClient, run_id: str, contents: Mapping[str, bytes], paths: Sequence[Path] = ()) -> None:
    if not (contents or paths):
        return
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in contents.items():
            (Path(scratch) / name).write_bytes(content)
        for path in paths:
            shutil.copy(path, scratch)
        mlflow.log_artifacts(run_id, scratch)
