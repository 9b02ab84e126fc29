"""One function per stage of the picture: bars, features, walk-forward, evaluation, challenger, champion, deployment.

Dagster assets and CLI commands are thin callers of these. Each stage reads what the one before left on disk, so any
of them can be run again by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from crucible.bar_stages import bar_store
from crucible.duration import format_duration
from crucible.errors import EvaluationError, GateError, RegistryError, StoreError
from crucible.features.cache import cached_features
from crucible.features.dataset import Dataset, build_dataset
from crucible.features.dataset_file import dataset_path, read_dataset, write_dataset
from crucible.features.engine import feature_digest
from crucible.features.report import FeatureRow, feature_report
from crucible.features.report import markdown as feature_page
from crucible.market.recipe_bars import bars_digest, history_of, read_bars
from crucible.models.bundle import Bundle, Training, write_bundle
from crucible.models.candidates import build_model
from crucible.process import write_atomic, write_json
from crucible.recipe import Recipe
from crucible.registry.models import (
    CHALLENGER,
    CHAMPION,
    alias_version,
    fetch_bundle,
    promote,
    register,
    set_alias,
)
from crucible.registry.tracking import CandidateRun, EvaluationRun, log_evaluation
from crucible.settings import Settings
from crucible.validation.evaluation import Evaluation, markdown
from crucible.validation.evaluation import evaluate as judge_all
from crucible.validation.plots import equity_plot, information_plot
from crucible.validation.predictions import OutOfSample, read_predictions, to_parquet, write_predictions
from crucible.validation.walk_forward import run_walk_forward
from crucible.worker.deployment import Actual, Deployment, read_desired, wait_served, write_desired

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Current:
    """What the newest run of the stages for one recipe was computed from."""

    recipe_digest: str
    bars_digest: str
    feature_digest: str
    start: str
    end: str

    @property
    def evaluation(self) -> str:
        """Name of the evaluation folder: equal inputs, equal name."""
        return f"{self.recipe_digest[:8]}-{self.feature_digest[:8]}-{self.bars_digest[:8]}"


def build_features(settings: Settings, recipe: Recipe) -> Dataset:
    """Compute features and target over the recipe's history, and keep them as Parquet.

    Raises
    ------
    DataError
        If no bars are stored.
    """
    store = bar_store(settings)
    start, end = history_of(store, recipe.data)
    bars = read_bars(store, recipe.data, start, end)
    cached = cached_features(settings.features / recipe.name / "months", bars, recipe)
    dataset = build_dataset(bars, recipe, cached.frame)
    current = Current(
        recipe_digest=recipe.digest,
        bars_digest=bars_digest(store, recipe.data, start, end),
        feature_digest=feature_digest(recipe),
        start=start.isoformat(),
        end=end.isoformat(),
    )
    write_dataset(dataset_path(settings.features, recipe, current.bars_digest), dataset)
    write_json(_current_file(settings, recipe), asdict(current))
    return dataset


def describe_features(settings: Settings, recipe: Recipe, dataset: Dataset) -> tuple[list[FeatureRow], Path]:
    """Write the feature report (``features.md``, ``features.png``); return its lines, and the folder."""
    rows = feature_report(dataset, recipe)
    folder = settings.features / recipe.name
    write_atomic(folder / "features.md", feature_page(recipe, rows).encode())
    write_atomic(folder / "features.png", information_plot(rows))
    return rows, folder


def walk_forward(settings: Settings, recipe: Recipe, progress: Progress | None = None) -> OutOfSample:
    """Run the purged walk-forward over the newest features, and keep the out-of-sample predictions."""
    current = read_current(settings, recipe)
    result = run_walk_forward(read_features(settings, recipe), recipe, progress=progress)
    folder = evaluation_folder(settings, recipe, current)
    write_predictions(folder / "predictions.parquet", result.oos)
    write_json(
        folder / "walk_forward.json", {"purged": result.purged, "scale": _scale_by_fold(result.oos, result.scale)}
    )
    return result.oos


def read_features(settings: Settings, recipe: Recipe) -> Dataset:
    """Return the newest dataset of ``recipe``."""
    return read_dataset(dataset_path(settings.features, recipe, read_current(settings, recipe).bars_digest))


@dataclass(frozen=True)
class Evaluated(Evaluation):
    """An evaluation that is logged to MLflow as run ``run_id``."""

    run_id: str


def evaluate(settings: Settings, recipe: Recipe) -> Evaluated:
    """Judge the newest out-of-sample predictions, keep the verdict, and log every candidate to MLflow."""
    current = read_current(settings, recipe)
    folder = evaluation_folder(settings, recipe, current)
    oos, scale, purged = _read_walk_forward(folder)
    result = judge_all(recipe, oos, scale, purged=purged)
    run_id = log_evaluation(settings, _evaluation_run(settings, recipe, current, result, folder))
    write_json(folder / "verdict.json", {**result.verdict.to_json(), "run_id": run_id})
    return Evaluated(**vars(result), run_id=run_id)


@dataclass(frozen=True)
class Registered:
    """A bundle and the version that carries it."""

    version: int
    bundle: Bundle


def register_challenger(settings: Settings, recipe: Recipe) -> Registered:
    """Fit the judged candidate on everything, register it with its verdict, and point @challenger to it."""
    current, verdict = read_current(settings, recipe), read_verdict(settings, recipe)
    bundle = fit_final(settings, recipe, verdict["candidate"])
    tags = {
        "verdict": "passed" if verdict["passed"] else "refused",
        "verdict_reasons": "; ".join(verdict["reasons"]),
        "grade": verdict["grade"],
        "evaluation": current.evaluation,
        "recipe_digest": current.recipe_digest,
        "bars_digest": current.bars_digest,
    }
    version = register(settings, bundle, verdict["run_id"], tags)
    set_alias(settings, recipe.name, CHALLENGER, version)
    return Registered(version, bundle)


@dataclass(frozen=True)
class Decision:
    """Whether the challenger became champion, and why."""

    challenger: int
    champion: int | None
    sentence: str


def promote_challenger(settings: Settings, recipe: Recipe) -> Decision:
    """Move @champion to @challenger if the verdict passed; otherwise leave it and say why.

    Raises
    ------
    RegistryError
        If there is no challenger.
    """
    number = alias_version(settings, recipe.name, CHALLENGER)
    if number is None:
        raise RegistryError(f"Model {recipe.name} has no @challenger; materialise `challenger` first.")
    try:
        promote(settings, recipe.name, number)
    except GateError as refusal:
        return Decision(number, alias_version(settings, recipe.name, CHAMPION), str(refusal))
    return Decision(number, number, f"the gates passed version {number}")


@dataclass(frozen=True)
class Deployed:
    """A deployment that the running worker acknowledged."""

    deployment: Deployment
    actual: Actual


def deploy_champion(settings: Settings, recipe: Recipe, *, patience: float = 90.0) -> Deployed:
    """Verify the champion's bundle, hand it to the fleet, and wait until the worker serves it.

    Raises
    ------
    RegistryError
        If there is no champion.
    BundleError
        If its bundle was altered; nothing is then handed over.
    ProcessError
        If the worker does not acknowledge within ``patience`` seconds.
    """
    number = alias_version(settings, recipe.name, CHAMPION)
    if number is None:
        raise RegistryError(f"Model {recipe.name} has no @champion; promote a version first.")
    bundle = fetch_bundle(settings, recipe.name, number)
    before = read_desired(settings, recipe.name)
    deployment = Deployment(
        recipe=recipe.name,
        generation=before.generation + 1 if before else 1,
        bundle=bundle.digest,
        bundle_path=str(bundle.path),
        model_version=number,
        topic_id=recipe.topic_id(settings.network),
        wallet=recipe.deploy.wallet,
        written_at=settings.clock.now().isoformat(),
    )
    write_desired(settings, deployment)
    return Deployed(deployment, wait_served(settings, deployment, patience))


def fit_final(settings: Settings, recipe: Recipe, candidate: str) -> Bundle:
    """Fit ``candidate`` on every row and keep it as a bundle."""
    current = read_current(settings, recipe)
    dataset = read_features(settings, recipe)
    model = build_model(candidate, recipe, dataset.names).fit(dataset.x, dataset.y)
    training = Training(
        bars_digest=current.bars_digest,
        rows=len(dataset.y),
        first=_iso(dataset.times[0]),
        last=_iso(dataset.times[-1]),
    )
    return write_bundle(settings.bundles, recipe, candidate, dataset.names, training, model)


def read_verdict(settings: Settings, recipe: Recipe) -> dict[str, Any]:
    """Return the verdict of the newest evaluation, as plain values.

    Raises
    ------
    EvaluationError
        If there is none so far.
    """
    path = evaluation_folder(settings, recipe, read_current(settings, recipe)) / "verdict.json"
    try:
        verdict: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise EvaluationError(f"{recipe.name} has not been evaluated yet; materialise `evaluation` first.") from None
    return verdict


def read_current(settings: Settings, recipe: Recipe) -> Current:
    """Return what the newest features were computed from.

    Raises
    ------
    EvaluationError
        If there are none, or the recipe has been changed since.
    """
    path = _current_file(settings, recipe)
    try:
        current = Current(**json.loads(path.read_text()))
    except FileNotFoundError:
        raise EvaluationError(f"There are no features of {recipe.name} so far; materialise `features` first.") from None
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); materialise `features` again.") from error
    if current.recipe_digest != recipe.digest:
        raise EvaluationError(f"Recipe {recipe.name} was changed after its features; materialise `features` again.")
    return current


def evaluation_folder(settings: Settings, recipe: Recipe, current: Current) -> Path:
    """Return the folder that holds everything about one evaluation."""
    return settings.evaluations / recipe.name / current.evaluation


def _read_walk_forward(folder: Path) -> tuple[OutOfSample, np.ndarray, bool]:
    oos = read_predictions(folder / "predictions.parquet")
    notes: dict[str, Any] = json.loads((folder / "walk_forward.json").read_text())
    return oos, np.array([notes["scale"][str(fold)] for fold in oos.fold]), bool(notes["purged"])


def _evaluation_run(
    settings: Settings, recipe: Recipe, current: Current, result: Evaluation, folder: Path
) -> EvaluationRun:
    dataset, oos = read_features(settings, recipe), read_predictions(folder / "predictions.parquet")
    return EvaluationRun(
        experiment=recipe.name,
        tags={
            "evaluation": current.evaluation,
            "candidate": result.verdict.candidate,
            "verdict": "passed" if result.verdict.passed else "refused",
            "grade": result.verdict.grade,
            **{name: value for name, value in asdict(current).items() if name.endswith("digest")},
        },
        params={f"{section}.{key}": value for section, values in recipe.model_dump(mode="json").items()
                if isinstance(values, dict) and section != "models" for key, value in values.items()
                if key != "own"},
        metrics=result.scorecard.metrics,
        dataset={
            "name": f"{recipe.data.venue}-{recipe.data.symbol}-{format_duration(recipe.data.interval)}",
            "digest": current.bars_digest[:32],
            "source": str(dataset_path(settings.features, recipe, current.bars_digest)),
            "schema": json.dumps({"mlflow_colspec": [{"type": "double", "name": name} for name in dataset.names]}),
            "profile": json.dumps({"num_rows": len(dataset.y), "from": current.start, "to": current.end}),
        },
        files=[folder / "predictions.parquet"],
        texts={"report.md": markdown(recipe, result),
               "features.md": feature_page(recipe, feature_report(dataset, recipe)),
               "verdict.json": json.dumps(result.verdict.to_json(), indent=2),
               "recipe.json": recipe.canonical()},
        plots=result.plots,
        candidates={
            name: CandidateRun(
                params=build_model(name, recipe, dataset.names).describe(),
                folds=result.fold_metrics[name],
                metrics={**result.scorecards[name].metrics, "topic_loss": result.losses[name]},
                plots={"equity": equity_plot(oos, name)},
                files={"predictions.parquet": to_parquet(replace(oos, y_pred={name: oos.y_pred[name]}))},
            )
            for name in result.losses
        },
    )  # fmt: skip


def _current_file(settings: Settings, recipe: Recipe) -> Path:
    return settings.features / recipe.name / "current.json"


def _scale_by_fold(oos: OutOfSample, scale: np.ndarray) -> dict[str, float]:
    return {str(fold): float(scale[oos.fold == fold][0]) for fold in np.unique(oos.fold)}


def _iso(time: np.datetime64) -> str:
    return time.astype("datetime64[us]").astype(datetime).replace(tzinfo=UTC).isoformat()
