"""The stages after the laboratory: challenger, champion, deployment; ``bar_stages`` and ``lab_stages`` come before.

Dagster assets and CLI commands are thin callers of these. Each stage reads what the one before left on disk, so any
of them can be run again by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import median
from time import perf_counter

from crucible.bar_stages import bar_store
from crucible.canary_stages import follow_challenger
from crucible.errors import GateError, RegistryError
from crucible.features.engine import compute_features, warmup_bars
from crucible.market.recipe_bars import read_bars
from crucible.models.bundle import Bundle, Training, load_bundle, write_bundle
from crucible.models.candidates import build_model
from crucible.monitor.admission import why_not
from crucible.monitor.champions import ROLLED_BACK
from crucible.monitor.rollback import Rollback
from crucible.monitor.store import Event, monitor_store
from crucible.recipe import Recipe
from crucible.registry.models import (
    BY_ROLLBACK,
    CHALLENGER,
    CHAMPION,
    alias_version,
    fetch_bundle,
    promote,
    register,
    set_alias,
)
from crucible.settings import Settings
from crucible.stage_records import evaluation_folder, iso_of, read_current, read_features, read_notes, read_verdict
from crucible.validation.operational import Operation, operational
from crucible.validation.weights import normalised, row_weights
from crucible.worker.deployment import Actual, Deployment, deploy, wait_served

Progress = Callable[[int, int], None]

_PREDICTIONS = 5


@dataclass(frozen=True)
class Registered:
    """A bundle and the version that carries it."""

    version: int
    bundle: Bundle


def register_challenger(settings: Settings, recipe: Recipe) -> Registered:
    """Fit the judged candidate on everything, register it with its verdict, and point @challenger to it."""
    current, verdict = read_current(settings, recipe), read_verdict(settings, recipe)
    bundle = fit_final(settings, recipe, verdict["candidate"])
    work = operational(recipe, measure_operation(settings, recipe, bundle))
    reasons = [*verdict["reasons"], *([] if work.passed else [f"{work.name}: {work.sentence}"])]
    tags = {
        "verdict": "passed" if verdict["passed"] and work.passed else "refused",
        "verdict_reasons": "; ".join(reasons),
        "operation": work.sentence,
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
    """Move @champion to @challenger if the verdict passed and it has lived long enough; otherwise say why not.

    A challenger that waits is the recipe's canary meanwhile, where the recipe has one.

    Raises
    ------
    RegistryError
        If there is no challenger.
    """
    decided = _promoted(settings, recipe)
    canary = follow_challenger(settings, recipe)
    return replace(decided, sentence=f"{decided.sentence}; {canary}") if canary else decided


def _promoted(settings: Settings, recipe: Recipe) -> Decision:
    number = alias_version(settings, recipe.name, CHALLENGER)
    if number is None:
        raise RegistryError(f"Model {recipe.name} has no @challenger; materialise `challenger` first.")
    if waits := why_not(settings, recipe, number):
        return Decision(number, alias_version(settings, recipe.name, CHAMPION), waits)
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
    asked = Deployment(
        recipe=recipe.name,
        generation=0,
        bundle=bundle.digest,
        bundle_path=str(bundle.path),
        model_version=number,
        topic_id=recipe.topic_id(settings.network),
        wallet=recipe.deploy.wallet,
        written_at=settings.clock.now().isoformat(),
        epoch_seconds=recipe.topic.cadence.total_seconds(),
    )
    deployment = deploy(settings, asked)
    return Deployed(deployment, wait_served(settings, deployment, patience))


def roll_back(settings: Settings, recipe: Recipe, decided: Rollback) -> Decision:
    """Move @champion back to the version before it, and keep why; the deploy sensor does the rest.

    Raises
    ------
    RegistryError
        If that version is gone.
    """
    why = f"rolled back from version {decided.from_version}: {decided.verdict.sentence}"
    now = alias_version(settings, recipe.name, CHAMPION)
    if now != decided.from_version:
        return Decision(decided.to_version, now, f"version {decided.from_version} is champion no more")
    promote(settings, recipe.name, decided.to_version, override=why, by=BY_ROLLBACK)
    at = settings.clock.now().isoformat()
    detail = {
        "from_version": decided.from_version, "from_bundle": decided.from_bundle, "to_version": decided.to_version,
        "why": decided.verdict.sentence,
    }  # fmt: skip
    monitor_store(settings).add_event(Event(f"{ROLLED_BACK}:{recipe.name}:{at}", at, ROLLED_BACK, recipe.name, detail))
    return Decision(decided.to_version, decided.to_version, why)


def measure_operation(settings: Settings, recipe: Recipe, bundle: Bundle) -> Operation:
    """Predict from the newest bars as a worker would, several times over, and weigh the bundle's files."""
    store = bar_store(settings)
    end = datetime.fromisoformat(read_current(settings, recipe).end)
    warmup = (warmup_bars(recipe) + 1) * recipe.data.parts
    bars = read_bars(store, recipe.data, end - warmup * recipe.data.stored, end)
    time = bars["open_time"][-1].as_py() + recipe.data.interval
    loaded = load_bundle(bundle.path, bundle.digest)
    took = []
    for _ in range(_PREDICTIONS):
        started = perf_counter()
        loaded.predict(compute_features(bars, recipe, at=time).values)
        took.append(perf_counter() - started)
    size = sum(path.stat().st_size for path in bundle.path.iterdir())
    return Operation(median(took), size / 1e6, warmup * len(recipe.data.members))


def fit_final(settings: Settings, recipe: Recipe, candidate: str) -> Bundle:
    """Fit ``candidate`` on every row and keep it as a bundle."""
    current = read_current(settings, recipe)
    dataset = read_features(settings, recipe)
    found = read_notes(evaluation_folder(settings, recipe, current))["settings"]
    model = build_model(candidate, recipe, dataset.names, found).fit(
        dataset.x, dataset.y, weight=normalised(row_weights(recipe, dataset.times), slice(None))
    )
    training = Training(
        bars_digest=current.bars_digest,
        rows=len(dataset.y),
        first=iso_of(dataset.times[0]),
        last=iso_of(dataset.times[-1]),
    )
    return write_bundle(settings.bundles, recipe, candidate, dataset.names, training, model)
