from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from crucible.bar_stages import bar_store
from crucible.clock import ScaledClock
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.run import topic_of
from crucible.market.recipe_bars import series_of
from crucible.models.bundle import Training, write_bundle
from crucible.models.candidates import build_model
from crucible.settings import Settings
from crucible.worker.deployment import Deployment, journal_path, write_desired
from crucible.worker.journal import Journal

BARS_FROM = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 9, tzinfo=UTC)
FIVE = timedelta(minutes=5)
ADDRESS = "allo1worker"


@pytest.fixture
def home(tmp_path, recipe_text):
    """Settings of an empty home whose clock has just passed :data:`NOW`."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "btc_usd_5min.toml").write_text(recipe_text)
    return Settings.load(
        {
            "CRUCIBLE_HOME": str(tmp_path), "CRUCIBLE_RECIPES": str(tmp_path / "recipes"),
            "CRUCIBLE_CLOCK": ScaledClock.starting(NOW, 1.0).text(), "CRUCIBLE_GRPC_URL": "grpc+http://127.0.0.1:9",
        }
    )  # fmt: skip


@pytest.fixture
def stored(home, recipe, make_bars):
    """Eight days of bars in the store, and the recipe."""
    bars = make_bars(8 * 288, seed=5)
    bar_store(home).write(series_of(recipe.data), bars, source="test")
    return bars


@pytest.fixture
def make_bundle(home, recipe):
    """A bundle of a fitted candidate, trained up to the sixth day."""

    def make(candidate: str = "last_value", last: str = "2026-01-06T00:00:00+00:00"):
        from crucible.features.library import CORE

        generator = np.random.default_rng(1)
        model = build_model(candidate, recipe, CORE.names)
        model.fit(generator.normal(size=(400, len(CORE.names))), generator.normal(0, 1e-3, 400))
        training = Training(bars_digest="0" * 64, rows=1, first="2026-01-01T00:00:00+00:00", last=last)
        return write_bundle(home.bundles, recipe, candidate, CORE.names, training, model)

    return make


@pytest.fixture
def deploy(home, recipe):
    def act(bundle, generation: int = 1, version: int = 1, at: datetime = NOW - timedelta(days=2)):
        write_desired(
            home,
            Deployment(
                recipe=recipe.name, generation=generation, bundle=bundle.digest, bundle_path=str(bundle.path),
                model_version=version, topic_id=77, wallet="test", written_at=at.isoformat(),
            ),
        )  # fmt: skip

    return act


@pytest.fixture
def submit(home, recipe):
    """Write submissions into the journal as a worker would: one per prediction time."""

    def act(bundle, times, values, *, version: int = 1, first: int = 1000, state: str = "included", score=None):
        path = journal_path(home, recipe.name)
        with Journal(path, home.clock, chain_id=home.chain_id, topic_id=77, address=ADDRESS) as journal:
            for at, (time, value) in enumerate(zip(times, values, strict=True)):
                nonce = first + 12 * at
                journal.seen(nonce, nonce + 8)
                if state == "missed":
                    journal.move(nonce, "missed", reason="the exchange did not answer")
                    continue
                journal.move(
                    nonce, "predicted", value=float(value), predicted_for=time.isoformat(), bundle=bundle.digest,
                    model_version=version,
                )  # fmt: skip
                tx_hash = f"{nonce:064X}"
                journal.move(nonce, "signed", tx_hash=tx_hash, tx_content=b"x", sequence=nonce)
                journal.move(nonce, "broadcast")
                journal.move(nonce, "included", height=nonce + 2, code=0)
                if score is not None:
                    journal.move(nonce, "scored", score=score)

    return act


@pytest.fixture
def node(recipe):
    with EmbeddedLocalnet([topic_of(recipe, "testnet", timedelta(seconds=25))], block_seconds=0) as found:
        yield found


def closes(bars: pa.Table) -> dict[datetime, float]:
    return {
        time + FIVE: close for time, close in zip(bars["open_time"].to_pylist(), bars["close"].to_pylist(), strict=True)
    }
