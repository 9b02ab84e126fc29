"""Localnet as a process: topics from recipes, blocks by the clock, state saved at the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from crucible.clock import Clock
from crucible.duration import format_duration
from crucible.errors import ProcessError, SettingsError
from crucible.localnet.core import Core
from crucible.localnet.house import Cast, House
from crucible.localnet.http import FAUCET_GRANT
from crucible.localnet.keys import GENESIS_VALIDATOR
from crucible.localnet.node import Node
from crucible.localnet.state import restore
from crucible.localnet.topic import TopicSpec
from crucible.process import write_json
from crucible.recipe import Recipe
from crucible.topics.catalogue import Network

ENDPOINTS_FILE = "endpoints.json"
"""In the state's folder while localnet runs."""

_FEWEST_BLOCKS = 12  # of an epoch, on the real chain


@dataclass(frozen=True)
class LocalnetPlan:
    """How to run a localnet.

    ``block_time`` is in the clock's time; ``cast`` plays on every topic that has a market; the addresses in ``funded``
    are given an allo when they have less.
    """

    chain_id: str
    topics: Sequence[TopicSpec]
    block_time: timedelta
    clock: Clock
    exchange_url: str
    folder: Path | None
    cast: Cast
    seed: int
    grpc_port: int = 0
    http_port: int = 0
    funded: Sequence[str] = ()


def topic_of(recipe: Recipe, network: Network, block_time: timedelta) -> TopicSpec:
    """Return the topic that ``recipe`` answers, in blocks of ``block_time``.

    Raises
    ------
    SettingsError
        If the cadence is no whole number of blocks, or less than twelve of them.
    """
    topic = recipe.topic
    if topic.cadence % block_time or topic.cadence // block_time < _FEWEST_BLOCKS:
        raise SettingsError(
            f"The cadence of {recipe.name}, {format_duration(topic.cadence)}, must be at least {_FEWEST_BLOCKS} whole "
            f"blocks of {format_duration(block_time)}; choose another --block-time."
        )
    epoch = topic.cadence // block_time
    lag = -(-topic.horizon // topic.cadence) * epoch
    return TopicSpec(
        id=recipe.topic_id(network),
        metadata=f"{recipe.name}: {topic.asset} {topic.target}, {format_duration(topic.horizon)}",
        loss_method=topic.loss,
        asset=topic.asset,
        target=topic.target,
        symbol=recipe.data.symbol,
        interval_seconds=int(recipe.data.stored.total_seconds()),
        horizon_seconds=int(topic.horizon.total_seconds()),
        cadence_seconds=int(topic.cadence.total_seconds()),
        epoch_length=epoch,
        ground_truth_lag=lag,
        worker_window=max(1, epoch * 2 // 3),
    )


def run(plan: LocalnetPlan, ready_file: Path | None, announce: Callable[[dict[str, str]], None]) -> None:
    """Serve until SIGINT or SIGTERM, then save the state.

    Parameters
    ----------
    plan : LocalnetPlan
        What to serve.
    ready_file : Path, optional
        Written once everything listens: the endpoints, ``chain_id``, ``height``, ``topics``.
    announce : callable
        Told the endpoints.

    Raises
    ------
    ProcessError
        If a port is in use, or the block maker fails.
    StoreError
        If the saved state is damaged.
    """
    asyncio.run(_run(plan, ready_file, announce))


async def _run(plan: LocalnetPlan, ready_file: Path | None, announce: Callable[[dict[str, str]], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    core = (restore(plan.folder) if plan.folder else None) or Core(plan.chain_id)
    if core.chain_id != plan.chain_id:
        raise SettingsError(f"{plan.folder} holds chain {core.chain_id}, not {plan.chain_id}.")
    for spec in plan.topics:
        core.add_topic(spec)
    core.add_validator(GENESIS_VALIDATOR)
    for address in plan.funded:
        account = core.ledger.accounts.get(address)
        if account is None or account.balance < FAUCET_GRANT:
            core.fund(address, FAUCET_GRANT)
    async with AsyncExitStack() as stack:
        node = Node(core, plan.clock, plan.block_time.total_seconds(), plan.grpc_port, plan.http_port, plan.folder)
        await stack.enter_async_context(node)
        if plan.exchange_url and plan.cast.competitors:
            house = await stack.enter_async_context(House(core, plan.exchange_url, plan.cast, plan.seed))
            node.after_block.append(house.after_block)
        described = {"chain_id": core.chain_id, "height": core.height, "topics": sorted(core.topics)}
        if ready_file:
            write_json(ready_file, {**node.endpoints, **described})
        if plan.folder:
            stack.callback((plan.folder / ENDPOINTS_FILE).unlink, missing_ok=True)
            write_json(plan.folder / ENDPOINTS_FILE, node.endpoints)
        announce(node.endpoints)
        blocks = asyncio.create_task(node.run())
        await asyncio.wait({blocks, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if blocks.done():
            raise ProcessError(f"Localnet stopped making blocks: {blocks.exception()!r}") from blocks.exception()
        blocks.cancel()
        await asyncio.gather(blocks, return_exceptions=True)
