"""The topic's contract: what the chain says of a topic, against what the recipe says and what was agreed at first.

Loss method, arity and cadence are in the recipe. Epoch length, lag and window are in blocks, of which a recipe knows
nothing, so that they are pinned when a recipe first sees its topic. A person accepts another contract with
``crucible monitor contract RECIPE --accept``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from crucible.duration import format_duration
from crucible.monitor.store import Event, MonitorStore, monitor_store
from crucible.monitor.submissions import newest_submissions_of
from crucible.recipe import Recipe
from crucible.settings import Settings
from crucible.worker.journal import Row

if TYPE_CHECKING:  # whoever only reads the outcome need not load the SDK
    from crucible.chain.client import ChainClient, TopicInfo

PINNED, CHECKED = "contract pinned", "contract checked"
"""Kinds of event."""

_TOLERANCE = 0.25  # block times vary by the hour; an epoch that is this much longer is another epoch
_EPOCHS = 12


@dataclass(frozen=True)
class Contract:
    """What the chain says of a topic; lengths in blocks, ``kind`` and ``arity`` in the chain's words, lower case."""

    topic_id: int
    loss_method: str
    epoch_length: int
    ground_truth_lag: int
    worker_window: int
    kind: str = "unspecified"
    arity: str = "unspecified"

    @classmethod
    def of(cls, topic: TopicInfo) -> Contract:
        """Return the contract in the chain's answer."""
        return cls(
            topic.id, topic.loss_method, topic.epoch_length, topic.ground_truth_lag, topic.worker_window,
            topic.kind, topic.arity,
        )  # fmt: skip


def breaks(recipe: Recipe, contract: Contract, pinned: Contract | None, journal: Sequence[Row] = ()) -> list[str]:
    """Return every way in which the topic is not what it should be, each in one sentence without its full stop.

    Parameters
    ----------
    recipe : Recipe
        Its loss, cadence and scalar answer.
    contract : Contract
        What the chain says now.
    pinned : Contract, optional
        What it said when the recipe first saw the topic.
    journal : sequence of Row
        The worker's submissions: how far apart epochs really are.
    """
    found = []
    if contract.loss_method != recipe.topic.loss:
        found.append(f"the loss method is {contract.loss_method}, the recipe says {recipe.topic.loss}")
    if contract.kind not in ("regression", "unspecified"):
        found.append(f"the topic is of the kind {contract.kind}, a recipe answers with a number")
    if contract.arity not in ("single", "unspecified"):
        found.append(f"the topic's arity is {contract.arity}, a recipe answers with one value")
    lengths = {"epoch length": "epoch_length", "ground-truth lag": "ground_truth_lag", "window": "worker_window"}
    for words, name in lengths.items():
        before, now = getattr(pinned, name, None), getattr(contract, name)
        if before is not None and before != now:
            found.append(f"the {words} was {before} blocks and is {now} now")
    if (took := _cadence(journal, contract.epoch_length)) is not None:
        wanted = recipe.topic.cadence
        if abs(took / wanted - 1) > _TOLERANCE:
            found.append(f"epochs come every {took.total_seconds():.0f} s, the recipe says {format_duration(wanted)}")
    return found


async def check_contract(settings: Settings, recipe: Recipe, client: ChainClient) -> list[str]:
    """Ask the chain about the topic, keep the outcome, and return what is broken; see :func:`breaks`.

    Raises
    ------
    ChainError
        If there is no such topic, or no answer; nothing is then kept.
    """
    store = monitor_store(settings)
    contract = Contract.of(await client.topic(recipe.topic_id(settings.network)))
    pinned = _pinned(store, settings, recipe)
    if pinned is None:
        _pin(store, settings, recipe, contract)
    found = breaks(recipe, contract, pinned, newest_submissions_of(settings, recipe, _EPOCHS))
    last = _last(store, settings, recipe)
    if last is None or list(last.detail["broken"]) != found:
        now = settings.clock.now().isoformat()
        detail = {"topic": _topic(settings, recipe), "broken": found, "contract": asdict(contract)}
        store.add_event(Event(f"{CHECKED}:{recipe.name}:{now}", now, CHECKED, recipe.name, detail))
    return found


async def accept_contract(settings: Settings, recipe: Recipe, client: ChainClient) -> list[str]:
    """Take what the chain says now for agreed, and return what is broken even so."""
    contract = Contract.of(await client.topic(recipe.topic_id(settings.network)))
    _pin(monitor_store(settings), settings, recipe, contract)
    return await check_contract(settings, recipe, client)


def broken_contract(settings: Settings, recipe: Recipe) -> str:
    """Return what the newest check found broken, joined; empty if nothing, or if there was none for this topic."""
    last = _last(monitor_store(settings), settings, recipe)
    return "; ".join(last.detail["broken"]) if last else ""


def _last(store: MonitorStore, settings: Settings, recipe: Recipe) -> Event | None:
    mine = _topic(settings, recipe)
    return next((e for e in reversed(store.events(CHECKED, recipe.name)) if e.detail["topic"] == mine), None)


def _pinned(store: MonitorStore, settings: Settings, recipe: Recipe) -> Contract | None:
    mine = _topic(settings, recipe)
    found = [event for event in store.events(PINNED, recipe.name) if event.detail["topic"] == mine]
    return Contract(**found[-1].detail["contract"]) if found else None


def _pin(store: MonitorStore, settings: Settings, recipe: Recipe, contract: Contract) -> None:
    now = settings.clock.now().isoformat()
    detail = {"topic": _topic(settings, recipe), "contract": asdict(contract)}
    store.add_event(Event(f"{PINNED}:{recipe.name}:{now}", now, PINNED, recipe.name, detail))


def _topic(settings: Settings, recipe: Recipe) -> str:
    """Return what identifies the question: another one has a contract of its own."""
    text = json.dumps([settings.chain_id, recipe.topic.model_dump(mode="json")], sort_keys=True)
    return sha256(text.encode()).hexdigest()[:16]


def _cadence(journal: Sequence[Row], epoch_length: int) -> timedelta | None:
    """Return the median time between neighbouring epochs, as the worker saw them; ``None`` from fewer than six."""
    rows = sorted({row.nonce: row.seen_at for row in journal}.items())
    gaps = [
        datetime.fromisoformat(later[1]) - datetime.fromisoformat(earlier[1])
        for earlier, later in pairwise(rows)
        if later[0] - earlier[0] == epoch_length
    ]
    return timedelta(seconds=median(gap.total_seconds() for gap in gaps)) if len(gaps) >= 6 else None
