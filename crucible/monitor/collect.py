"""Collects what is live: submissions from the journal, truth from the bars, scores from the chain, into the store."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from crucible.bar_stages import bar_store
from crucible.errors import BundleError, ChainError, NodeUnreachable
from crucible.models.bundle import verify_bundle
from crucible.monitor.store import SHADOW, WORKER, Forecast, Key, MonitorStore, monitor_store
from crucible.monitor.submissions import ACCEPTED, rewards_of, submissions_of
from crucible.monitor.truth import REGIMES, loss_of, outcomes, value_of
from crucible.recipe import Recipe
from crucible.settings import Settings
from crucible.worker.journal import Row

if TYPE_CHECKING:
    from crucible.chain.client import ChainClient

_LOG = logging.getLogger(__name__)
_ASKED = 200  # forecasts per look: after a long absence the newest are asked first, the rest in later looks
_OPEN_EPOCHS = 2000  # what the chain does not say after so many epochs it will never say
_JUDGED = timedelta(days=120)  # bars that are repaired later than this judge nothing any more
_OWN = ("score", "rank", "reward")  # what is asked of a submission, and not of a shadow
_ASK = {"network": "network", "score": "score", "reward": "reward", "rank": "losses"}

Facts = list[tuple[Key, str, float]]


@dataclass(frozen=True)
class Collected:
    """How much was new."""

    forecasts: int
    facts: int


async def collect(settings: Settings, recipe: Recipe, client: ChainClient | None) -> Collected:
    """Bring the store up to date for ``recipe``; doing so twice changes nothing.

    Parameters
    ----------
    settings : Settings
        The home.
    recipe : Recipe
        Whose submissions and shadows.
    client : ChainClient, optional
        An open one. Without it, only the journal and the bars are read.

    Raises
    ------
    StoreError
        If the disk refuses, or a journal or the store is damaged.
    NodeUnreachable
        If the node does not answer; what the journal and the bars say is kept by then.
    """
    store, rows = monitor_store(settings), submissions_of(settings, recipe)
    fresh = store.add_forecasts(_submitted(settings, recipe, rows))
    facts = store.add_facts(settings.clock.now(), _scores(settings, recipe, rows))
    facts += _judge(settings, recipe, store)
    if client is not None:
        facts += await _ask(settings, recipe, store, client)
        facts += _judge(settings, recipe, store)  # the network's answer can be held against the truth now
    return Collected(fresh, facts)


def _submitted(settings: Settings, recipe: Recipe, rows: Sequence[Row]) -> Iterable[Forecast]:
    now, digests = settings.clock.now().isoformat(), _Digests(settings)
    for row in rows:
        # a value that an earlier journal sent, or that a fallback made, has no bundle, and is no work of a model's
        if row.state in ACCEPTED and row.value is not None and row.predicted_for and row.bundle:
            yield Forecast(
                chain_id=row.chain_id, topic_id=row.topic_id, nonce=row.nonce, source=WORKER, address=row.address,
                bundle=row.bundle, recipe=recipe.name, model_version=row.model_version or 0,
                feature_digest=digests.of(row.bundle), predicted_for=row.predicted_for, value=row.value,
                tx_hash=row.tx_hash or "", height=row.height or 0, recorded_at=now,
            )  # fmt: skip


def _scores(settings: Settings, recipe: Recipe, rows: Sequence[Row]) -> Facts:
    """Return the scores and rewards that the worker has written down."""
    rewards = rewards_of(settings, recipe)
    found: Facts = []
    for row in rows:
        if not row.bundle or row.value is None:
            continue
        key = Key(row.chain_id, row.topic_id, row.nonce, WORKER, row.address, row.bundle)
        facts = (("score", row.score), ("reward", rewards.get((row.address, row.nonce))))
        found += [(key, name, value) for name, value in facts if value is not None]
    return found


def _judge(settings: Settings, recipe: Recipe, store: MonitorStore) -> int:
    """Join with the truth what has none so far."""
    since = (settings.clock.now() - _JUDGED).isoformat()
    unjudged = store.unjudged(recipe.name, since=since)
    found = outcomes(bar_store(settings), recipe, {_time(row) for row, _ in unjudged})
    facts: Facts = []
    for row, network in unjudged:
        outcome = found.get(_time(row))
        if outcome is None:
            continue
        facts += [
            (row.key, "truth", value_of(recipe, outcome.close, outcome.log_return)),
            (row.key, "log_return", outcome.log_return),
            (row.key, "close", outcome.close),
            (row.key, "scale", outcome.scale),
            (row.key, "regime", REGIMES.index(outcome.regime)),
            (row.key, "loss", loss_of(recipe, outcome, row.value)),
            (row.key, "zero_loss", loss_of(recipe, outcome, value_of(recipe, outcome.close, 0.0))),
        ]
        if network is not None:
            facts.append((row.key, "network_loss", loss_of(recipe, outcome, network)))
    return store.add_facts(settings.clock.now(), facts)


async def _ask(settings: Settings, recipe: Recipe, store: MonitorStore, client: ChainClient) -> int:
    """Ask the chain what it knows of epochs whose truth is there; an answer that is missing is asked for again later.

    Clients differ in what they can be asked. What this one cannot, stays empty.
    """
    oldest = settings.clock.now() - recipe.topic.horizon - _OPEN_EPOCHS * recipe.topic.cadence
    known = store.facts(recipe.name, since=oldest.isoformat())
    asker = _Asker(client)
    rows = [
        row for row in store.forecasts(recipe.name, since=oldest.isoformat()) if "loss" in known.get(row.key, {})
    ]  # fmt: skip
    facts: Facts = []
    for row in [row for row in rows if asker.lacks(row, known[row.key])][-_ASKED:]:
        facts += await asker.facts(row, known[row.key])
    submitted = [row for row in rows if row.source == WORKER]
    if submitted and "score_ema" not in known[submitted[-1].key]:
        # the chain keeps only the newest average, so it is noted with the newest epoch
        ema = await asker.ask("score_ema", submitted[-1].topic_id, submitted[-1].address)
        facts += [(submitted[-1].key, "score_ema", float(ema))] if ema is not None else []
    for address in {row.address for row in submitted}:
        if (uallo := await asker.ask("balance", address)) is not None:
            store.add_balance(address, settings.clock.now(), uallo)
    return store.add_facts(settings.clock.now(), facts)


class _Asker:
    """Asks each thing once, and takes what the node does not know or this client cannot ask for nothing."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._answers: dict[tuple[Any, ...], Any] = {}

    def lacks(self, row: Forecast, has: dict[str, float]) -> bool:
        """Whether there is anything to ask about a forecast that this client can be asked."""
        names = {"network", *(_OWN if row.source == WORKER else ())} if row.nonce > 0 else set()
        return any(hasattr(self._client, _ASK[name]) for name in names - has.keys())

    async def facts(self, row: Forecast, has: dict[str, float]) -> Facts:
        epoch, found = (row.topic_id, row.nonce), []
        if row.nonce > 0 and "network" not in has and (network := await self.ask("network", *epoch)) is not None:
            found.append((row.key, "network", float(network.combined)))
        if row.source == SHADOW:
            return found
        for name in {"score", "reward"} - has.keys():
            value = await self.ask(name, *epoch, row.address)
            found += [(row.key, name, float(value))] if value is not None else []
        if "rank" not in has and (losses := await self.ask("losses", *epoch)) is not None:
            found += _rank(row, losses.inferers)
        return found

    async def ask(self, method: str, *arguments: Any) -> Any:
        if (method, *arguments) not in self._answers:
            self._answers[method, *arguments] = await self._ask(method, *arguments)
        return self._answers[method, *arguments]

    async def _ask(self, method: str, *arguments: Any) -> Any:
        ask: Callable[..., Awaitable[Any]] | None = getattr(self._client, method, None)
        if ask is None:
            return None
        try:
            return await ask(*arguments)
        except NodeUnreachable:
            raise
        except ChainError as error:
            _LOG.warning("%s%s: %s", method, arguments, error)
            return None


def _rank(row: Forecast, losses: dict[str, float]) -> Facts:
    """Rank by the network's own losses: 1 is the smallest of all inferers of that epoch."""
    mine = losses.get(row.address)
    if mine is None:
        return []
    return [(row.key, "rank", 1 + sum(other < mine for other in losses.values())), (row.key, "field", len(losses))]


def _time(row: Forecast) -> datetime:
    return datetime.fromisoformat(row.predicted_for)


class _Digests:
    """The features' digest of each bundle, read from its manifest once; empty where the bundle is gone."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[str, str] = {}

    def of(self, bundle: str) -> str:
        if bundle not in self._known:
            try:
                self._known[bundle] = verify_bundle(self._settings.bundles / bundle, bundle)[0].feature_digest
            except BundleError as error:
                _LOG.warning("the features of bundle %s are not known: %s", bundle[:12], error)
                self._known[bundle] = ""
        return self._known[bundle]
