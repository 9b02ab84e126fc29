"""One deployment in a wallet's process: from its bundle to its submissions, epoch after epoch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta

from crucible.chain.account import Account
from crucible.chain.answers import TopicInfo
from crucible.chain.wakeup import Waker
from crucible.clock import SystemClock
from crucible.errors import BundleError, ChainError, CrucibleError, NodeUnreachable, ProcessError, StoreError, Withheld
from crucible.settings import Settings
from crucible.worker.deployment import Deployment, journal_path, read_desired, read_served, write_served
from crucible.worker.hindsight import Hindsight
from crucible.worker.introduction import ensure_stake, introduce
from crucible.worker.journal import Journal, Row
from crucible.worker.journal_file import link_recipe, wallet_journal
from crucible.worker.ladder import Ladder
from crucible.worker.lease import LeaseKeeper, lease_seconds
from crucible.worker.lock import hold
from crucible.worker.metrics import Metrics
from crucible.worker.pace import Pace
from crucible.worker.pool import Loaded, ModelPool
from crucible.worker.reasons import Reason
from crucible.worker.reporter import Reporter
from crucible.worker.roles.forecaster import Forecaster, ForecastModel
from crucible.worker.roles.inferer import Inferer
from crucible.worker.roles.reputer import Reputer
from crucible.worker.roles.role import Answer, Role
from crucible.worker.sanity import require_units
from crucible.worker.submitter import Submitter
from crucible.worker.watch import Watch

_LOG = logging.getLogger(__name__)
_DAY = 86_400.0
_LEASE_LOOK = 0.05  # seconds
_AGAIN, _LONGEST = 1.0, 3600.0  # seconds until the next look: after one that failed, and in any case


@dataclass
class Shared:
    """What all topics of a wallet's process have in common."""

    settings: Settings
    account: Account
    pool: ModelPool
    waker: Waker
    reporter: Reporter
    metrics: Metrics
    leases: LeaseKeeper
    forecast: ForecastModel | None = None


class TopicWorker:
    """Serves one deployment until :meth:`stop`.

    Parameters
    ----------
    shared : Shared
        The wallet's process.
    deployment : Deployment
        What to serve first; later generations are followed.
    """

    def __init__(self, shared: Shared, deployment: Deployment) -> None:
        self.recipe = deployment.recipe
        self.deployment = deployment
        self.fee = 0
        """What the newest submission offered, uallo."""
        self.epochs_per_day = 0.0
        """Submissions in a day of real time."""
        self._shared = shared
        self._desired = deployment
        self._role = _role_of(deployment, shared)
        self._clock = shared.settings.clock
        self._wake = asyncio.Event()
        self._stopping = False
        self._previous: Deployment | None = None
        self._last_nonce = 0
        self._wrong_units = ""

    def stop(self) -> None:
        """End with the present round."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Serve.

        Raises
        ------
        ProcessError
            If another process serves this recipe.
        CrucibleError
            If the start fails: bundle, node, funds or registration. Later only if the disk refuses.
        """
        settings, account = self._shared.settings, self._shared.account
        lock = journal_path(settings, self.recipe).parent / f"{self.recipe}.lock"
        with ExitStack() as stack:
            sentence = f"Another process serves {self.recipe} already; there may be one."
            stack.enter_context(hold(lock, sentence))
            path = wallet_journal(settings, self._desired.wallet)
            address = account.wallet.address
            journal = stack.enter_context(
                Journal(
                    path,
                    self._clock,
                    chain_id=settings.chain_id,
                    topic_id=self._desired.topic_id,
                    address=address,
                    role=self._desired.role,
                    recipe=self.recipe,
                )
            )
            link_recipe(path, self.recipe)
            self._report(address=address, message="loading the bundle, connecting")
            loading = asyncio.create_task(self._first())  # beside the introduction: neither needs the other
            try:
                stack.callback(self._shared.leases.release, [(self._desired.wallet, self._desired.topic_id)])
                await self._await_lease()
                topic = await introduce(
                    account, settings, self._desired.topic_id, role=self._desired.role,
                    report=lambda message: self._report(message=message),
                )  # fmt: skip
                self._serving = await loading
            finally:
                loading.cancel()
                await asyncio.gather(loading, return_exceptions=True)
            await self._serve(journal, topic)

    async def _await_lease(self) -> None:
        """Wait until this process may sign; until then it says that it stands by, and touches no chain."""
        settings, leases, wanted = self._shared.settings, self._shared.leases, self._desired
        epoch = self._clock.wall_seconds(timedelta(seconds=wanted.epoch_seconds))
        leases.want(wanted.wallet, wanted.topic_id, lease_seconds(epoch, shared=bool(settings.fleet_database)))
        while not self._may_sign():
            if self._shared.reporter.of(self.recipe).state != "standby":
                self._report(state="standby", message="another host holds the lease")
            await asyncio.sleep(_LEASE_LOOK)
        self._report(state="starting", message="connecting")

    def _may_sign(self, *_: object) -> bool:
        return self._shared.leases.may_sign(self._desired.wallet, self._desired.topic_id)

    async def _serve(self, journal: Journal, topic: TopicInfo) -> None:
        shared = self._shared
        block = timedelta(seconds=self._serving.cadence) / topic.epoch_length
        self._pace = Pace(self._clock.wall_seconds(block))
        submitter = Submitter(
            shared.account, journal, self._clock, topic=topic, block=block, role=self._role, may_sign=self._may_sign
        )
        self._submitter = submitter
        self.epochs_per_day = _DAY / max(self._clock.wall_seconds(timedelta(seconds=self._serving.cadence)), 1e-9)
        self._hindsight = Hindsight(shared.account.client, journal, self._role, shared.account.wallet.address)
        self._ladder = Ladder(
            shared.pool, shared.account.client, topic.id,
            lambda: self._pace.block * max(submitter.topic.worker_window - 1, 1),
        )  # fmt: skip
        self._watch = Watch(shared.metrics, shared.account, self.recipe, topic.id)
        self._judge_units(topic)
        self._report_serving("serving")
        shared.waker.add(topic.id, self._wake, reputer=isinstance(self._role, Reputer))
        await self._ladder.look()
        try:
            while not self._stopping:
                self._wake.clear()
                longest = _LONGEST
                try:
                    await self._round(submitter)
                except ChainError as error:
                    _LOG.log(logging.WARNING if isinstance(error, NodeUnreachable) else logging.ERROR, "%s", error)
                    self._report(message=str(error))
                    longest = _AGAIN
                pause = min(self._pace.pause(submitter.topic, self._last_nonce), submitter.patience(), longest)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), timeout=pause)
        finally:
            shared.waker.remove(self._wake)

    async def _round(self, submitter: Submitter) -> None:
        client = self._shared.account.client
        topic = submitter.topic
        nonces = await self._role.nonces(client, topic)
        height = await client.height()
        self._pace.note(height)
        submitter.block = timedelta(
            seconds=self._pace.block / max(self._clock.wall_seconds(timedelta(seconds=1)), 1e-9)
        )
        handled = False
        for nonce in nonces:
            first, last = self._role.window(topic, nonce)
            if nonce <= self._last_nonce or not first <= height + 1 or last <= height or self._stopping:
                continue
            self._watch.opened(nonce)
            row = await submitter.handle(nonce, self._ask, height)
            if row.state not in ("seen", "predicted"):
                _LOG.info("%s: nonce %d %s value %s", self.recipe, nonce, row.state, row.value)
                self._last_nonce, handled = nonce, True
                self._moved(row)
                self._report(last_nonce=nonce, message=f"nonce {nonce} {row.state}")
        for row in [*await submitter.settle(), *await self._hindsight.look(topic)]:
            words = row.reason or row.score or row.height or ""
            _LOG.info("%s: nonce %d %s %s", self.recipe, row.nonce, row.state, words)
            self._moved(row)
        await self._follow_desired()
        if handled:  # between epochs, when there is time
            await self._reread(submitter)

    def _moved(self, row: Row) -> None:
        self.fee = row.fee or self.fee
        if row.state == "included":
            self._report(accepted_at=SystemClock().now().timestamp())
        self._watch.moved(row, self._age(row.predicted_for), self._age(self._serving.trained))

    async def _ask(self, nonce: int, seconds: float) -> Answer:
        client, topic = self._shared.account.client, self._submitter.topic
        if isinstance(self._role, Forecaster):
            return await self._role.answer(client, topic, nonce)
        if isinstance(self._role, Reputer):
            return await self._role.answer(client, topic, nonce, seconds)
        if self._wrong_units:
            raise Withheld(Reason.MODEL_ABSURD, self._wrong_units)
        return await self._ladder.ask(seconds, self._serving, self._previous)

    async def _reread(self, submitter: Submitter) -> None:
        """Read the topic's contract again, and the network's newest inference."""
        await self._ladder.look()
        await self._watch.look()
        if isinstance(self._role, Reputer):
            await ensure_stake(self._shared.account, submitter.topic.id)
        found, known = await self._shared.account.client.topic(submitter.topic.id), submitter.topic
        if found == known:
            return
        changes = ", ".join(
            f"{name} {getattr(known, name)!r} -> {value!r}"
            for name, value in vars(found).items()
            if value != getattr(known, name)
        )
        words = f"topic {found.id} has changed on the chain: {changes}"
        if found.loss_method != known.loss_method:
            words += f"; the model was fitted for {self._serving.loss}: train anew"
        _LOG.warning("%s", words)
        self._shared.metrics.count("crucible_contract_changes_total", recipe=self.recipe)
        submitter.topic = found
        self._judge_units(found)
        self._report(message=words)

    def _judge_units(self, topic: TopicInfo) -> None:
        try:
            require_units(topic.metadata, self._serving.target)
            self._wrong_units = ""
        except Withheld as error:
            self._wrong_units = str(error)
            _LOG.error("%s", error)

    async def _first(self) -> Loaded:
        """Load what is desired, or else what was served last: a bundle that cannot be loaded costs no epoch."""
        desired = self._desired
        last = read_served(self._shared.settings, self.recipe)
        try:
            if last is not None and _place(last) == _place(desired) and last.bundle != desired.bundle:
                await self._remember(last)
            return await self._shared.pool.load(desired)
        except CrucibleError as error:
            self._refuse(desired, error)
            if last is None or _place(last) != _place(desired) or last.bundle == desired.bundle:
                raise BundleError(str(error)) from error
            _LOG.error("going back to generation %d, which was served last", last.generation)
            return await self._shared.pool.load(last)

    async def _remember(self, last: Deployment) -> None:
        try:
            await self._shared.pool.load(last)
            self._previous = last
        except CrucibleError as error:
            _LOG.info("what was served before cannot be loaded any more: %s", error)

    async def _follow_desired(self) -> None:
        """Swap to a newly desired bundle, between epochs; one that cannot be loaded leaves the old one serving."""
        serving, actual = self._serving.deployment, self._shared.reporter.of(self.recipe)
        try:
            desired = read_desired(self._shared.settings, self.recipe)
        except CrucibleError as error:
            if actual.message != str(error):
                _LOG.error("%s", error)
                self._report(message=str(error))
            return
        if desired is None or desired.generation in (serving.generation, actual.refused_generation):
            return
        if _place(desired) != _place(serving):
            return  # another wallet or topic is another deployment: whoever started this one ends it
        try:
            loaded = await self._shared.pool.load(desired)
        except StoreError:
            raise
        except CrucibleError as error:
            self._refuse(desired, error)
            return
        if desired.bundle != serving.bundle:
            self._previous = serving
        self._serving = loaded
        self._judge_units(self._submitter.topic)
        self._report_serving(f"swapped to generation {desired.generation}")

    def _age(self, instant: str | None) -> float | None:
        try:
            return (self._clock.now() - datetime.fromisoformat(instant or "")).total_seconds()
        except (ValueError, TypeError):  # a rung that looks at no bars, or a bundle without dates
            return None

    def _refuse(self, desired: Deployment, error: CrucibleError) -> None:
        _LOG.error("%s: generation %d refused: %s", self.recipe, desired.generation, error)
        self._report(refused_generation=desired.generation, refusal=str(error), message=str(error))

    def _report_serving(self, message: str) -> None:
        deployment = self._serving.deployment
        _LOG.info(
            "%s: %s: bundle %s, version %d", self.recipe, message, deployment.bundle[:12], deployment.model_version
        )
        write_served(self._shared.settings, deployment)
        self._report(
            state="ready", bundle=deployment.bundle, generation=deployment.generation,
            model_version=deployment.model_version, message=message,
        )  # fmt: skip

    def _report(self, **changes: object) -> None:
        self._shared.reporter.report(self.recipe, **changes)


def _role_of(deployment: Deployment, shared: Shared) -> Role:
    match deployment.role:
        case "inferer":
            return Inferer()
        case "reputer":
            return Reputer(shared.pool, deployment.recipe)
        case "forecaster" if shared.forecast is not None:
            return Forecaster(shared.forecast)
        case "forecaster":
            from crucible.worker.roles.network_forecaster import LearningForecast  # numpy, which no inferer needs here

            return Forecaster(LearningForecast())
        case other:
            raise ProcessError(f"{deployment.recipe} is deployed as {other!r}; there are inferer, forecaster, reputer.")


def _place(deployment: Deployment) -> tuple[str, int, str]:
    return deployment.wallet, deployment.topic_id, deployment.role
