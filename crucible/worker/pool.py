"""The processes that predict, as the process that signs sees them: asked with a deadline, replaced when they fail.

One process serves all deployments of a wallet. A deployment whose prediction hung or crashed it is served by one of its
own from then on, so that it cannot do so to its neighbours again.

What is late costs an attempt; the process is replaced only once it gives no sign of life, or a request never ends. On a
machine that is merely too slow everything is late, and a process that is replaced for it imports, compiles and fetches
anew: starting processes would become the load. For the same reason own processes are few, and one that fails again and
again is replaced ever later.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from crucible.errors import Withheld
from crucible.settings import Settings
from crucible.worker.deployment import Deployment
from crucible.worker.reasons import Reason

_LOG = logging.getLogger(__name__)
_LOAD_SECONDS = 60.0
_LARGEST_LINE = 1 << 20
_PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # before a process is replaced, by failures since its last answer
_MOST_OWN = 3  # processes that serve one deployment each
_SIGN_OF_LIFE = 5.0  # seconds in which a process whose answer is late says that it lives
_PATIENCE = 30.0  # seconds in which it gives that answer after all
_Answer = asyncio.Future[dict[str, Any]]
_LEAN = {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # one row at a time


@dataclass(frozen=True)
class Loaded:
    """What a bundle says that the signing process must know.

    ``cadence`` in seconds of the clock; ``trained`` the last prediction time that it was fitted on, ISO.
    """

    deployment: Deployment
    cadence: float
    target: str
    loss: str
    fallback: tuple[str, ...]
    distance: float
    trained: str


@dataclass(frozen=True)
class Predicted:
    """A value with what it is judged by; see :class:`~crucible.worker.predictor.Prediction`."""

    value: float
    time: str
    close: float
    scale: float


class _Process:
    """One process; started at the first request, and again as soon as it has died."""

    def __init__(self, settings: Settings) -> None:
        self.loads: dict[tuple[str, str], dict[str, Any]] = {}
        self.restarts = 0
        self.killed = False
        self._failures = 0  # since the last prediction
        self._settings = settings
        self._popen: asyncio.subprocess.Process | None = None
        self._started: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[int, _Answer] = {}
        self._count = 0
        self._generation = 0
        self._closing = False

    @property
    def pid(self) -> int:
        """The id of the process, 0 while there is none."""
        return self._popen.pid if self._popen is not None and self._popen.returncode is None else 0

    async def ask(self, request: Mapping[str, Any], seconds: float, hung: Callable[[], None]) -> dict[str, Any]:
        """Return the answer; ``hung`` is called if the process must be replaced because it never gives it."""
        until = asyncio.get_running_loop().time() + seconds
        started = self.start()
        try:
            async with asyncio.timeout_at(until):
                await asyncio.shield(started)
        except TimeoutError:
            raise Withheld(Reason.MODEL_CRASHED, "The process that predicts is not ready yet.") from None
        except OSError as error:
            raise Withheld(Reason.MODEL_CRASHED, f"The process that predicts cannot be started: {error}.") from error
        future = self._send(request)
        try:
            async with asyncio.timeout_at(until):
                answer = await asyncio.shield(future)
        except TimeoutError:
            self._keep(asyncio.create_task(self._overdue(future, hung)))
            raise Withheld(
                Reason.MODEL_HUNG, f"The prediction took longer than the {seconds:.1f} s that it may."
            ) from None
        if request["do"] == "predict":
            self._failures = 0
        return answer

    def start(self) -> asyncio.Task[None]:
        """Start it, unless that was done."""
        if self._started is None or (self._started.done() and self._started.exception() is not None):
            self._started = asyncio.create_task(self._start())
            self._started.add_done_callback(_told)
        return self._started

    async def close(self) -> None:
        """End it."""
        self._closing = True
        if self._started is not None:
            self._started.cancel()
            await asyncio.gather(self._started, return_exceptions=True)
        if self._popen is not None and self._popen.returncode is None:
            self._popen.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _overdue(self, future: _Answer, hung: Callable[[], None]) -> None:
        """Wait for a late answer; replace the process if it gives no sign of life, or never that answer."""
        popen = self._popen
        life = self._send({"do": "ping"})
        alive, _ = await asyncio.wait({life, future}, timeout=_SIGN_OF_LIFE, return_when=asyncio.FIRST_COMPLETED)
        if alive:
            await asyncio.wait({future}, timeout=_PATIENCE)
        if future.done() or popen is not self._popen or popen is None or popen.returncode is not None or self._closing:
            return
        words = "its prediction never ended" if alive else "it gave no sign of life"
        _LOG.warning("The process that predicts is replaced: %s.", words)
        self.killed = True
        popen.kill()
        hung()
        self._replace()

    def _replace(self) -> None:
        if self._closing:
            return
        pause = _PAUSES[min(self._failures, len(_PAUSES) - 1)]
        self._failures += 1
        self.restarts += 1
        self._started = asyncio.create_task(self._start(pause))
        self._started.add_done_callback(_told)

    async def _start(self, pause: float = 0.0) -> None:
        self._generation += 1
        await asyncio.sleep(pause)
        self._waiting = {}
        self._popen = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crucible.worker.model_process",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LARGEST_LINE,
            env={**os.environ, **self._settings.environment(), **_LEAN},
        )  # fmt: skip
        self._keep(asyncio.create_task(self._read(self._popen, self._waiting, self._generation)))
        for load in list(self.loads.values()):  # what its predecessor served
            await self._send(load)

    def _send(self, request: Mapping[str, Any]) -> _Answer:
        assert self._popen is not None
        assert self._popen.stdin is not None
        self._count += 1
        future: _Answer = asyncio.get_running_loop().create_future()
        future.add_done_callback(_seen)
        self._waiting[self._count] = future
        self._popen.stdin.write(json.dumps({"id": self._count, **request}).encode() + b"\n")
        return future

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, popen: asyncio.subprocess.Process, waiting: dict[int, _Answer], generation: int) -> None:
        assert popen.stdout is not None
        while line := await popen.stdout.readline():
            answer = json.loads(line)
            future = waiting.pop(answer.pop("id"), None)
            if future is not None and not future.done():
                future.set_result(answer)
        code = await popen.wait()
        words = f"The process that predicts ended with code {code}; it is replaced."
        for future in list(waiting.values()):
            if not future.done():
                future.set_exception(Withheld(Reason.MODEL_CRASHED, words))
        if generation == self._generation and not self._closing:  # it died by itself
            _LOG.warning("%s", words)
            self._replace()


def _seen(future: _Answer) -> None:
    # nobody waits for an answer that came too late, nor for its failure
    if not future.cancelled():
        future.exception()


def _told(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.warning("the process that predicts did not start: %s", error)


class ModelPool:
    """Predicts with bundles, in other processes.

    Parameters
    ----------
    settings : Settings
        Handed to the processes; folders, clock and exchange.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shared = _Process(settings)
        self._own: dict[str, _Process] = {}
        self._suspects: set[str] = set()  # recipes one of which has crashed the shared process
        self._alone = asyncio.Lock()

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that run at present."""
        return [process.pid for process in (self._shared, *self._own.values()) if process.pid]

    @property
    def restarts(self) -> int:
        """How many processes were killed or died."""
        return sum(process.restarts for process in (self._shared, *self._own.values()))

    def start(self) -> None:
        """Start the first process now, so that it is ready when it is asked."""
        self._shared.start()

    async def load(self, deployment: Deployment) -> Loaded:
        """Verify and load the bundle of ``deployment``; those that were loaded before stay, for a roll-back.

        Raises
        ------
        Withheld
            If it cannot be verified or loaded, with the reason.
        """
        request = {
            "do": "load", "recipe": deployment.recipe, "path": deployment.bundle_path, "digest": deployment.bundle,
            "topic_id": deployment.topic_id,
        }  # fmt: skip
        process = self._of(deployment.recipe)
        answer = _checked(await process.ask(request, _LOAD_SECONDS, lambda: self._isolate(deployment.recipe)))
        loads = [key for key in process.loads if key[0] == deployment.recipe and key[1] != deployment.bundle]
        for key in loads[:-1]:
            del process.loads[key]
        process.loads.pop((deployment.recipe, deployment.bundle), None)
        process.loads[deployment.recipe, deployment.bundle] = request
        return Loaded(
            deployment, answer["cadence"], answer["target"], answer["loss"], tuple(answer["fallback"]),
            answer["distance"], answer["trained"],
        )  # fmt: skip

    async def predict(self, recipe: str, digest: str, rung: str, seconds: float) -> Predicted:
        """Return what the bundle, or a simple rung beside it, predicts now.

        Parameters
        ----------
        seconds : float
            Real seconds after which it is too late.

        Raises
        ------
        Withheld
            If there is no value, with the reason.
        """
        request = {"do": "predict", "recipe": recipe, "digest": digest, "rung": rung}
        process = self._of(recipe)
        if recipe in self._suspects and process is self._shared:
            async with self._alone:  # one suspect at a time: the next crash names the culprit
                answer = await self._ask_suspect(recipe, request, seconds)
        else:
            try:
                answer = await process.ask(request, seconds, lambda: self._isolate(recipe))
            except Withheld as error:
                if process is self._shared and error.reason == Reason.MODEL_CRASHED and not process.killed:
                    self._suspects.add(recipe)
                raise
        process.killed = False
        checked = _checked(answer)
        return Predicted(checked["value"], checked["time"], checked["close"], checked["scale"])

    async def losses(
        self, recipe: str, at: str, values: Mapping[str, float], method: str, seconds: float
    ) -> dict[str, float]:
        """Return log10 losses of ``values`` by the recipe's own bars; see ``Predictor.losses``. Raises as above."""
        request = {"do": "losses", "recipe": recipe, "at": at, "values": dict(values), "method": method}
        answer = await self._of(recipe).ask(request, seconds, lambda: self._isolate(recipe))
        found: dict[str, float] = _checked(answer)["losses"]
        return found

    async def _ask_suspect(self, recipe: str, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        restarts = self._shared.restarts
        try:
            answer = await self._shared.ask(request, seconds, lambda: self._isolate(recipe))
        except Withheld:
            if self._shared.restarts > restarts:
                self._isolate(recipe)
            raise
        self._suspects.discard(recipe)
        return answer

    async def close(self) -> None:
        """End every process."""
        await asyncio.gather(*(process.close() for process in (self._shared, *self._own.values())))

    def _of(self, recipe: str) -> _Process:
        return self._own.get(recipe, self._shared)

    def _isolate(self, recipe: str) -> None:
        others = {key[0] for key in self._shared.loads} - {recipe}
        if recipe in self._own or not others or len(self._own) >= _MOST_OWN:
            return
        _LOG.warning("%s gets a process of its own", recipe)
        own = _Process(self._settings)
        for key in [key for key in self._shared.loads if key[0] == recipe]:
            own.loads[key] = self._shared.loads.pop(key)
        self._own[recipe] = own
        self._suspects.discard(recipe)


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise Withheld(answer["reason"], answer["error"])
    return answer
