"""The outside: exchange, node, websocket, topic list and faucet, each asked once, all at once, with a deadline."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from crucible.doctor.finding import Finding
from crucible.errors import CrucibleError
from crucible.recipe import load_recipe
from crucible.settings import Settings
from crucible.venue import split_source

DEADLINE = 3.0
"""Seconds for everything together; what has not answered by then does not answer."""

SKEW_SECONDS = 5.0
"""A clock that differs by more makes predictions from bars that have not closed."""

_MENDS = {
    "exchange": "$EDITOR RECIPE.toml  # put another exchange first in data.sources, or mend this machine's network",
    "node": "export CRUCIBLE_GRPC_URL=grpc+https://HOST:PORT  # another node, or mend this machine's network",
    "websocket": "export CRUCIBLE_WEBSOCKET_URL=wss://HOST/websocket  # another node, or mend this machine's network",
}

Check = Callable[[], list[Finding]]


def examine_wires(settings: Settings, deadline: float = DEADLINE) -> Iterator[Finding]:
    """Yield how the endpoints in ``settings`` answer, within ``deadline`` seconds, whatever hangs."""
    until = time.monotonic() + deadline
    checks: list[tuple[str, Check]] = [
        ("exchange", lambda: _exchange(settings, deadline)),
        ("node", lambda: [_node(settings, deadline)]),
        ("websocket", lambda: [_websocket(settings, deadline)]),
        ("topic list", lambda: [_topics(settings, deadline)]),
    ]
    if settings.faucet_url:
        checks.append(("faucet", lambda: [_faucet(settings, deadline)]))
    running = [(name, *_start(check)) for name, check in checks]
    for name, thread, found in running:
        thread.join(max(until - time.monotonic(), 0.0))
        # a name server that hangs holds its thread; nobody waits for it
        yield from list(found) or [_silent(name, f"It did not answer within {deadline:.0f} s")]


def _start(check: Check) -> tuple[threading.Thread, list[Finding]]:
    found: list[Finding] = []
    thread = threading.Thread(target=lambda: found.extend(check()), daemon=True)
    thread.start()
    return thread, found


def _silent(name: str, why: str) -> Finding:
    return Finding(name, "broken", f"{why.rstrip('.')}.", _MENDS.get(name, "crucible doctor --offline"))


def _exchange(settings: Settings, deadline: float) -> list[Finding]:
    from crucible.market.source import Retry, open_source

    name = "binance"
    for path in sorted(settings.recipes.glob("*.toml")):
        try:
            data = load_recipe(path).data
        except CrucibleError:
            continue  # told by the recipe's own finding
        name = split_source(data.sources[0], data.symbol)[0]
        break
    try:
        source = open_source(name, settings.exchange_url, settings.allora_key, Retry(attempts=1, timeout=deadline))
        before = settings.clock.now()
        theirs = source.now()
        ours = before + (settings.clock.now() - before) / 2
    except CrucibleError as error:
        return [
            _silent("exchange", str(error)),
            Finding("clock", "skipped", "Without an exchange there is no clock to compare."),
        ]
    where = settings.exchange_url or name
    skew = (ours - theirs).total_seconds()
    speed = 1.0 / max(settings.clock.wall_seconds(ours - before) / max((ours - before).total_seconds(), 1e-9), 1e-9)
    told = f"It is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the exchange's."
    clock = Finding("clock", "well", told)
    if abs(skew) > SKEW_SECONDS * max(speed, 1.0):
        clock = Finding("clock", "broken", told, "sudo timedatectl set-ntp true")
    return [Finding("exchange", "well", f"{where} answers."), clock]


def _node(settings: Settings, deadline: float) -> Finding:
    parts = urlsplit(settings.grpc_url.split(",")[0])
    # the client's libraries take two seconds to import, which is wasted where nobody listens
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=deadline):
            pass
        return asyncio.run(_ask_node(settings, deadline))
    except OSError as error:
        return _silent("node", f"{settings.grpc_url} cannot be reached: {error.strerror or error}")
    except CrucibleError as error:
        return _silent("node", str(error))


async def _ask_node(settings: Settings, deadline: float) -> Finding:
    from crucible.chain.client import ChainClient

    async with ChainClient(settings.grpc_url, deadline=deadline) as client:
        found = await client.chain_id()
    if found != settings.chain_id:
        sentence = f"{settings.grpc_url} is a node of {found}, not of {settings.chain_id}."
        return Finding("node", "broken", sentence, "unset CRUCIBLE_GRPC_URL, or say --network")
    return Finding("node", "well", f"{settings.grpc_url} answers for {found}.")


def _websocket(settings: Settings, deadline: float) -> Finding:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    try:
        with connect(settings.websocket_url.split(",")[0], open_timeout=deadline, close_timeout=0.5, proxy=None):
            pass
    except (OSError, TimeoutError, WebSocketException, ValueError) as error:
        return _silent("websocket", f"{settings.websocket_url} cannot be reached: {error}")
    return Finding("websocket", "well", f"{settings.websocket_url} answers.")


def _topics(settings: Settings, deadline: float) -> Finding:
    from crucible.topics.live import live_topics

    try:
        found = live_topics(
            settings.api_url, settings.network, settings.chain_id, key=settings.allora_key, deadline=deadline
        )
    except CrucibleError as error:
        # only `crucible topics --live` needs it
        return Finding("topic list", "warning", str(error), "crucible topics  # the catalogue needs no connection")
    return Finding("topic list", "well", f"{settings.api_url} lists {len(found)} topics.")


def _faucet(settings: Settings, deadline: float) -> Finding:
    parts = urlsplit(settings.faucet_url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=deadline):
            return Finding("faucet", "well", f"{settings.faucet_url} answers.")
    except OSError as error:
        why = f"{settings.faucet_url} cannot be reached: {error.strerror or error}."
        return Finding("faucet", "warning", why, "crucible wallet show NAME  # and fund that address by hand")
