"""The worker process: one wallet, one topic, for months."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import psutil

from crucible.chain.client import ChainClient, TopicInfo
from crucible.chain.transaction import FeePolicy
from crucible.chain.wakeup import wake_on_window
from crucible.chain.wallet import Wallet
from crucible.clock import SystemClock
from crucible.errors import BundleError, ChainError, CrucibleError, NodeUnreachable, ProcessError
from crucible.market.feed import HASTY, LiveFeed
from crucible.market.update import open_sources
from crucible.models.bundle import load_bundle
from crucible.recipe import DataSection
from crucible.settings import Settings
from crucible.worker.daemon_thread import in_daemon_thread
from crucible.worker.deployment import (
    BEAT_SECONDS,
    Actual,
    Deployment,
    journal_path,
    read_desired,
    read_served,
    write_actual,
    write_served,
)
from crucible.worker.fleet_database import open_database
from crucible.worker.host import host_id
from crucible.worker.introduction import introduce, open_wallet
from crucible.worker.journal import Journal
from crucible.worker.lease import LeaseKeeper, lease_seconds
from crucible.worker.lock import hold
from crucible.worker.predictor import Predictor, stored_warmup
from crucible.worker.submitter import Submitter
from crucible.worker.wallet_pins import pin_wallet
from crucible.worker.worker_process import process_key

_LOG = logging.getLogger(__name__)
_STOP_SECONDS = 0.7  # what is under way may still finish; after that it is abandoned, and the journal knows


@dataclass
class _Serving:
    """What is served at present; the previous one stays in memory for a roll-back."""

    deployment: Deployment
    predictor: Predictor
    previous: Predictor | None = None


class Worker:
    """Runs until it is told to stop.

    Parameters
    ----------
    settings : Settings
        Folders and endpoints.
    recipe : str
        Which deployment to serve.
    """

    def __init__(self, settings: Settings, recipe: str, *, fee: FeePolicy | None = None) -> None:
        self._settings = settings
        self._recipe = recipe
        self._clock = settings.clock
        self._fee = fee or FeePolicy()
        self._feeds: dict[tuple[object, ...], LiveFeed] = {}
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        process = psutil.Process(os.getpid())
        self._actual = Actual(
            recipe=recipe, pid=process.pid, started=process.create_time(), state="starting", bundle="", generation=0,
            model_version=0, refused_generation=0, address="", last_nonce=0, beat=0.0, message="",
        )  # fmt: skip

    async def run(self) -> None:
        """Serve the desired deployment until SIGINT or SIGTERM.

        Raises
        ------
        ProcessError
            If nothing is deployed, or another process serves this recipe.
        CrucibleError
            If the start fails: wallet, bundle, node, funds or registration. Later only if the disk refuses or the
            wallet runs dry: started anew by the fleet, the worker asks the faucet, or says what is missing.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        lock = journal_path(self._settings, self._recipe).with_suffix(".lock")
        with hold(lock, f"Another process serves {self._recipe} already; there may be one."):
            try:
                await self._until_stopped()
            except CrucibleError as error:
                self._report(state="failed", message=str(error))
                raise
            self._report(state="stopped", message="told to stop")

    def stop(self) -> None:
        """Stop within a second; whatever is under way is in the journal."""
        self._stop.set()
        self._wake.set()

    async def _until_stopped(self) -> None:
        stopping = asyncio.create_task(self._stop.wait())
        tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._beat())]
        try:
            await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set():
                await asyncio.wait(tasks[:1], timeout=_STOP_SECONDS)
        finally:
            for task in (stopping, *tasks):
                task.cancel()
            await asyncio.gather(stopping, *tasks, return_exceptions=True)
            for feed in self._feeds.values():
                feed.close()
        for task in tasks:
            if not task.cancelled():
                task.result()  # raises what ended it

    async def _run(self) -> None:
        desired = read_desired(self._settings, self._recipe)
        if desired is None:
            raise ProcessError(f"Nothing is deployed for {self._recipe}; promote a version, or run the job `deploy`.")
        self._report(message="loading the bundle")
        serving = await self._first(desired)
        wallet = open_wallet(self._settings, desired.wallet)
        self._report(address=wallet.address, message="connecting")
        database = open_database(self._settings)
        await in_daemon_thread(pin_wallet, database, desired.wallet, wallet.address)
        holder = f"{host_id(self._settings)}/{process_key(desired)}"
        with LeaseKeeper(database, self._settings.chain_id, holder) as leases:
            await self._await_lease(leases, desired)
            await self._connected(wallet, serving, desired, leases)

    async def _await_lease(self, leases: LeaseKeeper, desired: Deployment) -> None:
        """Wait until this process may sign; until then it says that it stands by, and touches no chain."""
        epoch = self._clock.wall_seconds(timedelta(seconds=desired.epoch_seconds))
        leases.want(desired.wallet, desired.topic_id, lease_seconds(epoch, shared=bool(self._settings.fleet_database)))
        while not leases.may_sign(desired.wallet, desired.topic_id):
            if self._actual.state != "standby":
                self._report(state="standby", message="another host holds the lease")
            await asyncio.sleep(0.05)
        self._report(state="starting", message="connecting")

    async def _connected(self, wallet: Wallet, serving: _Serving, desired: Deployment, leases: LeaseKeeper) -> None:
        async with ChainClient(self._settings.grpc_url) as client:
            topic = await introduce(
                client, wallet, self._settings, desired.topic_id,
                fee=self._fee, report=lambda message: self._report(message=message),
            )  # fmt: skip
            journal = Journal(
                journal_path(self._settings, self._recipe), self._clock,
                chain_id=self._settings.chain_id, topic_id=topic.id, address=wallet.address,
            )  # fmt: skip
            with journal:
                submitter = Submitter(
                    client, wallet, journal, self._clock, topic=topic, chain_id=self._settings.chain_id,
                    block=serving.predictor.bundle.manifest.recipe.topic.cadence / topic.epoch_length, fee=self._fee,
                    may_sign=lambda: leases.may_sign(desired.wallet, desired.topic_id),
                )  # fmt: skip
                await self._serve(client, submitter, topic, serving)

    async def _serve(self, client: ChainClient, submitter: Submitter, topic: TopicInfo, serving: _Serving) -> None:
        cadence = serving.predictor.bundle.manifest.recipe.topic.cadence
        pause = min(max(self._clock.wall_seconds(cadence) / 40, 0.2), 10.0)
        self._report_serving(serving, "serving")
        waker = asyncio.create_task(wake_on_window(self._settings.websocket_url, topic.id, self._wake))
        try:
            while not self._stop.is_set():
                if waker.done():
                    waker.result()  # it never ends by itself: raise what ended it
                self._wake.clear()
                try:
                    await self._round(client, submitter, topic, serving)
                except NodeUnreachable as error:
                    _LOG.warning("%s", error)
                    self._report(message=str(error))
                except ChainError as error:
                    _LOG.error("%s", error)
                    self._report(message=str(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), timeout=min(pause, submitter.patience()))
        finally:
            waker.cancel()
            await asyncio.gather(waker, return_exceptions=True)

    async def _round(self, client: ChainClient, submitter: Submitter, topic: TopicInfo, serving: _Serving) -> None:
        for row in await submitter.settle():
            _LOG.info("nonce %d %s %s", row.nonce, row.state, row.reason or row.score or row.height or "")
            if row.state == "included":
                self._report(accepted_at=SystemClock().now().timestamp())
        await self._follow_desired(serving)
        height = await client.height()
        for nonce in await client.open_nonces(topic.id):
            if nonce <= self._actual.last_nonce or nonce + topic.worker_window <= height or self._stop.is_set():
                continue
            row = await submitter.handle(nonce, serving.predictor, serving.deployment.model_version)
            if row.state not in ("seen", "predicted"):
                _LOG.info("nonce %d %s value %s", nonce, row.state, row.value)
                self._report(last_nonce=nonce, message=f"nonce {nonce} {row.state}")

    async def _first(self, desired: Deployment) -> _Serving:
        """Load what is desired, or else what was served last: a bundle that cannot be loaded costs no epoch."""
        try:
            return _Serving(desired, await self._load(desired))
        except CrucibleError as error:
            self._refuse(desired, error)
            last = read_served(self._settings, self._recipe)
            if last is None or _place(last) != _place(desired) or last.bundle == desired.bundle:
                raise
            _LOG.error("going back to generation %d, which was served last", last.generation)
            return _Serving(last, await self._load(last))

    async def _follow_desired(self, serving: _Serving) -> None:
        """Swap to a newly desired bundle, between epochs; one that cannot be loaded leaves the old one serving."""
        try:
            desired = read_desired(self._settings, self._recipe)
        except CrucibleError as error:
            if self._actual.message != str(error):
                _LOG.error("%s", error)
                self._report(message=str(error))
            return
        if desired is None or desired.generation in (serving.deployment.generation, self._actual.refused_generation):
            return
        if _place(desired) != _place(serving.deployment):
            return  # another wallet or topic is another process: the fleet ends this one
        try:
            predictor = await self._load(desired, known=(serving.predictor, serving.previous))
        except CrucibleError as error:
            self._refuse(desired, error)
            return
        if predictor is not serving.predictor:
            serving.previous, serving.predictor = serving.predictor, predictor
        serving.deployment = desired
        self._report_serving(serving, f"swapped to generation {desired.generation}")

    async def _load(self, desired: Deployment, known: tuple[Predictor | None, ...] = ()) -> Predictor:
        for predictor in known:
            if predictor is not None and predictor.bundle.digest == desired.bundle:
                return predictor
        bundle = await in_daemon_thread(load_bundle, Path(desired.bundle_path), desired.bundle)
        stated = bundle.manifest.recipe.topic_id(self._settings.network)
        if stated != desired.topic_id:
            raise BundleError(f"Bundle {bundle.digest[:12]} answers topic {stated}, not topic {desired.topic_id}.")
        recipe = bundle.manifest.recipe
        return Predictor(bundle, [self._feed(member, stored_warmup(recipe)) for member in recipe.data.members])

    def _feed(self, data: DataSection, capacity: int) -> LiveFeed:
        """Return the live bars of ``data``; bundles that read the same bars share one feed."""
        key = data.sources, data.symbol, data.stored
        if key not in self._feeds:
            settings = self._settings
            feed = LiveFeed(
                open_sources(data.sources, data.symbol, settings, HASTY), data.symbol, data.stored,
                capacity=capacity, clock=self._clock, stream_url=settings.exchange_url,
            )  # fmt: skip
            feed.start()
            self._feeds[key] = feed
        return self._feeds[key]

    async def _beat(self) -> None:
        while True:
            self._report()
            await asyncio.sleep(BEAT_SECONDS)

    def _refuse(self, desired: Deployment, error: CrucibleError) -> None:
        _LOG.error("generation %d refused: %s", desired.generation, error)
        self._report(refused_generation=desired.generation, refusal=str(error), message=str(error))

    def _report_serving(self, serving: _Serving, message: str) -> None:
        deployment = serving.deployment
        _LOG.info("%s: bundle %s, version %d", message, deployment.bundle[:12], deployment.model_version)
        write_served(self._settings, deployment)
        self._report(
            state="ready", bundle=deployment.bundle, generation=deployment.generation,
            model_version=deployment.model_version, message=message,
        )  # fmt: skip

    def _report(self, **changes: object) -> None:
        now = SystemClock().now().timestamp()
        self._actual = replace(self._actual, beat=now, **changes)  # type: ignore[arg-type]
        write_actual(self._settings, self._actual)


def _place(deployment: Deployment) -> tuple[str, int]:
    return deployment.wallet, deployment.topic_id
