from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from worker_world import BLOCK, NOW, SPEED, World

from crucible.clock import ScaledClock
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.run import topic_of
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.signal import plant
from crucible.practice.simulate import SimulatedMarket
from crucible.settings import Settings


@pytest.fixture
def world(tmp_path, recipe, pytestconfig, request):
    clock = ScaledClock.starting(NOW, getattr(request, "param", SPEED))
    market = SimulatedMarket(("BTCUSDT",), NOW - timedelta(days=3), 1, plant(0.0, timedelta(minutes=5)))
    spec = topic_of(recipe, "testnet", BLOCK)
    with (
        EmbeddedExchange(market, clock) as exchange,
        EmbeddedLocalnet([spec], block_seconds=25.0, clock=clock, exchange_url=exchange.url, competitors=2) as node,
    ):
        settings = Settings.load(
            {
                "CRUCIBLE_HOME": str(tmp_path), "CRUCIBLE_RECIPES": str(pytestconfig.rootpath / "recipes"),
                "CRUCIBLE_CLOCK": clock.text(), "CRUCIBLE_EXCHANGE_URL": exchange.url,
                "CRUCIBLE_GRPC_URL": node.grpc_url,
                "CRUCIBLE_WEBSOCKET_URL": node.websocket_url, "CRUCIBLE_FAUCET_URL": node.faucet_url,
            }
        )  # fmt: skip
        yield World(settings, recipe, node, pytestconfig.rootpath)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """The URL of a real server of this machine, on a socket in a folder of its own."""
    pytest.importorskip("psycopg", reason="the PostgreSQL driver is not installed: this DID NOT RUN")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("initdb") or "none").parent]
    if not (found[-1] / "initdb").exists():
        pytest.skip("no PostgreSQL server is installed: this DID NOT RUN")
    with tempfile.TemporaryDirectory(prefix="pg") as name:  # the path of a socket must be short
        folder = Path(name)
        user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
        if user:
            shutil.chown(folder, "nobody")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **user}
        create = [found[-1] / "initdb", "-D", folder / "data", "-U", "fleet", "-A", "trust", "--no-sync"]
        subprocess.run(create, check=True, **quiet)
        command = [found[-1] / "pg_ctl", "-D", folder / "data", "-w", "-o", f"-k {folder} -h '' -F", "start"]
        subprocess.run(command, check=True, **quiet)
        yield f"postgresql://fleet@/postgres?host={folder}"
        subprocess.run([found[-1] / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop"], check=True, **quiet)
