"""Wake-up by websocket: a hint that a window opened. The truth is always asked of the node."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import websockets

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_OF_REWARDS = ("topic_id", "block_height", "addresses", "rewards")
_SUBSCRIPTIONS = 5  # per connection: CometBFT's default


class Waker:
    """Sets an event whenever a submission window of its topic opens; reconnects for ever, to one URL after another.

    A lost connection, a refused subscription or a missed event costs only time: whoever waits also polls.

    Parameters
    ----------
    websocket_urls : str
        One URL, or several separated by commas.
    heed : callable, optional
        Handed the text of every message, for what else is in it; see :func:`settled_in`.
    """

    def __init__(self, websocket_urls: str, heed: Callable[[str | bytes], None] | None = None) -> None:
        self._heed = heed
        self._urls = [url.strip() for url in websocket_urls.split(",") if url.strip()]
        self._groups: list[_Group] = []

    def add(self, topic_id: int, wake: asyncio.Event, *, reputer: bool = False) -> None:
        """Begin to wake ``wake`` for a topic's worker windows, or its reputer windows."""
        if not self._urls:
            return
        group = next((group for group in self._groups if len(group.events) < _SUBSCRIPTIONS), None)
        if group is None:
            group = _Group()
            self._groups.append(group)
        group.events[_query(topic_id, reputer)] = wake
        group.restart(self._urls, self._heed)

    def remove(self, wake: asyncio.Event) -> None:
        """Stop waking ``wake``."""
        for group in self._groups:
            group.events = {query: event for query, event in group.events.items() if event is not wake}
            if not group.events:
                group.stop()
        self._groups = [group for group in self._groups if group.events]

    async def close(self) -> None:
        """Close every connection."""
        tasks = [task for group in self._groups if (task := group.stop())]
        self._groups = []
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class _Group:
    """The subscriptions of one connection."""

    events: dict[str, asyncio.Event] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None

    def restart(self, urls: list[str], heed: Callable[[str | bytes], None] | None) -> None:
        self.stop()
        self.task = asyncio.create_task(_follow(urls, dict(self.events), heed))

    def stop(self) -> asyncio.Task[None] | None:
        if self.task is not None:
            self.task.cancel()
        return self.task


async def wake_on_window(websocket_url: str, topic_id: int, wake: asyncio.Event) -> None:
    """Set ``wake`` whenever a worker window of the topic opens, until cancelled; see :class:`Waker`."""
    await _follow([websocket_url], {_query(topic_id, False): wake})


def woken(text: str | bytes, queries: list[str]) -> tuple[list[str], str]:
    """Return the queries that a message of the node is about, all of them if it does not say, and its complaint.

    Raises
    ------
    ValueError
        If it is no JSON.
    """
    try:
        message = json.loads(text)
    except RecursionError:
        raise ValueError("the message is nested too deeply") from None
    if not isinstance(message, dict):
        return queries, ""
    if "error" in message:
        return [], str(message["error"])[:200]
    named = str(message.get("id", ""))
    known = dict(zip(map(str, range(len(queries))), queries, strict=True))
    return [known[named]] if named in known else queries, ""


@dataclass(frozen=True)
class Settled:
    """What an epoch has paid: the topic's id as text, the epoch's nonce (0 if the message does not say), uallo."""

    topic: str
    nonce: int
    uallo: float


def settled_in(text: str | bytes, address: str) -> list[Settled]:
    """Return what a block has paid ``address``, if a message tells; nonsense tells of nothing.

    The block at whose end an epoch is rewarded also opens the topic's next window, so that the subscription for windows
    brings these events too.
    """
    found: list[Settled] = []
    try:
        for event in json.loads(text)["result"]["data"]["value"]["events"]:
            if not event["type"].endswith(".EventRewardsSettled"):
                continue
            # others are no JSON: `mode` is EndBlock, as it stands
            told = {item["key"]: item["value"] for item in event["attributes"] if item["key"] in _OF_REWARDS}
            values = {key: json.loads(value) for key, value in told.items()}
            nonce = int(values.get("block_height", 0))
            for one, reward in zip(values["addresses"], values["rewards"], strict=True):
                amount = float(reward)
                if one == address and math.isfinite(amount):
                    found.append(Settled(str(values["topic_id"]), nonce, amount))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError):
        return found
    return found


def rewards_in(text: str | bytes, address: str) -> dict[str, float]:
    """Return by topic what a block has paid ``address``, uallo; see :func:`settled_in`."""
    found: dict[str, float] = {}
    for item in settled_in(text, address):
        found[item.topic] = found.get(item.topic, 0.0) + item.uallo
    return found


async def _follow(
    urls: list[str], events: dict[str, asyncio.Event], heed: Callable[[str | bytes], None] | None = None
) -> None:
    queries, pause, turn = list(events), _FIRST_PAUSE, 0
    while True:
        url = urls[turn % len(urls)]
        try:
            async with websockets.connect(url, open_timeout=5, close_timeout=1, max_size=2**24) as socket:
                for position, query in enumerate(queries):
                    call = {"jsonrpc": "2.0", "method": "subscribe", "id": str(position), "params": {"query": query}}
                    await socket.send(json.dumps(call))
                async for text in socket:
                    about, complaint = woken(text, queries)
                    if complaint:
                        _LOG.warning("the node refused the subscription: %s", complaint)
                        break
                    pause = _FIRST_PAUSE
                    for query in about:
                        events[query].set()
                    if heed is not None:
                        heed(text)
        except (OSError, TimeoutError, ValueError, websockets.WebSocketException) as error:
            _LOG.warning("websocket %s lost (%s); polling goes on", url, error or type(error).__name__)
        turn += 1
        if turn % len(urls) == 0:  # every one of them was tried
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def _query(topic_id: int, reputer: bool) -> str:
    event = f"emissions.v10.Event{'Reputer' if reputer else 'Worker'}SubmissionWindowOpened"
    return f"tm.event='NewBlockEvents' AND {event}.topic_id = '\"{topic_id}\"'"
