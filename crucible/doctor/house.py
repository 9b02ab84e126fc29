"""The home: keystore, MLflow's store, Dagster's folder, recipes, bars, journals."""

from __future__ import annotations

import importlib.util
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from crucible.doctor.finding import Finding
from crucible.duration import format_duration
from crucible.errors import CrucibleError, RecipeError
from crucible.recipe import Recipe, load_recipe
from crucible.settings import Settings

_REVISION = re.compile(r"^(down_)?revision\b[^=]*= *(.*)$", re.M)


def examine_house(settings: Settings) -> Iterator[Finding]:
    """Yield what the home is like; nothing is changed, and nothing but its files is read."""
    yield _keystore(settings)
    yield _mlflow(settings)
    yield _dagster(settings)
    recipes: list[Recipe] = []
    yield from _recipes(settings, recipes)
    for recipe in recipes:
        yield _bars(settings, recipe)
    yield from _journals(settings)


def _keystore(settings: Settings) -> Finding:
    folder = settings.keystore
    if not folder.is_dir():
        return Finding("keystore", "well", "There are no wallets so far; a worker makes the one that its recipe names.")
    loose = [path for path in (folder, *folder.iterdir()) if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if loose:
        names = ", ".join(path.name for path in loose[:3])
        mend = f"chmod 700 {folder} && find {folder} -type f -exec chmod 600 {{}} +"
        return Finding("keystore", "broken", f"Others may read {names} in {folder}.", mend)
    return Finding("keystore", "well", f"{len(list(folder.glob('*.json')))} wallets, readable by their owner only.")


def _mlflow(settings: Settings) -> Finding:
    store = settings.mlruns / "mlflow.db"
    if settings.mlflow_store:
        return Finding("MLflow store", "skipped", "It is kept elsewhere (CRUCIBLE_MLFLOW_STORE) and was not looked at.")
    if not store.exists():
        return Finding("MLflow store", "well", "There is none so far; the first evaluation makes it.")
    found = importlib.util.find_spec("mlflow")
    if found is None or not found.submodule_search_locations:
        return Finding("MLflow store", "skipped", "MLflow is not installed here.")
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=2.0)) as database:
            (at,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, TypeError) as error:
        mend = f"mv {store} {store}.damaged && crucible backup restore YOUR_BACKUP"
        return Finding("MLflow store", "broken", f"{store} cannot be read: {error}.", mend)
    newest = _newest_revision(Path(found.submodule_search_locations[0]) / "store" / "db_migrations" / "versions")
    if at != newest:
        mend = f"crucible backup create before.tar.gz && mlflow db upgrade sqlite:///{store}"
        return Finding("MLflow store", "broken", f"{store} has schema {at}; this MLflow needs {newest}.", mend)
    return Finding("MLflow store", "well", f"{store} has the schema of this MLflow.")


def _newest_revision(folder: Path) -> str:
    """Return the one migration that no other is built upon."""
    revisions: set[str] = set()
    below: set[str] = set()
    for path in folder.glob("*.py"):
        for down, value in _REVISION.findall(path.read_text(encoding="utf-8")):
            (below if down else revisions).update(re.findall(r"[\"']([0-9a-f]+)[\"']", value))
    return next(iter(revisions - below), "")


def _dagster(settings: Settings) -> Finding:
    home = settings.dagster_home
    if not home.is_dir():
        return Finding("Dagster home", "well", "There is none so far; `crucible up` makes it.")
    broken = []
    for path in (home / "history" / "runs.db", *(home / "schedules").glob("*.db")):
        if path.exists():
            try:
                with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2.0)) as database:
                    database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except sqlite3.Error as error:
                broken.append(f"{path}: {error}")
    if broken:
        return Finding(
            "Dagster home", "broken", f"{broken[0]}.", f"mv {home} {home}.damaged  # only its history is lost"
        )
    if not (home / "dagster.yaml").is_file():
        return Finding("Dagster home", "warning", f"{home} has no dagster.yaml.", f"cp dagster.yaml {home}/")
    return Finding("Dagster home", "well", f"{home} can be read.")


def _recipes(settings: Settings, good: list[Recipe]) -> Iterator[Finding]:
    """Yield one finding per faulty recipe, or one for all; the good ones are added to ``good``."""
    files = sorted(settings.recipes.glob("*.toml"))
    if not files:
        yield Finding("recipes", "warning", f"There is no recipe in {settings.recipes}.", "crucible init")
    for path in files:
        try:
            recipe = load_recipe(path)
        except RecipeError as error:
            yield Finding(
                f"recipe {path.stem}", "broken", str(error), f"$EDITOR {path}; crucible recipe check {path.stem}"
            )
            continue
        good.append(recipe)
        if not recipe.answers(settings.network):
            sentence = f"It names no topic on {settings.network}, so it cannot be deployed there."
            yield Finding(
                f"recipe {recipe.name}", "warning", sentence, f"$EDITOR {path}  # add topic.{settings.network}"
            )
    if good:
        yield Finding(
            "recipes", "well", f"{len(good)} of {len(files)} are valid: {', '.join(one.name for one in good)}."
        )


def _bars(settings: Settings, recipe: Recipe) -> Finding:
    from crucible.market.recipe_bars import series_of
    from crucible.market.store import BarStore

    what, mend = f"bars of {recipe.name}", f"crucible bars backfill {recipe.name}"
    try:
        coverage = BarStore(settings.bars, clock=settings.clock).coverage(series_of(recipe.data))
    except CrucibleError as error:
        return Finding(what, "broken", str(error), f"crucible bars check {recipe.name}")
    if coverage.last is None:
        return Finding(what, "warning", "None are stored so far.", mend)
    age = settings.clock.now() - (coverage.last + recipe.data.stored)
    told = f"{coverage.rows:,} bars; the newest closed {format_age(age.total_seconds())} ago"
    # training may be a few days behind; what a worker predicts from is fetched live
    if age > max(10 * recipe.data.stored, recipe.topic.horizon) and age.total_seconds() > 86_400:
        return Finding(what, "warning", f"{told}, which is old.", mend)
    missing = f", {coverage.missing:,} missing" if coverage.missing else ""
    return Finding(what, "well", f"{told}{missing} (intervals of {format_duration(recipe.data.stored)}).")


def _journals(settings: Settings) -> Iterator[Finding]:
    from crucible.worker.journal import read_journal

    for path in sorted((settings.fleet / "journal").glob("*.db")):
        what = f"journal {path.stem}"
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2.0)) as database:
                (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
            rows = read_journal(path)
        except (sqlite3.Error, CrucibleError) as error:
            said, rows = str(error).rstrip("."), []
        if said != "ok":
            mend = f"mv {path} {path}.damaged  # the chain still refuses a second value for a nonce"
            yield Finding(what, "broken", f"{path} is damaged: {said}.", mend)
        else:
            newest = f"; the newest is {rows[-1].state}" if rows else ""
            yield Finding(what, "well", f"{len(rows)} submissions{newest}.")


def format_age(seconds: float) -> str:
    """Return a span as a person says it: ``40 s``, ``12 min``, ``5 h``, ``3 d``."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
