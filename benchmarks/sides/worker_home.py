"""A market, a chain, bundles and workers, all on loopback, for the worker's measurements."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil

from crucible.clock import ScaledClock
from crucible.features.engine import recipe_features
from crucible.localnet.abci import Refusal
from crucible.localnet.ante import decode
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.keys import address_of
from crucible.localnet.run import topic_of
from crucible.models.bundle import Training, write_bundle
from crucible.models.candidates import build_model
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.signal import plant
from crucible.practice.simulate import SimulatedMarket
from crucible.recipe import Recipe, parse_recipe
from crucible.settings import Settings
from crucible.worker.deployment import Deployment, read_actual, write_desired
from crucible.worker.journal import Row, read_journal
from crucible.worker.journal_file import wallet_journal

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 5, tzinfo=UTC)
CADENCE = timedelta(minutes=5)
BLOCKS = 12


class Side:
    """A worker's process."""

    def __init__(self, popen: subprocess.Popen[str], address: str) -> None:
        self.popen, self.address = popen, address

    def _tree(self) -> list[psutil.Process]:
        process = psutil.Process(self.popen.pid)
        return [process, *process.children(recursive=True)]

    def memory(self) -> dict[str, int]:
        """Resident megabytes of the process that signs, of those that predict, and together."""
        sizes = [process.memory_info().rss // 2**20 for process in self._tree()]
        return {"signs": sizes[0], "predicts": sum(sizes[1:]), "together": sum(sizes)}

    def processor(self) -> float:
        """Seconds of processor time so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self._tree())

    def kill(self) -> None:
        """End it and its children as a power cut would."""
        for process in reversed(self._tree()):
            process.kill()
        self.popen.wait()


class Home:
    """A Crucible home with a node and an exchange. Use as a context manager.

    Parameters
    ----------
    block_seconds : float
        Real seconds between blocks; an epoch has twelve.
    topics, wallets : int
        How many; every wallet answers every topic.
    candidate : str
        The model.
    """

    def __init__(self, *, block_seconds: float, topics: int = 1, wallets: int = 1, candidate: str = "lightgbm") -> None:
        self.topics, self.wallets, self._candidate = topics, wallets, candidate
        speed = CADENCE.total_seconds() / BLOCKS / block_seconds
        self._clock = ScaledClock.starting(NOW, speed)
        self._block = CADENCE / BLOCKS
        text = (ROOT / "recipes" / "btc_usd_5min.toml").read_text()
        text = text.replace('set = "core"\nversion = 2', 'set = "wide"\nversion = 1')
        self._recipe = parse_recipe(text, "the benchmark's recipe")
        self.features = len(recipe_features(self._recipe).names)
        self._opened: dict[int, float] = {}
        self._attempts: dict[str, list[tuple[float, int, bool]]] = {}
        self._sides: list[Side] = []
        self._refused: set[str] = set()

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        market = SimulatedMarket(("BTCUSDT",), NOW - timedelta(days=3), 1, plant(0.0, timedelta(minutes=5)))
        self._exchange = EmbeddedExchange(market, self._clock)
        self._exchange.__enter__()
        self._recipes = [self._variant(77 + number) for number in range(self.topics)]
        specs = [topic_of(recipe, "testnet", self._block) for recipe in self._recipes]
        self.node = EmbeddedLocalnet(
            specs, block_seconds=self._block.total_seconds(), clock=self._clock, exchange_url=self._exchange.url,
            competitors=1,
        )  # fmt: skip
        self._watch()
        self.node.__enter__()
        self._settings = Settings.load(
            {
                "CRUCIBLE_HOME": self._folder.name, "CRUCIBLE_RECIPES": str(ROOT / "recipes"),
                "CRUCIBLE_CLOCK": self._clock.text(), "CRUCIBLE_EXCHANGE_URL": self._exchange.url,
                "CRUCIBLE_GRPC_URL": self.node.grpc_url, "CRUCIBLE_WEBSOCKET_URL": self.node.websocket_url,
                "CRUCIBLE_FAUCET_URL": self.node.faucet_url,
            }
        )  # fmt: skip
        for recipe in self._recipes:
            self._deploy(recipe)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for side in self._sides:
            if side.popen.poll() is None:
                side.kill()
        self.node.__exit__(None, None, None)
        self._exchange.__exit__(None, None, None)
        self._folder.cleanup()

    def worker(self) -> Side:
        """Start the worker of the one wallet, and wait until it serves."""
        return self._start("w0", [recipe.name for recipe in self._recipes])

    def workers(self) -> list[Side]:
        """Start the worker of every wallet."""
        return [
            self._start(f"w{number}", [f"{recipe.name}_w{number}" for recipe in self._recipes])
            for number in range(self.wallets)
        ]

    def sdk(self, wanted: int) -> Side:
        """Start the SDK's own worker with a constant answer."""
        script = ROOT / "benchmarks" / "sides" / "sdk_inferer.py"
        known = set(self._attempts)
        command = [sys.executable, str(script), self.node.grpc_url, self.node.websocket_url, self.node.faucet_url, "77",
                   str(wanted)]  # fmt: skip
        popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.wait(lambda: set(self._attempts) - known, 120)
        [address] = set(self._attempts) - known
        side = Side(popen, address)
        self._sides.append(side)
        return side

    def wait(self, condition: Callable[[], Any], seconds: float) -> None:
        """Wait until ``condition`` holds; raise after ``seconds``."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds:.0f} s in vain")
            time.sleep(0.05)

    def refuse_next(self, address: str) -> None:
        """Let the node refuse the next transaction of ``address``, and no other's: its fee is too low."""
        self._refused.add(address)

    def attempts(self, address: str) -> list[float]:
        """When the node was handed transactions of ``address``, accepted or not."""
        return [at for at, _, _ in self._attempts.get(address, [])]

    def sent(self, address: str) -> list[float]:
        """When the node accepted payloads of ``address``."""
        return [at for at, nonce, fine in self._attempts.get(address, []) if fine and nonce]

    def latencies(self, address: str, since: int = 0) -> list[float]:
        """Seconds from the block that opened a window to the first accepted broadcast for it, by topic and nonce."""
        accepted = [(at, nonce) for at, nonce, fine in self._attempts.get(address, []) if fine and nonce > since]
        return [at - self._opened[nonce] for at, nonce in accepted]

    def rows(self) -> list[Row]:
        """Return everything that the wallets' journals hold."""
        return [
            row for number in range(self.wallets) for row in read_journal(wallet_journal(self._settings, f"w{number}"))
        ]

    def _watch(self) -> None:
        core, broadcast = self.node.core, self.node.core.broadcast
        core.listeners.append(lambda height, _: self._opened.__setitem__(height, time.monotonic()))

        def watched(content: bytes, *, house: bool = False) -> Any:
            if house:
                return broadcast(content, house=True)
            transaction = decode(content)
            if (signer := address_of(transaction.public)) in self._refused:
                self._refused.discard(signer)
                answer = ("", Refusal("sdk", 13, "got: 1uallo required: 2uallo: insufficient fee"))
            else:
                answer = broadcast(content)
            kind = transaction.body.messages[0]
            nonce = transaction.body.timeout_height - self._window if "InsertWorkerPayload" in kind.type_url else 0
            if nonce < 0 or (nonce == -self._window):  # the SDK sets no timeout height: the newest window is meant
                nonce = max((h for h in self._opened if h % BLOCKS == self._phase()), default=0)
            entry = (time.monotonic(), nonce, answer[1] is None)
            self._attempts.setdefault(signer, []).append(entry)
            return answer

        core.broadcast = watched  # type: ignore[method-assign]

    @property
    def _window(self) -> int:
        return next(iter(self.node.core.topics.values())).spec.worker_window

    def _phase(self) -> int:
        return next(iter(self.node.core.topics.values())).epoch_last_ended % BLOCKS

    def _variant(self, topic_id: int) -> Recipe:
        recipe = self._recipe.model_copy(update={"name": f"topic_{topic_id}"})
        return recipe.model_copy(update={"topic": recipe.topic.model_copy(update={"testnet": topic_id})})

    def _deploy(self, recipe: Recipe) -> None:
        names = recipe_features(recipe).names
        model = build_model(self._candidate, recipe, names)
        if self._candidate != "zero":
            generator = np.random.default_rng(1)
            x = generator.normal(size=(2000, len(names)))
            model = model.fit(x, 1e-3 * (0.2 * x[:, 0] + generator.normal(size=2000)))
        training = Training(bars_digest="0" * 64, rows=1, first="t", last="2026-01-01T00:00:00+00:00")
        bundle = write_bundle(self._settings.bundles, recipe, self._candidate, names, training, model)
        for number in range(self.wallets):
            name = recipe.name if self.wallets == 1 else f"{recipe.name}_w{number}"
            deployment = Deployment(
                recipe=name, generation=1, bundle=bundle.digest, bundle_path=str(bundle.path), model_version=1,
                topic_id=recipe.topic_id("testnet"), wallet=f"w{number}", written_at="now",
            )  # fmt: skip
            write_desired(self._settings, deployment)

    def _start(self, wallet: str, recipes: list[str]) -> Side:
        environ = {**os.environ, **self._settings.environment()}
        log = Path(self._folder.name) / f"{wallet}.log"
        with log.open("ab") as stream:
            popen = subprocess.Popen(
                [sys.executable, "-m", "crucible", "worker", "run", "--wallet", wallet],
                cwd=ROOT, env=environ, text=True, stdout=stream, stderr=subprocess.STDOUT,
            )  # fmt: skip
        found: list[Any] = []

        def ready() -> bool:
            found[:] = [read_actual(self._settings, recipe) for recipe in recipes]
            return all(item and item.pid == popen.pid and item.state == "ready" for item in found)

        try:
            self.wait(ready, 120)
        except TimeoutError:
            popen.kill()
            raise TimeoutError(f"no worker: {log.read_text()[-2000:]}") from None
        side = Side(popen, found[0].address)
        self._sides.append(side)
        return side
