"""Starts the exchange, localnet, the fleet, Dagster and MLflow as child processes, and ends them all."""

from __future__ import annotations

import fcntl
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from crucible.child_log import shorten
from crucible.clock import ScaledClock
from crucible.duration import format_duration
from crucible.errors import ProcessError, SettingsError, StoreError
from crucible.localnet.state import last_block_time
from crucible.process import Child, end_leftovers, stop_all, write_json
from crucible.recipe import Recipe
from crucible.settings import Settings
from crucible.stack.instance import write_instance
from crucible.stack.world import World

Tell = Callable[[str], None]

_BLOCKS_PER_EPOCH = 12  # the least that the real chain allows
_START_SECONDS = 90.0


@dataclass
class Stack:
    """Every process of one home. Use as a context manager: leaving it ends them all.

    Parameters
    ----------
    settings : Settings
        The home. Endpoints and clock are filled in as the processes come up.
    project : Path
        The folder that holds ``workspace.yaml``.
    world : World
        Market and clock.
    recipes : list of Recipe
        Each is a topic on localnet.
    tell : callable
        Told one line per step.
    dagster_port, mlflow_port : int
        0 for a free one; ``None`` leaves that server out.
    """

    settings: Settings
    project: Path
    world: World
    recipes: list[Recipe]
    tell: Tell
    dagster_port: int = 0
    mlflow_port: int | None = None
    children: list[Child] = field(default_factory=list)
    _lock: IO[str] | None = None
    _told: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        """Start everything.

        Raises
        ------
        SettingsError
            If the project folder is not one.
        ProcessError
            If a port is in use, a process ends early, or this home is running already.
        """
        if not (self.project / "workspace.yaml").is_file():
            raise SettingsError(f"There is no workspace.yaml in {self.project}; run this in Crucible's own folder.")
        self._hold_home()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        try:
            end_leftovers("CRUCIBLE_STACK", str(self.settings.home))
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything and remember where the clock stood."""
        self._stop()

    def check(self) -> None:
        """Raise :class:`ProcessError` if any process has ended; also keep their logs short."""
        for child in self.children:
            child.check()
            try:
                shorten(child.log)
            except StoreError as error:
                if str(error) not in self._told:
                    self.tell(str(error))
                self._told.add(str(error))

    def watch(self, dashboard_port: int = 0) -> str:
        """Start the dashboard and the monitor, once everything that they watch is up; return the dashboard's URL."""
        self._serve("monitor", ["monitor", "run"])
        port = free_port(dashboard_port)
        url: str = self._serve("dashboard", ["dashboard", "--port", str(port)])["url"]
        return url

    def _start(self) -> None:
        dagster_port = free_port(self.dagster_port)
        mlflow_port = free_port(self.mlflow_port) if self.mlflow_port is not None else None
        clock = self._resume_clock()
        self.settings = replace(self.settings, clock_text=clock.text(), dagster_url=f"http://127.0.0.1:{dagster_port}")
        # every address is chosen first, so that Dagster, which takes longest, can start before the others answer
        exchange_port, grpc_port, http_port = free_port(0), free_port(0), free_port(0)
        http = f"127.0.0.1:{http_port}"
        self.settings = replace(
            self.settings,
            exchange_url=f"http://127.0.0.1:{exchange_port}", grpc_url=f"grpc+http://127.0.0.1:{grpc_port}",
            websocket_url=f"ws://{http}/websocket", faucet_url=f"http://{http}", api_url=f"http://{http}/v2",
            mlflow_url=f"http://127.0.0.1:{mlflow_port}" if mlflow_port else "",
        )  # fmt: skip
        self._start_dagster(dagster_port)
        market = self.world.exchange_arguments(
            member.symbol for recipe in self.recipes for member in recipe.data.members
        )
        exchange = self._serve("exchange", ["practice", "serve", *market, "--port", str(exchange_port)])
        self.tell(
            f"practice exchange  {exchange['url']}  ({', '.join(exchange['symbols'])}, {self.world.speed:g}x time)"
        )
        ports = ["--grpc-port", str(grpc_port), "--http-port", str(http_port)]
        chain = self._serve("localnet", [*self._localnet_arguments(), *ports])
        self.tell(f"localnet           {chain['grpc_url']}  ({chain['chain_id']}, block {chain['height']})")
        self._publish_endpoints()
        if mlflow_port is not None:
            self._start_mlflow(mlflow_port)
        self._serve("fleet", ["fleet", "run"])
        self.tell("fleet              supervising")

    def _resume_clock(self) -> ScaledClock:
        # after a crash the world file is old; the last block tells how far time had come
        last = last_block_time(self._state("localnet"))
        world = self.world.stopped_at(last) if last else self.world
        world.save(self.settings.data / "world.json")
        self.world = world
        return world.clock()

    def _localnet_arguments(self) -> list[str]:
        block = min(recipe.topic.cadence for recipe in self.recipes) / _BLOCKS_PER_EPOCH
        whole = format_duration(timedelta(seconds=round(block.total_seconds())))
        named = [part for recipe in self.recipes for part in ("--recipe", recipe.name)]
        return ["localnet", "up", *named, "--state", str(self._state("localnet")), "--block-time", whole,
                "--exchange-url", self.settings.exchange_url]  # fmt: skip

    def _start_dagster(self, port: int) -> None:
        write_instance(self.settings, self.project)
        self._spawn(
            "dagster",
            [sys.executable, "-m", "dagster", "dev", "--workspace", "workspace.yaml", "--host", "127.0.0.1",
             "--port", str(port), "--log-level", "warning"],
        )  # fmt: skip

    def _start_mlflow(self, port: int) -> None:
        self.settings.mlruns.mkdir(parents=True, exist_ok=True)
        self._spawn(
            "mlflow",
            [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.settings.tracking_uri,
             "--artifacts-destination", self.settings.artifacts, "--host", "127.0.0.1", "--port", str(port),
             "--workers", "1"],
        )  # fmt: skip

    def _serve(self, name: str, arguments: list[str]) -> dict[str, Any]:
        ready = self._state("run") / f"{name}.json"
        ready.unlink(missing_ok=True)
        child = self._spawn(name, [sys.executable, "-m", "crucible", *arguments, "--ready-file", str(ready)])
        return child.wait_ready(ready, _START_SECONDS)

    def _spawn(self, name: str, command: list[str]) -> Child:
        environment = {
            **self.settings.environment(),
            "CRUCIBLE_STACK": str(self.settings.home),  # by which the next start finds them, should we be killed
            "DAGSTER_HOME": str(self.settings.dagster_home),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # two processes instead of ten
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "DO_NOT_TRACK": "true",
            "OMP_NUM_THREADS": "1",  # fits run side by side, one thread each
        }
        log = self.settings.data / "logs" / f"{name}.log"
        child = Child.start(name, command, log=log, env=environment, cwd=self.project)
        self.children.append(child)
        return child

    def _publish_endpoints(self) -> None:
        names = ("clock_text", "network", "exchange_url", "grpc_url", "websocket_url", "faucet_url", "api_url",
                 "dagster_url", "mlflow_url")  # fmt: skip
        write_json(self.settings.endpoints_file, {name: getattr(self.settings, name) for name in names})

    def _hold_home(self) -> None:
        self.settings.data.mkdir(parents=True, exist_ok=True)
        self._lock = (self.settings.data / ".running").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise ProcessError(
                f"{self.settings.home} is running already; stop that one first, or use --home."
            ) from None

    def _stop(self) -> None:
        # a second Ctrl-C must not leave half of them running
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            stop_all(self.children)
            if self.settings.clock_text != "system":
                self.world.stopped_at(self.settings.clock.now()).save(self.settings.data / "world.json")
        finally:
            self.settings.endpoints_file.unlink(missing_ok=True)
            if self._lock:
                self._lock.close()
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _state(self, name: str) -> Path:
        return self.settings.data / name


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def free_port(wanted: int) -> int:
    """Return ``wanted`` if it is free on loopback, or any free port for 0.

    Raises
    ------
    ProcessError
        If it is in use.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            raise ProcessError(f"Port {wanted} is in use; choose another one (0 for a free one).") from None
        port: int = probe.getsockname()[1]
        return port
