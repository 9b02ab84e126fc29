"""The laboratory's stages: features, search and outer windows, verdict; each reads what the one before left on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from crucible.bar_stages import bar_store
from crucible.duration import format_duration
from crucible.features.cache import cached_features
from crucible.features.dataset import Dataset, build_dataset
from crucible.features.dataset_file import dataset_path, write_dataset
from crucible.features.engine import feature_digest
from crucible.features.report import FeatureRow, feature_report
from crucible.features.report import markdown as feature_page
from crucible.kept_evaluation import keep, key_of, read_kept
from crucible.market.recipe_bars import bars_digest, history_of, read_bars
from crucible.models.candidates import build_model
from crucible.process import write_atomic, write_json
from crucible.recipe import Recipe
from crucible.registry.models import CHAMPION, alias_version, get_version
from crucible.registry.tracking import CandidateRun, EvaluationRun, log_evaluation
from crucible.reward_stages import candidate_of_predictions
from crucible.settings import Settings
from crucible.stage_records import (
    NOTES,
    Current,
    current_file,
    evaluation_folder,
    iso_of,
    open_ledger,
    read_current,
    read_features,
    read_notes,
    utc_of,
)
from crucible.validation.analysis import analyse
from crucible.validation.evaluation import Evaluation, describe, markdown
from crucible.validation.fits import Crew, Rows, SharedRows, rows_of
from crucible.validation.gate_of_value import adds_to_the_network
from crucible.validation.gates import against_champion, confirm, judge
from crucible.validation.importance import permutation_importance
from crucible.validation.laboratory import PURGED, predict_outer
from crucible.validation.ledger import ANCHORED, OPENED, SEARCHED, Anchor
from crucible.validation.looks import earlier_looks, predictions_of
from crucible.validation.page import page
from crucible.validation.plain import plain
from crucible.validation.plots import equity_plot, information_plot
from crucible.validation.predictions import OutOfSample, read_predictions, to_parquet, write_predictions
from crucible.validation.splits import Stages
from crucible.validation.verdict import Verdict
from crucible.validation.walk_forward import run_walk_forward

Progress = Callable[[int, int], None]

_LARGE = 2_000_000  # numbers in the matrix above which other processes are worth their start


def build_features(settings: Settings, recipe: Recipe) -> Dataset:
    """Compute features and target over the recipe's history, and keep them as Parquet.

    Raises
    ------
    DataError
        If no bars are stored.
    """
    store, ledger = bar_store(settings), open_ledger(settings, recipe)
    start, end = history_of(store, recipe.data)
    anchor = ledger.anchor(recipe)
    if anchor:  # a version's history only grows, so that its stages stay where they are
        start = min(start, anchor.start)
    bars = read_bars(store, recipe.data, start, end)
    cached = cached_features(settings.features / recipe.name / "months", bars, recipe)
    dataset = build_dataset(bars, recipe, cached.frame)
    if anchor is None:
        anchor = Anchor(start, utc_of(dataset.times[-1]))
        Stages.of(recipe, dataset.times)  # too few rows are refused before anything is fixed
        ledger.append(ANCHORED, recipe, settings.clock.now(), start=start.isoformat(), end=anchor.end.isoformat())
    current = Current(
        recipe_digest=recipe.digest,
        bars_digest=bars_digest(store, recipe.data, start, end),
        feature_digest=feature_digest(recipe),
        rows_digest=_rows_digest(dataset, anchor.end),
        start=start.isoformat(),
        end=end.isoformat(),
        anchor=anchor.end.isoformat(),
    )
    write_dataset(dataset_path(settings.features, recipe, current.bars_digest), dataset)
    write_json(current_file(settings, recipe), asdict(current))
    return dataset


def describe_features(settings: Settings, recipe: Recipe, dataset: Dataset) -> tuple[list[FeatureRow], Path]:
    """Write the feature report (``features.md``, ``features.png``); return its lines, and the folder."""
    rows = feature_report(dataset, recipe)
    folder = settings.features / recipe.name
    write_atomic(folder / "features.md", feature_page(recipe, rows).encode())
    write_atomic(folder / "features.png", information_plot(rows))
    return rows, folder


def walk_forward(settings: Settings, recipe: Recipe, progress: Progress | None = None) -> OutOfSample:
    """Search on the inner rows, predict the outer windows, and keep both; a run that is there already is read.

    Raises
    ------
    EvaluationError
        If there are too few rows, or every trial of a candidate fails.
    """
    current = read_current(settings, recipe)
    folder = evaluation_folder(settings, recipe, current)
    if not (folder / NOTES).exists():
        dataset = read_features(settings, recipe)
        source, crew = _hands(settings, recipe, dataset)
        folder.mkdir(parents=True, exist_ok=True)
        searched, outer = predict_outer(
            source, dataset, recipe, _stages(recipe, dataset, current), crew=crew, storage=folder / "search.db",
            progress=progress,
        )  # fmt: skip
        write_predictions(folder / "predictions.parquet", replace(outer.oos, scale=outer.scale))
        open_ledger(settings, recipe).append(
            SEARCHED, recipe, settings.clock.now(), trials=searched.trials, pruned=searched.pruned,
            failed=searched.failed, evaluation=current.evaluation,
        )  # fmt: skip
        importance = permutation_importance(
            source, recipe, searched.chosen, searched.settings, _stages(recipe, dataset, current).outer, crew=crew
        )
        write_json(
            folder / NOTES,
            {"purged": outer.purged, **searched.to_json(), "importance": plain([asdict(i) for i in importance])},
        )
    return read_predictions(folder / "predictions.parquet")


@dataclass(frozen=True)
class Evaluated(Evaluation):
    """An evaluation that is logged to MLflow as run ``run_id``, and its report at ``page``."""

    run_id: str
    page: Path


def evaluate(settings: Settings, recipe: Recipe) -> Evaluated:
    """Judge the outer windows, open the deployment set if they let the candidate through, keep and log the verdict.

    Raises
    ------
    EvaluationError
        If the version's deployment set was opened before, for other rows or settings; with the command that helps.
    """
    current = read_current(settings, recipe)
    folder = evaluation_folder(settings, recipe, current)
    oos, notes = read_predictions(folder / "predictions.parquet"), read_notes(folder)
    earlier, champion = earlier_looks(folder, oos), _champion_evaluation(settings, recipe, folder)
    tries = max(open_ledger(settings, recipe).summary()["trials"], 1)
    others = [*earlier, f"champion {champion.name if champion else ''}"]
    kept = read_kept(folder, key_of(folder, recipe, others, tries))
    verdict = kept[0] if kept else _judge(settings, recipe, current, oos, earlier, champion)
    result = describe(recipe, oos, oos.known_scale, verdict, kept[1] if kept else None)
    if not kept:
        analysis = analyse(recipe, oos, notes["chosen"], oos.known_scale, tries)
        write_atomic(folder / "report.html", page(recipe, result, analysis, notes).encode())
        write_json(folder / "report.json", {**result.to_json(), "analysis": analysis.to_json(), "search": notes})
    known = folder / "verdict.json"
    run_id = json.loads(known.read_text()).get("run_id", "") if known.exists() else ""
    if not run_id:
        run_id = log_evaluation(settings, _evaluation_run(settings, recipe, current, result, folder))
    write_json(known, {**verdict.to_json(), "run_id": run_id})
    keep(folder, key_of(folder, recipe, others, tries), verdict, result.plots)
    return Evaluated(**vars(result), run_id=run_id, page=folder / "report.html")


def _judge(
    settings: Settings, recipe: Recipe, current: Current, oos: OutOfSample, earlier: Mapping[str, np.ndarray],
    champion: Path | None,
) -> Verdict:  # fmt: skip
    """Return the verdict, for which the deployment set is opened if the outer windows let the candidate through."""
    folder, scale = evaluation_folder(settings, recipe, current), oos.known_scale
    notes = read_notes(folder)
    chosen = notes["chosen"]
    verdict, _ = judge(recipe, oos, chosen, scale, {PURGED: bool(notes["purged"])}, earlier)
    worth = candidate_of_predictions(recipe, oos, chosen)
    verdict = verdict.joined_by(adds_to_the_network(recipe, worth.predictions, worth.truth, worth.block))
    theirs = predictions_of(champion, oos) if champion else None
    if theirs is not None:
        verdict = verdict.joined_by(against_champion(recipe, oos, chosen, scale, theirs))
    if verdict.clear:
        fresh, looks = _deployment_set(settings, recipe, current, folder)
        both = np.concatenate([scale, fresh.known_scale])
        verdict = verdict.followed_by(confirm(recipe, oos, fresh, chosen, both, looks))
    return verdict


def _champion_evaluation(settings: Settings, recipe: Recipe, folder: Path) -> Path | None:
    """Return the folder of another version's evaluation, which is champion; None where there is nothing to beat."""
    number = alias_version(settings, recipe.name, CHAMPION)
    if number is None:
        return None
    evaluation = get_version(settings, recipe.name, number).tags.get("evaluation", "")
    other = folder.parent / evaluation
    return other if evaluation and other != folder and other.is_dir() else None


def _deployment_set(settings: Settings, recipe: Recipe, current: Current, folder: Path) -> tuple[OutOfSample, int]:
    """Return the predictions of the deployment set, opened if it is closed, and how many looks its rows have had."""
    path, ledger = folder / "deployment.parquet", open_ledger(settings, recipe)
    if not path.exists():
        ledger.require_closed(recipe)
        dataset = read_features(settings, recipe)
        source, crew = _hands(settings, recipe, dataset)
        plan = _stages(recipe, dataset, current)
        found = run_walk_forward(source, dataset, recipe, (plan.deployment,), read_notes(folder)["settings"], crew=crew)
        write_predictions(path, replace(found.oos, scale=found.scale))
    fresh = read_predictions(path)
    first, last = iso_of(fresh.times[0]), iso_of(fresh.times[-1])
    mine = [e for e in ledger.entries() if e["kind"] == OPENED and e.get("evaluation") == current.evaluation]
    if not mine:
        looks = 1 + ledger.looks(first, last)
        ledger.append(
            OPENED, recipe, settings.clock.now(), first=first, last=last, looks=looks, evaluation=current.evaluation,
            features=current.feature_digest,
        )  # fmt: skip
        return fresh, looks
    return fresh, int(mine[0]["looks"])


def _hands(settings: Settings, recipe: Recipe, dataset: Dataset) -> tuple[Rows | SharedRows, Crew]:
    """Return the matrix, and who works on it: this process alone where starting others would take longer."""
    rows = rows_of(dataset, recipe)
    if settings.dask_scheduler or rows.x.size > _LARGE:
        shared = SharedRows.write(settings.features / recipe.name / "matrix", rows)
        return shared, Crew(os.cpu_count() or 1, settings.dask_scheduler)
    return rows, Crew()


def _stages(recipe: Recipe, dataset: Dataset, current: Current) -> Stages:
    return Stages.of(recipe, dataset.times, np.datetime64(datetime.fromisoformat(current.anchor).replace(tzinfo=None)))


def _rows_digest(dataset: Dataset, end: datetime) -> str:
    rows = dataset.times <= np.datetime64(end.replace(tzinfo=None))
    digest = hashlib.sha256("\n".join(dataset.names).encode())
    for values in (dataset.times, dataset.close, dataset.y, dataset.x):
        digest.update(np.ascontiguousarray(values[rows]).tobytes())
    return digest.hexdigest()


def _evaluation_run(
    settings: Settings, recipe: Recipe, current: Current, result: Evaluation, folder: Path
) -> EvaluationRun:
    dataset, oos = read_features(settings, recipe), read_predictions(folder / "predictions.parquet")
    found = read_notes(folder)["settings"]
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
        files=[folder / name for name in ("predictions.parquet", "report.html", "report.json")],
        texts={"report.md": markdown(recipe, result),
               "features.md": feature_page(recipe, feature_report(dataset, recipe)),
               "verdict.json": json.dumps(result.verdict.to_json(), indent=2),
               "recipe.json": recipe.canonical()},
        plots=result.plots,
        candidates={
            name: CandidateRun(
                params=build_model(name, recipe, dataset.names, found).describe(),
                folds=result.fold_metrics[name],
                metrics={**result.scorecards[name].metrics, "topic_loss": result.losses[name]},
                plots={"equity": equity_plot(oos, name)},
                files={"predictions.parquet": to_parquet(replace(oos, y_pred={name: oos.y_pred[name]}))},
            )
            for name in result.losses
        },
    )  # fmt: skip
