"""The worker process: one wallet, one topic, for months."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from crucible.chain.client import ChainClient, TopicInfo
from crucible.chain.faucet import ask_faucet
from crucible.chain.keystore import Keystore
from crucible.chain.transaction import FeePolicy, registration, sign, unsigned
from crucible.chain.wakeup import wake_on_window
from crucible.chain.wallet import Wallet
from crucible.clock import SystemClock
from crucible.errors import ChainError, CrucibleError, NodeUnreachable, ProcessError, WalletError
from crucible.market.source import open_source
from crucible.models.bundle import load_bundle
from crucible.settings import Settings
from crucible.worker.deployment import Actual, Deployment, journal_path, read_desired, write_actual
from crucible.worker.journal import Journal
from crucible.worker.predictor import Predictor
from crucible.worker.submitter import Submitter

_LOG = logging.getLogger(__name__)
_BEAT_SECONDS = 2.0
_LEAST_BALANCE = 10**12
_FUNDS_SECONDS = 30.0


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
            If nothing is deployed.
        CrucibleError
            If the start fails: wallet, bundle, node, funds or registration.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        try:
            await self._run()
        except CrucibleError as error:
            self._report(state="failed", message=str(error))
            raise
        self._report(state="stopped")

    def stop(self) -> None:
        """Stop within a second; whatever is under way is in the journal."""
        self._stop.set()
        self._wake.set()

    async def _run(self) -> None:
        desired = read_desired(self._settings, self._recipe)
        if desired is None:
            raise ProcessError(f"Nothing is deployed for {self._recipe}; promote a version, or run the job `deploy`.")
        self._report(message="loading the bundle")
        predictor = await self._load(desired)
        wallet = self._open_wallet(desired.wallet)
        self._report(address=wallet.address, message="connecting")
        async with ChainClient(self._settings.grpc_url) as client:
            topic = await self._introduce(client, wallet, desired.topic_id)
            journal = Journal(
                journal_path(self._settings, self._recipe), self._clock,
                chain_id=self._settings.chain_id, topic_id=topic.id, address=wallet.address,
            )  # fmt: skip
            with journal:
                submitter = Submitter(
                    client, wallet, journal, self._clock, topic=topic, chain_id=self._settings.chain_id,
                    block=predictor.bundle.manifest.recipe.topic.cadence / topic.epoch_length, fee=self._fee,
                )  # fmt: skip
                await self._serve(client, submitter, topic, _Serving(desired, predictor))

    async def _serve(self, client: ChainClient, submitter: Submitter, topic: TopicInfo, serving: _Serving) -> None:
        cadence = serving.predictor.bundle.manifest.recipe.topic.cadence
        pause = min(max(self._clock.wall_seconds(cadence) / 40, 0.2), 10.0)
        self._report_serving(serving, "serving")
        helpers = [
            asyncio.create_task(wake_on_window(self._settings.websocket_url, topic.id, self._wake)),
            asyncio.create_task(self._beat()),
        ]
        try:
            while not self._stop.is_set():
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
                    await asyncio.wait_for(self._wake.wait(), timeout=pause)
        finally:
            for task in helpers:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def _round(self, client: ChainClient, submitter: Submitter, topic: TopicInfo, serving: _Serving) -> None:
        for row in await submitter.settle():
            _LOG.info("nonce %d %s %s", row.nonce, row.state, row.reason or row.score or row.height or "")
        await self._follow_desired(serving)
        height = await client.height()
        for nonce in await client.open_nonces(topic.id):
            if nonce + topic.worker_window <= height or self._stop.is_set():
                continue
            if nonce <= self._actual.last_nonce:
                continue
            row = await submitter.handle(nonce, serving.predictor, serving.deployment.model_version)
            _LOG.info("nonce %d %s value %s", nonce, row.state, row.value)
            if row.state not in ("seen", "predicted"):
                self._report(last_nonce=nonce, message=f"nonce {nonce} {row.state}")

    async def _follow_desired(self, serving: _Serving) -> None:
        """Swap to a newly desired bundle, between epochs; one that cannot be loaded leaves the old one serving."""
        desired = read_desired(self._settings, self._recipe)
        if desired is None or desired.generation in (serving.deployment.generation, self._actual.refused_generation):
            return
        try:
            predictor = await self._load(desired, known=(serving.predictor, serving.previous))
        except CrucibleError as error:
            _LOG.error("generation %d refused: %s", desired.generation, error)
            self._report(refused_generation=desired.generation, message=str(error))
            return
        if predictor is not serving.predictor:
            serving.previous, serving.predictor = serving.predictor, predictor
        serving.deployment = desired
        self._report_serving(serving, f"swapped to generation {desired.generation}")

    async def _load(self, desired: Deployment, known: tuple[Predictor | None, ...] = ()) -> Predictor:
        for predictor in known:
            if predictor is not None and predictor.bundle.digest == desired.bundle:
                return predictor
        bundle = await asyncio.to_thread(load_bundle, Path(desired.bundle_path), desired.bundle)
        return Predictor(bundle, open_source(bundle.manifest.recipe.data.source, self._settings.exchange_url))

    def _open_wallet(self, name: str) -> Wallet:
        keystore = Keystore(self._settings.keystore)
        if name in keystore.names():
            return keystore.open(name)
        if self._settings.network != "testnet":
            raise WalletError(f"There is no wallet {name!r}; make it with `crucible wallet create {name}` and fund it.")
        wallet = keystore.create(name)
        _LOG.info("made wallet %s with address %s", name, wallet.address)
        return wallet

    async def _introduce(self, client: ChainClient, wallet: Wallet, topic_id: int) -> TopicInfo:
        found = await client.chain_id()
        if found != self._settings.chain_id:
            raise ChainError(f"The node at {client.url} is of chain {found}, not {self._settings.chain_id}.")
        topic = await client.topic(topic_id)
        if not await client.may_submit(topic_id, wallet.address):
            raise ChainError(f"The whitelist of topic {topic_id} does not let {wallet.address} submit.")
        await self._ensure_funds(client, wallet)
        if not await client.is_registered(topic_id, wallet.address):
            await self._register(client, wallet, topic_id)
        return topic

    async def _ensure_funds(self, client: ChainClient, wallet: Wallet) -> None:
        if await client.balance(wallet.address) >= _LEAST_BALANCE:
            return
        if self._settings.network != "testnet" or not self._settings.faucet_url:
            raise WalletError(f"{wallet.address} holds less than {_LEAST_BALANCE} uallo; fund it first.")
        self._report(message="asking the faucet")
        await ask_faucet(self._settings.faucet_url, self._settings.chain_id, wallet.address)
        for _ in range(int(_FUNDS_SECONDS / 0.2)):
            if await client.balance(wallet.address) >= _LEAST_BALANCE:
                return
            await asyncio.sleep(0.2)
        raise WalletError(f"The faucet's funds for {wallet.address} have not arrived after {_FUNDS_SECONDS:.0f} s.")

    async def _register(self, client: ChainClient, wallet: Wallet, topic_id: int) -> None:
        self._report(message=f"registering in topic {topic_id}")
        account = await client.account(wallet.address)
        if account is None:
            raise WalletError(f"Account {wallet.address} does not exist although it is funded; try again.")
        message = registration(wallet.address, topic_id)
        gas = int(await client.simulate(unsigned(message, wallet, account.sequence)) * 1.3)
        timeout = await client.height() + 20
        signed = sign(
            message, wallet, chain_id=self._settings.chain_id, number=account.number, sequence=account.sequence,
            gas=gas, fee=self._fee.amount(gas, await client.gas_price()), timeout_height=timeout,
        )  # fmt: skip
        await client.broadcast(signed.content, signed.hash)
        while (found := await client.find(signed.hash)) is None:
            if await client.height() > timeout:
                raise ChainError(f"The registration in topic {topic_id} was in no block; try again.")
            await asyncio.sleep(0.2)
        if found.code and not await client.is_registered(topic_id, wallet.address):
            raise ChainError(f"The chain refused the registration in topic {topic_id}: {found.log}")

    async def _beat(self) -> None:
        while True:
            self._report()
            await asyncio.sleep(_BEAT_SECONDS)

    def _report_serving(self, serving: _Serving, message: str) -> None:
        deployment = serving.deployment
        _LOG.info("%s: bundle %s, version %d", message, deployment.bundle[:12], deployment.model_version)
        self._report(
            state="ready", bundle=deployment.bundle, generation=deployment.generation,
            model_version=deployment.model_version, message=message,
        )  # fmt: skip

    def _report(self, **changes: object) -> None:
        now = SystemClock().now().timestamp()
        self._actual = replace(self._actual, beat=now, **changes)  # type: ignore[arg-type]
        write_actual(self._settings, self._actual)
