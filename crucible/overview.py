"""Every recipe at one look: bars, verdict, champion, worker, last submission, score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from crucible.bar_stages import bar_store
from crucible.errors import CrucibleError
from crucible.market.recipe_bars import series_of
from crucible.recipe import Recipe, load_recipe
from crucible.settings import Settings
from crucible.stage_records import read_verdict
from crucible.worker.deployment import journal_path, read_actual, read_desired
from crucible.worker.journal import read_journal

RECENT = 20
"""Over how many scored submissions a mean is taken."""


@dataclass(frozen=True)
class Overview:
    """What is known of one recipe; None or empty where there is nothing so far.

    Attributes
    ----------
    recipe, topic : str, int
        Its name, and the topic's id on the network in question.
    bars, bars_age : int, float
        How many are stored, and how many seconds ago the newest closed.
    verdict : str
        ``passed`` or ``refused``, of the newest evaluation; a reason in words where there is none.
    candidate, grade : str
        Of that evaluation.
    champion, challenger : int
        Versions that the aliases point to.
    worker : str
        State of its process: ``ready``, ``starting``, ``failed``, ``not running``, or empty where nothing is deployed.
    serves : int
        The version that the worker serves.
    nonce, submission : int, str
        The newest nonce, and what became of it.
    scored, score : int, float
        How many of the newest :data:`RECENT` submissions are scored, and their mean score.
    fault : str
        What is wrong with the recipe, or with what is stored about it.
    """

    recipe: str
    topic: int | None = None
    bars: int = 0
    bars_age: float | None = None
    verdict: str = ""
    candidate: str = ""
    grade: str = ""
    champion: int | None = None
    challenger: int | None = None
    worker: str = ""
    serves: int | None = None
    nonce: int | None = None
    submission: str = ""
    scored: int = 0
    score: float | None = None
    fault: str = ""


def overview(settings: Settings) -> list[Overview]:
    """Return one row per recipe file; a fault is told in its row and hides nothing else."""
    return [_of(settings, path) for path in sorted(settings.recipes.glob("*.toml"))]


def _of(settings: Settings, path: Path) -> Overview:
    try:
        recipe = load_recipe(path)
    except CrucibleError as error:
        return Overview(path.stem, fault=str(error))
    found: dict[str, object] = {}
    faults = []
    for part in (_bars, _verdict, _versions, _worker, _submissions):
        try:
            found |= part(settings, recipe)
        except CrucibleError as error:
            faults.append(str(error))
    topic = getattr(recipe.topic, settings.network)
    return Overview(recipe.name, topic=topic, fault=" ".join(faults), **found)  # type: ignore[arg-type]


def _bars(settings: Settings, recipe: Recipe) -> dict[str, object]:
    coverage = bar_store(settings).coverage(series_of(recipe.data))
    if coverage.last is None:
        return {}
    age = settings.clock.now() - (coverage.last + recipe.data.stored)
    return {"bars": coverage.rows, "bars_age": age.total_seconds()}


def _verdict(settings: Settings, recipe: Recipe) -> dict[str, object]:
    if not (settings.features / recipe.name / "current.json").exists():
        return {}
    from crucible.errors import EvaluationError

    try:
        verdict = read_verdict(settings, recipe)
    except EvaluationError:
        return {"verdict": "none for these settings"}  # not evaluated, or changed since: no fault
    told = "passed" if verdict["passed"] else "refused"
    return {"verdict": told, "candidate": verdict["candidate"], "grade": verdict["grade"]}


def _versions(settings: Settings, recipe: Recipe) -> dict[str, object]:
    if not settings.mlflow_store and not (settings.mlruns / "mlflow.db").exists():
        return {}  # reading would make a store
    from crucible.registry.models import CHALLENGER, CHAMPION, alias_version

    return {alias: alias_version(settings, recipe.name, alias) for alias in (CHAMPION, CHALLENGER)}


def _worker(settings: Settings, recipe: Recipe) -> dict[str, object]:
    if read_desired(settings, recipe.name) is None:
        return {}
    actual = read_actual(settings, recipe.name)
    if actual is None or (not actual.alive and actual.state != "failed"):
        return {"worker": "not running"}
    return {"worker": actual.state, "serves": actual.model_version or None}


def _submissions(settings: Settings, recipe: Recipe) -> dict[str, object]:
    rows = read_journal(journal_path(settings, recipe.name), newest=2 * RECENT)
    if not rows:
        return {}
    scores = [row.score for row in rows if row.score is not None][-RECENT:]
    return {
        "nonce": rows[-1].nonce,
        "submission": rows[-1].state,
        "scored": len(scores),
        "score": fmean(scores) if scores else None,
    }
