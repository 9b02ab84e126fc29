"""What looks cost in a home that has lived for a year with one five-minute topic; prints JSON.

``python -m benchmarks.year`` makes journal and store of 105,120 epochs, with a shadow, in about half a minute, and then
times what is done every few seconds (the watch), every half minute (roll-back), every hour (live evaluation), and what
a person asks for.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from crucible.clock import ManualClock, ScaledClock
from crucible.monitor.champions import note_deployment
from crucible.monitor.live import live_rows, summary
from crucible.monitor.rollback import review
from crucible.monitor.situation import watched
from crucible.monitor.store import Forecast, monitor_store
from crucible.recipe import Recipe, load_recipe
from crucible.settings import Settings
from crucible.web import sources
from crucible.worker.deployment import Deployment, journal_path, write_desired
from crucible.worker.journal import Journal, Row

NOW = datetime(2026, 7, 1, tzinfo=UTC)
ADDRESS, CHAMPION, BEFORE = "allo1year", "b" * 64, "a" * 64
FACTS = ("truth", "log_return", "close", "scale", "regime", "loss", "zero_loss", "network", "network_loss")
OWN = ("score", "reward", "rank", "field")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON (it always does)")
    parser.add_argument("--epochs", type=int, default=105_120, help="a year of five minutes by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crucible-year-") as folder:
        settings, recipe = _live(Path(folder), options.epochs)
        looks: dict[str, Callable[[], Any]] = {
            "watch, every 5 s": lambda: watched(settings, recipe),
            "roll-back, every 30 s": lambda: review(settings, recipe),
            "live evaluation, every hour": lambda: summary(recipe, live_rows(settings, recipe, source="worker")),
            "fleet page": lambda: sources.summary(settings, recipe.name),
            "worker page": lambda: sources.epochs(settings, recipe.name, limit=1000),
        }
        review(settings, recipe)  # what it imports, a sensor has imported long ago
        result = {name: _took(look) for name, look in looks.items()}
        sizes = {path.name: path.stat().st_size // 10**6 for path in Path(folder).rglob("*.db")}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    print(json.dumps({"epochs": options.epochs, "seconds": result, "file_mb": sizes, "memory_mb": memory}, indent=2))


def _took(look: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    look()  # once: a page remembers what has not changed
    return round(time.perf_counter() - begun, 3)


def _live(home: Path, epochs: int) -> tuple[Settings, Recipe]:
    recipes = Path(__file__).resolve().parents[1] / "recipes"
    settings = Settings.load(
        {
            "CRUCIBLE_HOME": str(home), "CRUCIBLE_RECIPES": str(recipes),
            "CRUCIBLE_CLOCK": ScaledClock.starting(NOW, 1.0).text(), "CRUCIBLE_GRPC_URL": "grpc+http://127.0.0.1:9",
        }
    )  # fmt: skip
    recipe = load_recipe(recipes / "btc_usd_5min.toml")
    begun = NOW - epochs * recipe.topic.cadence
    times = [(begun + at * recipe.topic.cadence).isoformat() for at in range(epochs)]
    _submit(settings, recipe, times)
    for generation, bundle in enumerate((BEFORE, CHAMPION), start=1):
        at = (begun - timedelta(hours=2 - generation)).isoformat()
        write_desired(settings, Deployment(recipe.name, generation, bundle, "x", generation, 77, "year", at))
        note_deployment(settings, recipe.name)
    _judge(settings, recipe, times)
    return settings, recipe


def _submit(settings: Settings, recipe: Recipe, times: list[str]) -> None:
    path = journal_path(settings, recipe.name)
    with Journal(path, ManualClock(NOW), chain_id=settings.chain_id, topic_id=77, address=ADDRESS):
        pass  # the tables
    names = [field.name for field in fields(Row)]
    fixed = {
        "chain_id": settings.chain_id, "topic_id": 77, "role": "inferer", "address": ADDRESS, "state": "scored",
        "recipe": recipe.name, "bundle": CHAMPION, "model_version": 2, "rung": "champion", "tx_content": b"x" * 300,
        "fee": 1000, "code": 0, "score": 0.01, "payload": None, "reason_code": None, "reason": None,
    }  # fmt: skip
    rows, steps = [], []
    for at, instant in enumerate(times):
        nonce = 12 * at
        own = {
            "nonce": nonce, "window_end": nonce + 8, "value": 1e5 + at, "predicted_for": instant, "sequence": at,
            "tx_hash": f"{at:064X}", "height": nonce + 2, "seen_at": instant, "updated_at": instant,
        }  # fmt: skip
        rows.append([{**fixed, **own}[name] for name in names])
        steps += [
            (nonce, 77, "inferer", ADDRESS, state, instant, "")
            for state in ("seen", "features", "predicted", "signed", "broadcast", "included", "scored")
        ]
    with closing(sqlite3.connect(path)) as connection, connection:
        marks = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO submission VALUES ({marks})", rows)  # noqa: S608 -- only question marks
        connection.executemany("INSERT INTO step VALUES (?, ?, ?, ?, ?, ?, ?)", steps)


def _judge(settings: Settings, recipe: Recipe, times: list[str]) -> None:
    """Every epoch by the worker and, as a shadow, by the champion before it; every fact of either is known."""
    store, generator = monitor_store(settings), np.random.default_rng(1)
    store.add_forecasts(
        Forecast(settings.chain_id, 77, 12 * at, source, address, bundle, recipe.name, 1, "f", instant, 1e5 + at,
                 f"{at:064X}", 12 * at + 2, instant)
        for at, instant in enumerate(times)
        for source, address, bundle in (("worker", ADDRESS, CHAMPION), ("shadow", "", BEFORE))
    )  # fmt: skip
    with closing(sqlite3.connect(store.path)) as connection, connection:
        known = connection.execute("SELECT id, source FROM forecast").fetchall()
        facts = [(id_, name) for id_, source in known for name in (*FACTS, *(OWN if source == "worker" else ()))]
        values = generator.integers(0, 3, len(facts)).astype(float)
        connection.executemany(
            "INSERT INTO fact VALUES (?, ?, ?, '')", ((*fact, float(v)) for fact, v in zip(facts, values, strict=True))
        )


if __name__ == "__main__":
    main()
