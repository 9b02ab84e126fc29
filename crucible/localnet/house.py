"""House actors: competitors of given skill, forecasters, and reputers that read the truth from the exchange.

They transact as everybody does, with signed transactions through CheckTx.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
import numpy as np
from allora_sdk.rpc_client.protos.emissions import v3, v9
from allora_sdk.rpc_client.protos.emissions import v10 as e

from crucible.localnet import bundles
from crucible.localnet.client import sign_bundle, submit
from crucible.localnet.core import Core
from crucible.localnet.decimals import decimal_text
from crucible.localnet.house_skills import Competitor, Forecaster, competitors, forecasters
from crucible.localnet.keys import Key
from crucible.localnet.topic import Nonce, Topic, TopicSpec

_LOG = logging.getLogger(__name__)
_FUNDS = 10**21
_STAKE = 10**18
_SMALLEST_LOSS = 1e-18  # a perfect forecast has no logarithm
_BARS = 24


@dataclass(frozen=True)
class Cast:
    """How many house actors play on every topic."""

    competitors: int = 4
    forecasters: int = 0
    reputers: int = 1


@dataclass
class House:
    """Plays the house actors of every topic that has a market.

    Parameters
    ----------
    core : Core
        The chain that they transact on.
    exchange_url : str
        Base URL of an exchange with Binance's kline API.
    cast : Cast
        How many.
    seed : int
        Of keys and of noise. What an actor says depends on it, on the actor, the topic and the nonce only.
    """

    core: Core
    exchange_url: str
    cast: Cast
    seed: int
    _done: set[tuple[str, int, int]] = field(default_factory=set)
    _told: set[tuple[str, int, int]] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._workers: list[tuple[Key, Competitor]] = [
            (Key.from_name(f"competitor {number}", self.seed), skill)
            for number, skill in enumerate(competitors(self.cast.competitors))
        ]
        self._forecasters: list[tuple[Key, Forecaster]] = [
            (Key.from_name(f"forecaster {number}", self.seed), skill)
            for number, skill in enumerate(forecasters(self.cast.forecasters))
        ]
        names = ["reputer", *(f"reputer {number}" for number in range(1, self.cast.reputers))]
        self._reputers = [Key.from_name(name, self.seed) for name in names[: self.cast.reputers]]

    async def __aenter__(self) -> House:
        """Fund everybody and open a connection to the exchange."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2))
        workers = [key for key, _ in [*self._workers, *self._forecasters]]
        for key in [*self._reputers, *workers]:
            if key.address not in self.core.ledger.accounts:
                self.core.fund(key.address, _FUNDS)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drop what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    @property
    def busy(self) -> bool:
        """Whether somebody is still at work."""
        return bool(self._tasks)

    def after_block(self) -> None:
        """Let everybody act on the block that was just made; never blocks the chain."""
        for topic in list(self.core.topics.values()):
            if not topic.spec.symbol:
                continue
            self._join(topic)
            for height in topic.worker_nonces():
                if topic.worker_window_open(height, self.core.height + 1):
                    self._once("worker", topic, height, self._submit_inferences)
            for height in topic.reputer_nonces():
                # the window opens for the next block, whose time is later, and blocks that make up for a pause come
                # faster than bars: an open bar's close is no truth
                truth_known = self.core.time >= topic.nonces[height].time + topic.spec.horizon_seconds
                if truth_known and topic.reputer_window_open(height, self.core.height + 1):
                    self._once("reputer", topic, height, self._submit_losses)
            if topic.nonces:
                oldest = min(topic.nonces)
                for marks in (self._done, self._told):
                    marks -= {mark for mark in marks if mark[1] == topic.spec.id and 0 < mark[2] < oldest}

    def _join(self, topic: Topic) -> None:
        joined = ("join", topic.spec.id, 0)
        if joined in self._done:
            return
        self._done.add(joined)
        number = topic.spec.id
        for key in [key for key, _ in [*self._workers, *self._forecasters]]:
            if key.address not in topic.workers:
                self._send(key, e.RegisterRequest(sender=key.address, topic_id=number, owner=key.address))
        for key in self._reputers:
            if key.address not in topic.reputers:
                request = e.RegisterRequest(sender=key.address, topic_id=number, owner=key.address, is_reputer=True)
                self._send(key, request)
            if not topic.stakes.get(key.address):
                self._send(key, e.AddStakeRequest(sender=key.address, topic_id=number, amount=str(_STAKE)))

    def _once(self, role: str, topic: Topic, height: int, act: Callable[[Topic, Nonce], object]) -> None:
        mark = (role, topic.spec.id, height)
        if mark in self._done:
            return
        self._done.add(mark)
        task = asyncio.ensure_future(self._guarded(mark, act, topic, topic.nonces[height]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(
        self, mark: tuple[str, int, int], act: Callable[..., object], topic: Topic, nonce: Nonce
    ) -> None:
        try:
            await act(topic, nonce)  # type: ignore[misc]
        except (aiohttp.ClientError, TimeoutError, LookupError) as error:
            # a house actor that cannot see the market sits this out and tries again at the next block
            self._done.discard(mark)
            if mark not in self._told:  # once, and not with every block of an exchange's outage
                self._told.add(mark)
                _LOG.warning("house %s of topic %d waits: %s", mark[0], mark[1], str(error) or type(error).__name__)

    def _generator(self, topic: Topic, nonce: Nonce, place: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, topic.spec.id, nonce.height, place])

    async def _submit_inferences(self, topic: Topic, nonce: Nonce) -> None:
        spec = topic.spec
        closes = await self._closes(spec, nonce.time, _BARS)
        if not self.core.topics[spec.id].worker_window_open(nonce.height, self.core.height + 1):
            return  # the exchange took too long
        for place, (key, skill) in enumerate(self._workers):
            predicted = skill.predict(closes, self._generator(topic, nonce, place))
            value = closes[-1] * math.exp(predicted) if spec.target == "price" else predicted
            inference = e.InputInference(
                topic_id=spec.id,
                block_height=nonce.height,
                inferer=key.address,
                value="0",
                values=[e.InputLabeledValue(label="y", value=decimal_text(float(value)))],
            )
            self._send_payload(key, spec.id, nonce, e.InputInferenceForecastBundle(inference=inference))
        for place, (key, forecaster) in enumerate(self._forecasters, start=len(self._workers)):
            losses = forecaster.forecast(topic, self._generator(topic, nonce, place))
            if losses:
                forecast = e.InputForecast(
                    topic_id=spec.id,
                    block_height=nonce.height,
                    forecaster=key.address,
                    forecast_elements=[
                        e.InputForecastElement(inferer=name, value=decimal_text(loss)) for name, loss in losses.items()
                    ],
                )
                self._send_payload(key, spec.id, nonce, e.InputInferenceForecastBundle(forecast=forecast))

    def _send_payload(self, key: Key, topic_id: int, nonce: Nonce, inner: e.InputInferenceForecastBundle) -> None:
        bundle = e.InputWorkerDataBundle(
            worker=key.address,
            nonce=v3.Nonce(block_height=nonce.height),
            topic_id=topic_id,
            inference_forecasts_bundle=inner,
            inferences_forecasts_bundle_signature=sign_bundle(key, inner),
            pubkey=key.public.hex(),
        )
        self._send(key, e.InsertWorkerPayloadRequest(sender=key.address, worker_data_bundle=bundle))

    async def _submit_losses(self, topic: Topic, nonce: Nonce) -> None:
        spec = topic.spec
        later = await self._closes(spec, nonce.time + spec.horizon_seconds, 1)
        truth, scale = float(later[-1]), 1.0
        if spec.target == "log_return" or spec.loss_method in ("ztae", "zptae"):
            before = await self._closes(spec, nonce.time, 200)
            steps = max(1, spec.horizon_seconds // spec.interval_seconds)
            scale = float(np.diff(np.log(before)).std() * math.sqrt(steps)) or 1.0
            if spec.target == "log_return":
                truth = math.log(truth / before[-1])
            else:
                scale *= truth
        if not self.core.topics[spec.id].reputer_window_open(nonce.height, self.core.height + 1):
            return
        method = self.core.topics[spec.id].spec.loss_method  # read late: it may have changed since the window opened
        losses = {name: _log_loss(method, truth, value, scale) for name, value in nonce.network.items()}
        for key in self._reputers:
            bundle = bundles.write_losses(spec.id, nonce.height, key.address, losses)
            wrapped = v9.InputReputerValueBundle(bundle, sign_bundle(key, bundle), key.public.hex())
            self._send(key, e.InsertReputerPayloadRequest(sender=key.address, reputer_value_bundle=wrapped))

    def _send(self, key: Key, message: object) -> None:
        refused = submit(self.core, key, message)
        if refused:
            _LOG.warning("house transaction %s refused: %s", type(message).__name__, refused)

    async def _closes(self, spec: TopicSpec, time: float, count: int) -> np.ndarray:
        """Return closes of the ``count`` bars that close at or before ``time`` (Unix seconds), oldest first."""
        length = spec.interval_seconds * 1000
        last_open = int(time * 1000) // length * length - length
        parameters = {
            "symbol": spec.symbol,
            "interval": interval_name(spec.interval_seconds),
            "startTime": str(last_open - (count - 1) * length),
            "endTime": str(last_open),
            "limit": str(count),
        }
        async with self._session.get(f"{self.exchange_url}/api/v3/klines", params=parameters) as response:
            response.raise_for_status()
            rows = await response.json()
        if not rows or rows[-1][0] != last_open:
            raise LookupError(f"the bar that closes at {time:.0f} is not there")
        return np.array([float(row[4]) for row in rows])


def interval_name(seconds: int) -> str:
    """Return Binance's name of a bar length."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    raise LookupError(f"an exchange has no bars of {seconds} s")


def loss_value(method: str, truth: float, value: float, scale: float) -> float:
    """Return the topic's loss of one value; ``scale`` is the standard deviation that ztae and zptae need."""
    import allora_sdk.loss_methods as losses

    if method == "ztae":
        return float(losses.make_ztae_loss(std=scale)(truth, value))
    if method == "zptae":
        return float(losses.make_zptae_loss(std=scale)(truth, value))
    return float(losses.get_default_loss_fn(method)(truth, value))


def _log_loss(method: str, truth: float, value: float, scale: float) -> float:
    found = loss_value(method, truth, value, scale)
    # an absurd inference must not make the whole bundle unprintable
    return math.log10(min(max(found, _SMALLEST_LOSS), 1e300)) if found == found else 300.0
