"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings

from crucible.recipe import Recipe, find_recipe

ROOT = Path(__file__).resolve().parents[1]
settings.register_profile("crucible", deadline=None)  # the machines are shared, so single cases are slow at times
settings.load_profile("crucible")

START = datetime(2026, 1, 1, tzinfo=UTC)


_LONGEST = ("e2e", "documents", "worker", "pipelines", "validation", "web")


@pytest.hookimpl(optionalhook=True)  # without xdist there is no such question
def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: the tests that take minutes wait for processes more than they compute."""
    return max(2, len(os.sched_getaffinity(0)) * 3 // 2)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the rooms whose files take minutes, so that no core waits for another one's last file."""
    order = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.relative_to(ROOT / "tests").parts[0], len(order)))


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = Path(os.environ.get("CRUCIBLE_SHARED", ROOT / ".." / "shared")).resolve()
    if not folder.is_dir():
        pytest.skip(f"CRUCIBLE_SHARED: there is no folder {folder}, so this conformance test DID NOT RUN")
    return folder


@pytest.fixture(autouse=True)
def _no_inherited_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("CRUCIBLE_") and name not in ("CRUCIBLE_SHARED", "CRUCIBLE_PROVE"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return find_recipe(ROOT / "recipes", "btc_usd_5min")


@pytest.fixture(scope="session")
def recipe_text() -> str:
    return (ROOT / "recipes" / "btc_usd_5min.toml").read_text()


@pytest.fixture(scope="session")
def make_bars() -> Callable[..., pa.Table]:
    """A random walk of bars; ``missing`` row numbers are left out."""

    def make(
        rows: int, *, seed: int = 0, interval: timedelta = timedelta(minutes=5), missing: tuple[int, ...] = ()
    ) -> pa.Table:
        generator = np.random.default_rng(seed)
        close = 100 * np.exp(np.cumsum(generator.normal(0, 1e-3, rows)))
        opened = np.concatenate([[100.0], close[:-1]])
        high = np.maximum(opened, close) * np.exp(np.abs(generator.normal(0, 5e-4, rows)))
        low = np.minimum(opened, close) * np.exp(-np.abs(generator.normal(0, 5e-4, rows)))
        table = pa.table(
            {
                "open_time": pa.array([START + i * interval for i in range(rows)], type=pa.timestamp("us", "UTC")),
                "open": opened,
                "high": high,
                "low": low,
                "close": close,
                "volume": generator.gamma(2.0, 5.0, rows),
            }
        )
        keep = np.setdiff1d(np.arange(rows), missing)
        return table.take(pa.array(keep))

    return make


@pytest.fixture(scope="session")
def template_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store to be copied: its 65 tables take seconds to make."""
    from crucible.registry.store import client
    from crucible.settings import Settings

    settings = Settings(home=tmp_path_factory.mktemp("template"), recipes=ROOT / "recipes")
    client(settings)
    return settings.mlruns / "mlflow.db"
