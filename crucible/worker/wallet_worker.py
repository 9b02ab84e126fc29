"""The worker process: one wallet, any number of topics, for months."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass

from crucible.chain.account import Account
from crucible.chain.client import ChainClient
from crucible.chain.faucet import ask_faucet, keep_funded
from crucible.chain.fees import FeePolicy, parse_fee, runway_days
from crucible.chain.wakeup import Waker, rewards_in
from crucible.errors import CrucibleError, ProcessError, StoreError
from crucible.process import write_json
from crucible.settings import Settings
from crucible.worker.daemon_thread import in_daemon_thread
from crucible.worker.deployment import Deployment, desired_of, read_desired
from crucible.worker.fleet_database import open_database
from crucible.worker.host import host_id
from crucible.worker.introduction import LEAST_BALANCE, open_wallet
from crucible.worker.journal_file import wallet_journal
from crucible.worker.lease import LeaseKeeper
from crucible.worker.lock import hold
from crucible.worker.metrics import Metrics, MetricsServer
from crucible.worker.pool import ModelPool
from crucible.worker.reporter import Reporter
from crucible.worker.rewards import Rewards
from crucible.worker.roles.forecaster import ForecastModel
from crucible.worker.topic_worker import Shared, TopicWorker
from crucible.worker.wallet_pins import pin_wallet

_LOG = logging.getLogger(__name__)
_STOP_SECONDS = 0.7  # what is under way may still finish; after that it is abandoned, and the journal knows
_LOOK_SECONDS = 0.5
_BALANCE_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_LEAST_DAYS = 7.0


@dataclass
class _Task:
    """A deployment that is served, or will be tried again."""

    worker: TopicWorker
    task: asyncio.Task[None]
    pause: float = _FIRST_PAUSE
    again_at: float | None = None


class WalletWorker:
    """Runs until it is told to stop.

    Parameters
    ----------
    settings : Settings
        Folders and endpoints.
    wallet : str
        Every deployment of this wallet is served.
    recipe : str, optional
        Serve this one only, and end with what ends it.
    fee : FeePolicy, optional
        What may be paid; by default what the settings say.
    forecast : ForecastModel, optional
        What deployments with the role ``forecaster`` forecast with; the network room's forecaster by default.
    """

    def __init__(
        self,
        settings: Settings,
        wallet: str = "",
        *,
        recipe: str = "",
        fee: FeePolicy | None = None,
        forecast: ForecastModel | None = None,
    ) -> None:
        self._settings = settings
        self._wallet = wallet
        self._recipe = recipe
        self._fee = fee or parse_fee(settings.fee)
        self._forecast = forecast
        self._stop = asyncio.Event()
        self._tasks: dict[tuple[str, int, str], _Task] = {}
        self._reporter = Reporter(settings)
        self._told_runway = False

    async def run(self) -> None:
        """Serve until SIGINT or SIGTERM.

        Raises
        ------
        ProcessError
            If nothing is deployed for the recipe, or another process serves it, or this wallet.
        CrucibleError
            If the wallet cannot be opened; for a single recipe also if its start fails, or the disk refuses later.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        try:
            await self._until_stopped()
        except CrucibleError as error:
            # another process that serves this recipe reports for itself
            if self._recipe and not isinstance(error, ProcessError):
                self._reporter.report(self._recipe, state="failed", message=str(error))
                self._reporter.write()
            raise
        for item in self._tasks.values():
            self._reporter.report(item.worker.recipe, state="stopped", message="told to stop")
        self._reporter.write()

    def stop(self) -> None:
        """Stop within a second; whatever is under way is in the journal."""
        self._stop.set()
        for item in self._tasks.values():
            item.worker.stop()

    async def _until_stopped(self) -> None:
        only: Deployment | None = None
        if self._recipe:
            only = read_desired(self._settings, self._recipe)
            if only is None:
                raise ProcessError(
                    f"Nothing is deployed for {self._recipe}; promote a version, or run the job `deploy`."
                )
            self._wallet = only.wallet
        async with AsyncExitStack() as stack:
            if only is None:
                lock = self._settings.fleet / "journal" / f"wallet.{self._wallet}.lock"
                stack.enter_context(
                    hold(lock, f"Another process serves wallet {self._wallet} already; there may be one.")
                )
            pool = ModelPool(self._settings)
            stack.push_async_callback(pool.close)
            pool.start()  # it takes longer than everything below
            wallet = await in_daemon_thread(open_wallet, self._settings, self._wallet)
            database = open_database(self._settings)
            await in_daemon_thread(pin_wallet, database, self._wallet, wallet.address)
            holder = f"{host_id(self._settings)}/{self._wallet}"
            leases = stack.enter_context(LeaseKeeper(database, self._settings.chain_id, holder))
            client = await stack.enter_async_context(ChainClient(self._settings.grpc_url))
            metrics = Metrics()
            rewards = stack.enter_context(
                Rewards(wallet_journal(self._settings, self._wallet), self._settings.chain_id, wallet.address)
            )
            shared = Shared(
                self._settings,
                Account(client, wallet, self._settings.chain_id, self._fee),
                pool,
                Waker(self._settings.websocket_url, lambda text: self._heed(metrics, rewards, wallet.address, text)),
                self._reporter,
                metrics,
                leases,
                self._forecast,
            )
            stack.push_async_callback(shared.waker.close)
            server = await stack.enter_async_context(MetricsServer(metrics))
            write_json(self._settings.fleet / "metrics" / f"{self._recipe or self._wallet}.json", {"url": server.url})
            await self._with_company(shared, only)

    async def _with_company(self, shared: Shared, only: Deployment | None) -> None:
        stopping = asyncio.create_task(self._stop.wait())
        company = [asyncio.create_task(self._reporter.run()), asyncio.create_task(self._watch_balance(shared))]
        main = asyncio.create_task(self._one(shared, only) if only else self._all(shared))
        try:
            await asyncio.wait([stopping, main, *company], return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set():
                await asyncio.wait([main], timeout=_STOP_SECONDS)
        finally:
            tasks = [stopping, main, *company, *(item.task for item in self._tasks.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in (main, *company):
            if not task.cancelled():
                task.result()  # raises what ended it

    async def _one(self, shared: Shared, deployment: Deployment) -> None:
        worker = TopicWorker(shared, deployment)
        own = asyncio.current_task()
        assert own is not None
        self._tasks[_key(deployment)] = _Task(worker, own)
        await worker.run()

    async def _all(self, shared: Shared) -> None:
        told = ""
        while not self._stop.is_set():
            try:
                desired = {_key(item): item for item in desired_of(self._settings, self._wallet)}
                told = ""
            except CrucibleError as error:
                if told != str(error):
                    _LOG.error("%s", error)
                told = str(error)
                desired = {key: item.worker.deployment for key, item in self._tasks.items()}
            for key in set(self._tasks) - set(desired):
                await self._end(key)
            for key, deployment in desired.items():
                self._keep(shared, key, deployment)
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._stop.wait()
            except TimeoutError:
                continue
        if self._tasks:
            await asyncio.wait([item.task for item in self._tasks.values()])

    def _keep(self, shared: Shared, key: tuple[str, int, str], deployment: Deployment) -> None:
        item, now = self._tasks.get(key), asyncio.get_running_loop().time()
        if item is not None and not item.task.done():
            return
        pause = _FIRST_PAUSE
        if item is not None:
            if item.again_at is None:
                error = item.task.exception()
                words = str(error) if error else "it ended"
                if error is not None and not isinstance(error, CrucibleError):
                    _LOG.error("%s", words, exc_info=error)
                _LOG.error("%s: %s; trying again in %.0f s", deployment.recipe, words, item.pause)
                self._reporter.report(deployment.recipe, state="failed", message=words)
                item.again_at = now + item.pause
            if now < item.again_at:
                return
            pause = min(item.pause * 2, _LONGEST_PAUSE)
        try:
            worker = TopicWorker(shared, deployment)
        except CrucibleError as error:  # a role that this process cannot play
            if self._reporter.of(deployment.recipe).message != str(error):
                _LOG.error("%s", error)
                self._reporter.report(deployment.recipe, state="failed", message=str(error))
            return
        self._reporter.report(deployment.recipe, state="starting")
        self._tasks[key] = _Task(worker, asyncio.create_task(worker.run()), pause)

    async def _end(self, key: tuple[str, int, str]) -> None:
        item = self._tasks.pop(key)
        item.worker.stop()
        await asyncio.wait([item.task], timeout=_STOP_SECONDS)
        item.task.cancel()
        await asyncio.gather(item.task, return_exceptions=True)
        if all(recipe != key[0] for recipe, *_ in self._tasks):
            self._reporter.report(key[0], state="stopped", message="no longer wanted")
            await in_daemon_thread(self._reporter.write)
            self._reporter.forget(key[0])

    async def _watch_balance(self, shared: Shared) -> None:
        settings, account = self._settings, shared.account
        address = account.wallet.address

        async def ask() -> None:
            if settings.network == "testnet" and settings.faucet_url:
                await ask_faucet(settings.faucet_url, settings.chain_id, address)

        await asyncio.sleep(_LOOK_SECONDS)  # the first look is the introduction's
        await keep_funded(
            lambda: account.client.balance(address), ask, LEAST_BALANCE,
            look=_BALANCE_SECONDS, tell=lambda balance, _: self._tell_balance(shared, balance),
        )  # fmt: skip

    def _heed(self, metrics: Metrics, rewards: Rewards, address: str, text: str | bytes) -> None:
        paid: dict[int, float] = {}
        for settled in rewards_in(text, address):
            paid[settled.topic_id] = paid.get(settled.topic_id, 0.0) + settled.uallo
            try:
                rewards.note(settled)
            except StoreError as error:  # a figure for people; submissions do not depend on it
                _LOG.error("%s", error)
        for topic, uallo in paid.items():
            metrics.set("crucible_reward_uallo", uallo, topic=str(topic), wallet=self._wallet)

    def _tell_balance(self, shared: Shared, balance: int) -> None:
        metrics = shared.metrics
        metrics.set("crucible_endpoint_switches_total", shared.account.client.endpoints.switches, wallet=self._wallet)
        metrics.set("crucible_model_restarts_total", shared.pool.restarts, wallet=self._wallet)
        if balance < 0:
            return
        per_day = sum(item.worker.epochs_per_day for item in self._tasks.values())
        fee = max((item.worker.fee for item in self._tasks.values()), default=0)
        days = runway_days(balance, fee, per_day)
        metrics.set("crucible_balance_uallo", balance, wallet=self._wallet)
        metrics.set("crucible_runway_days", days, wallet=self._wallet)
        if days < _LEAST_DAYS and not self._told_runway:
            _LOG.warning("wallet %s has funds for %.1f more days; fund %s", self._wallet, days,
                         shared.account.wallet.address)  # fmt: skip
        self._told_runway = days < _LEAST_DAYS


def _key(deployment: Deployment) -> tuple[str, int, str]:
    return deployment.recipe, deployment.topic_id, deployment.role
