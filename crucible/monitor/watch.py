"""``crucible monitor run``: looks at everything every few seconds, tells what is wrong, and says that it lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from crucible.chain.client import ChainClient
from crucible.clock import Clock, SystemClock
from crucible.errors import ChainError, CrucibleError, NodeUnreachable
from crucible.monitor.alert_rules import LEAST_BALANCE
from crucible.monitor.alerts import AlertState, Message, evaluate, healthy, read_state, write_state
from crucible.monitor.champions import note_deployment
from crucible.monitor.contract import check_contract
from crucible.monitor.send import Sender, load_sender
from crucible.monitor.situation import deployed_recipes, observe
from crucible.monitor.store import monitor_store
from crucible.monitor.submissions import report_of
from crucible.process import write_json
from crucible.recipe import Recipe
from crucible.settings import Settings

_LOG = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Real time between two looks: a dead worker is told within a minute of it."""

_ASK_SECONDS = 60.0
_PING_SECONDS = 60.0
_BALANCE_EVERY = timedelta(minutes=30)
_CONTRACT_EVERY = timedelta(days=1)


class Watch:
    """The evaluation loop of one home.

    Parameters
    ----------
    settings : Settings
        The home.
    sender : Sender, optional
        Where alerts go; by default what the settings say.
    wall : Clock, optional
        By which it is reckoned how long something holds and how often it is told; real time by default, whatever the
        home's clock does.
    """

    def __init__(self, settings: Settings, sender: Sender | None = None, wall: Clock | None = None) -> None:
        self._settings = settings
        self._wall = wall or SystemClock()
        self._sender = sender or load_sender(settings)
        self._path = settings.data / "monitor" / "alerts.json"
        self._asked = self._pinged = -math.inf
        self._contracts: dict[str, datetime] = {}
        self._said = ""

    async def once(self) -> list[Message]:
        """Look once, tell what is due, and return what was told."""
        settings, now = self._settings, self._wall.now()
        if now.timestamp() - self._asked >= _ASK_SECONDS:
            self._asked = now.timestamp()
            await self._ask_chain()
        for recipe in deployed_recipes(settings):
            note_deployment(settings, recipe.name)
        before = read_state(self._path, settings.clock.now())
        state, due = evaluate(before, observe(settings, before.begun), now)
        told = []
        for message in due:
            _LOG.info("%s: %s", message.title, message.body.splitlines()[0])
            taken = await asyncio.to_thread(self._sender.send, message)
            if not taken or any(taken.values()):
                told.append(message)
            else:
                state = _again(state, before, message.key)
        write_state(self._path, state)
        if healthy(state) and now.timestamp() - self._pinged >= _PING_SECONDS:
            self._pinged = now.timestamp()
            await asyncio.to_thread(self._sender.ping)
        return told

    async def run(self, stop: asyncio.Event) -> None:
        """Look every few seconds until ``stop`` is set; trouble with one look is logged once and does not end it."""
        while not stop.is_set():
            try:
                await self.once()
                self._said = ""
            except CrucibleError as error:
                if self._said != str(error):
                    _LOG.error("%s", error)
                self._said = str(error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), timeout=LOOK_SECONDS)

    async def _ask_chain(self) -> None:
        """Note what the wallets hold, and check each topic's contract: at the start and then daily."""
        settings, store = self._settings, monitor_store(self._settings)
        recipes = deployed_recipes(settings)
        if not recipes:
            return
        now = settings.clock.now()
        addresses = {
            report.address for item in recipes if (report := report_of(settings, item.name)) and report.address
        }
        try:
            async with ChainClient(settings.grpc_url) as client:
                for address in sorted(addresses):
                    held = await client.balance(address)
                    known = store.balances(address, since=(now - _BALANCE_EVERY).isoformat())
                    if not known or (held < LEAST_BALANCE) != (known[-1][1] < LEAST_BALANCE):
                        store.add_balance(address, now, held)
                for recipe in recipes:
                    await self._check_contract(recipe, client, now)
        except ChainError as error:
            # workers that miss their windows because of it are told of by themselves
            _LOG.warning("%s", error)

    async def _check_contract(self, recipe: Recipe, client: ChainClient, now: datetime) -> None:
        checked = self._contracts.get(recipe.name)
        if checked is not None and now - checked < _CONTRACT_EVERY:
            return
        try:
            await check_contract(self._settings, recipe, client)
            self._contracts[recipe.name] = now
        except NodeUnreachable:
            raise  # nor would it answer for the others
        except CrucibleError as error:  # no such topic, or a journal that cannot be read
            _LOG.warning("the contract of %s cannot be checked: %s", recipe.name, error)


def run(settings: Settings, ready_file: Path | None = None) -> None:
    """Watch until SIGINT or SIGTERM.

    Parameters
    ----------
    settings : Settings
        The home.
    ready_file : pathlib.Path, optional
        Written once it watches.

    Raises
    ------
    SettingsError
        If an alert destination makes no sense.
    """
    asyncio.run(_run(settings, ready_file))


async def _run(settings: Settings, ready_file: Path | None) -> None:
    watch, stop, loop = Watch(settings), asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if ready_file:
        write_json(ready_file, {"home": str(settings.home)})
    await watch.run(stop)


def _again(state: AlertState, before: AlertState, key: str) -> AlertState:
    """Return ``state`` as if ``key`` had not been told: nobody took the message, so that it is due at the next look."""
    active = dict(state.active)
    if key in before.active:  # a recovery too: it is over only when somebody knows
        active[key] = before.active[key]
    elif key in active:
        active[key] = replace(active[key], told="")
    noticed = {name: at for name, at in state.noticed.items() if name != key or name in before.noticed}
    return replace(state, active=active, noticed=noticed, sent=state.sent[:-1])
