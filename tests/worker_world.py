"""A market, a chain and a home, all real and on loopback, in which a worker can live."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.models.bundle import Training, write_bundle
from crucible.models.candidates import build_model
from crucible.recipe import Recipe
from crucible.settings import Settings
from crucible.worker.deployment import Deployment, journal_path, read_actual, write_desired
from crucible.worker.journal import read_journal

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SPEED = 100.0  # an epoch of five minutes takes three seconds, a block a quarter of one
BLOCK = timedelta(seconds=25)


@dataclass
class World:
    """Handles for a test."""

    settings: Settings
    recipe: Recipe
    node: EmbeddedLocalnet
    root: Path

    def deploy(self, generation: int, bundle, *, digest: str | None = None, version: int = 1) -> Deployment:
        deployment = Deployment(
            recipe=self.recipe.name, generation=generation, bundle=digest or bundle.digest,
            bundle_path=str(bundle.path), model_version=version, topic_id=77, wallet="test", written_at="now",
        )  # fmt: skip
        write_desired(self.settings, deployment)
        return deployment

    def bundle(self, candidate: str):
        from crucible.features.library import CORE

        model = build_model(candidate, self.recipe, CORE.names)
        training = Training(bars_digest="0" * 64, rows=1, first="t", last="t")
        return write_bundle(self.settings.bundles, self.recipe, candidate, CORE.names, training, model)

    def start(self, *arguments: str) -> subprocess.Popen:
        environ = {**os.environ, **self.settings.environment()}
        return subprocess.Popen(
            [sys.executable, "-m", "crucible", *arguments], cwd=self.root, env=environ, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def rows(self, *states: str):
        found = read_journal(journal_path(self.settings, self.recipe.name))
        return [row for row in found if not states or row.state in states]

    def actual(self):
        return read_actual(self.settings, self.recipe.name)

    def wait(self, condition, what: str, seconds: float = 40.0):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(0.05)
        raise AssertionError(f"waited {seconds} s in vain for {what}; actual {self.actual()}, rows {self.rows()[-3:]}")

    def accepted(self, address: str) -> dict[int, str]:
        """What the chain holds of this address, by nonce."""
        nonces = self.node.core.topics[77].nonces
        return {height: nonce.inferences[address] for height, nonce in nonces.items() if address in nonce.inferences}


def stop(process: subprocess.Popen, number: int = signal.SIGTERM) -> str:
    tree = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(number)
    try:
        return process.communicate(timeout=10)[0]
    finally:
        for left in tree:
            if left.is_running():
                left.kill()
