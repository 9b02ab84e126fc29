"""House actors: competitors with simple strategies, and a reputer that reads the truth from the exchange."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
import numpy as np
from allora_sdk.rpc_client.dec_canonical import canonicalize_dec
from allora_sdk.rpc_client.protos.emissions import v3, v9
from allora_sdk.rpc_client.protos.emissions import v10 as e

from crucible.localnet.client import sign_bundle, submit
from crucible.localnet.core import Core
from crucible.localnet.keys import Key
from crucible.localnet.topic import Nonce, Topic, TopicSpec

_LOG = logging.getLogger(__name__)
_FUNDS = 10**21
_STAKE = 10**18
_SMALLEST_LOSS = 1e-18  # a perfect forecast has no logarithm
_BARS = 24

Strategy = Callable[[np.ndarray, np.random.Generator], float]


def _momentum(closes: np.ndarray, generator: np.random.Generator) -> float:
    return 0.1 * float(np.log(closes[-1] / closes[-4]))


def _reversal(closes: np.ndarray, generator: np.random.Generator) -> float:
    return -0.1 * float(np.log(closes[-1] / closes[-2]))


def _zero(closes: np.ndarray, generator: np.random.Generator) -> float:
    return 0.0


def _noise(closes: np.ndarray, generator: np.random.Generator) -> float:
    return float(generator.normal(0, np.diff(np.log(closes)).std()))


STRATEGIES: tuple[tuple[str, Strategy], ...] = (
    ("zero", _zero),
    ("momentum", _momentum),
    ("reversal", _reversal),
    ("noise", _noise),
)
"""Predicted log return from closes, oldest first; each competitor has one."""


@dataclass
class House:
    """Plays the house actors of every topic.

    Parameters
    ----------
    core : Core
        The chain that they transact on.
    exchange_url : str
        Base URL of an exchange with Binance's kline API.
    competitors : int
        How many competitors each topic has.
    seed : int
        Of keys and of the noisy competitor.
    """

    core: Core
    exchange_url: str
    competitors: int
    seed: int
    _done: set[tuple[str, int, int]] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._generator = np.random.default_rng(self.seed)
        self._reputer = Key.from_name("reputer", self.seed)
        self._workers = [
            (Key.from_name(f"competitor {number}", self.seed), STRATEGIES[number % len(STRATEGIES)][1])
            for number in range(self.competitors)
        ]

    async def __aenter__(self) -> House:
        """Fund everybody and open a connection to the exchange."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2))
        for key in [self._reputer, *(key for key, _ in self._workers)]:
            if key.address not in self.core.ledger.accounts:
                self.core.fund(key.address, _FUNDS)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drop what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    def after_block(self) -> None:
        """Let everybody act on the block that was just made; never blocks the chain."""
        for topic in list(self.core.topics.values()):
            self._join(topic)
            for height in topic.worker_nonces():
                if topic.worker_window_open(height, self.core.height + 1):
                    self._once("worker", topic, height, self._submit_inferences)
            for height in topic.reputer_nonces():
                if topic.reputer_window_open(height, self.core.height + 1):
                    self._once("reputer", topic, height, self._submit_losses)

    def _join(self, topic: Topic) -> None:
        joined = ("join", topic.spec.id, 0)
        if joined in self._done:
            return
        self._done.add(joined)
        for key, _ in self._workers:
            if key.address not in topic.workers:
                self._send(key, e.RegisterRequest(sender=key.address, topic_id=topic.spec.id, owner=key.address))
        reputer = self._reputer.address
        if reputer not in topic.reputers:
            request = e.RegisterRequest(sender=reputer, topic_id=topic.spec.id, owner=reputer, is_reputer=True)
            self._send(self._reputer, request)
        if not topic.stakes.get(reputer):
            self._send(self._reputer, e.AddStakeRequest(sender=reputer, topic_id=topic.spec.id, amount=str(_STAKE)))

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
            _LOG.warning("house %s of topic %d waits: %s", mark[0], mark[1], error or type(error).__name__)

    async def _submit_inferences(self, topic: Topic, nonce: Nonce) -> None:
        spec = topic.spec
        closes = await self._closes(spec, nonce.time, _BARS)
        for key, strategy in self._workers:
            predicted = strategy(closes, self._generator)
            value = closes[-1] * math.exp(predicted) if spec.target == "price" else predicted
            inference = e.InputInference(
                topic_id=spec.id,
                block_height=nonce.height,
                inferer=key.address,
                value="0",
                values=[e.InputLabeledValue(label="y", value=canonicalize_dec(float(value)))],
            )
            inner = e.InputInferenceForecastBundle(inference=inference)
            bundle = e.InputWorkerDataBundle(
                worker=key.address,
                nonce=v3.Nonce(block_height=nonce.height),
                topic_id=spec.id,
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

        def loss(value: float) -> str:
            found = max(loss_value(spec.loss_method, truth, value, scale), _SMALLEST_LOSS)
            return str(canonicalize_dec(math.log10(found)))

        assert nonce.combined is not None
        reputer = self._reputer.address
        bundle = v9.InputValueBundle(
            topic_id=spec.id,
            reputer_request_nonce=v3.ReputerRequestNonce(v3.Nonce(nonce.height)),
            reputer=reputer,
            combined_value=loss(nonce.combined),
            naive_value=loss(nonce.combined),
            inferer_values=[
                v9.InputWorkerAttributedValue(address, loss(float(value)))
                for address, value in sorted(nonce.inferences.items())
            ],
            one_out_inferer_values=[
                v9.InputWithheldWorkerAttributedValue(address, loss(value))
                for address, value in sorted(nonce.without.items())
            ],
        )
        wrapped = v9.InputReputerValueBundle(bundle, sign_bundle(self._reputer, bundle), self._reputer.public.hex())
        self._send(self._reputer, e.InsertReputerPayloadRequest(sender=reputer, reputer_value_bundle=wrapped))

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
