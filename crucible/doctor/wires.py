"""The outside: exchange, node, websocket, topic list and faucet, each asked once, all at once, with a deadline."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from crucible.doctor.finding import Finding
from crucible.errors import CrucibleError
from crucible.recipe import load_recipe
from crucible.settings import Settings
from crucible.venue import split_source

if TYPE_CHECKING:
    from crucible.market.source import Source

DEADLINE = 3.0
"""Seconds for each endpoint, all at once; what has not answered by then does not answer."""

_GRACE = 0.5  # so that a check can tell its own reason

SKEW_SECONDS = 5.0
"""A clock that differs by more makes predictions from bars that have not closed."""

_MENDS = {
    "exchange": "$EDITOR RECIPE.toml  # put another exchange first in data.sources, or mend this machine's network",
    "node": "export CRUCIBLE_GRPC_URL=grpc+https://HOST:PORT  # another node, or mend this machine's network",
    "websocket": "export CRUCIBLE_WEBSOCKET_URL=wss://HOST/websocket  # another node, or mend this machine's network",
}

Check = Callable[[], list[Finding]]


def examine_wires(settings: Settings, deadline: float = DEADLINE) -> Iterator[Finding]:
    """Yield how the endpoints in ``settings`` answer, each within ``deadline`` seconds, whatever hangs."""
    # what has to be imported is imported before the clock runs: a busy machine is not a silent exchange
    exchange, refused = _open_exchange(settings, deadline)
    import websockets.sync.client  # noqa: F401

    checks: list[tuple[str, Check]] = [
        ("node", lambda: [_reach_node(settings, deadline)]),
        ("websocket", lambda: [_websocket(settings, deadline)]),
        ("topic list", lambda: [_topics(settings, deadline)]),
    ]
    if exchange is not None:
        checks.insert(0, ("exchange", lambda: _exchange(settings, exchange)))
    if settings.faucet_url:
        checks.append(("faucet", lambda: [_faucet(settings, deadline)]))
    for name, found in _together(checks, deadline):
        if name != "node" or found[0].state != "well":
            yield from found
            continue
        # somebody listens, so the client's libraries are worth the two seconds that their import takes
        import crucible.chain.client  # noqa: F401

        for _, answered in _together([("node", lambda: [asyncio.run(_ask_node(settings, deadline))])], deadline):
            yield from answered
    yield from refused


def _together(checks: list[tuple[str, Check]], deadline: float) -> Iterator[tuple[str, list[Finding]]]:
    until = time.monotonic() + deadline + _GRACE
    running = [(name, *_start(name, check)) for name, check in checks]
    for name, thread, found in running:
        thread.join(max(until - time.monotonic(), 0.0))
        # a name server that hangs holds its thread; nobody waits for it
        yield name, list(found) or [_silent(name, f"It did not answer within {deadline:.0f} s")]


def _start(name: str, check: Check) -> tuple[threading.Thread, list[Finding]]:
    found: list[Finding] = []

    def run() -> None:
        try:
            found.extend(check())
        except CrucibleError as error:
            found.append(_silent(name, str(error)))
        except Exception as error:  # noqa: BLE001 -- a check that fails must not be told as an endpoint that is silent
            found.append(_silent(name, f"The check failed with {type(error).__name__}: {error}"))

    thread = threading.Thread(target=run, name=f"doctor-{name}", daemon=True)
    thread.start()
    return thread, found


def _silent(name: str, why: str) -> Finding:
    return Finding(name, "broken", f"{why.rstrip('.')}.", _MENDS.get(name, "crucible doctor --offline"))


def _open_exchange(settings: Settings, deadline: float) -> tuple[Source | None, list[Finding]]:
    """Return the first source of the first valid recipe, or why there is none."""
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
        retry = Retry(attempts=1, timeout=deadline)
        return open_source(name, settings.exchange_url, settings.allora_key, retry), []
    except CrucibleError as error:
        return None, [_silent("exchange", str(error))]


def _exchange(settings: Settings, source: Source) -> list[Finding]:
    try:
        begun, before = time.monotonic(), settings.clock.now()
        theirs = source.now()
        after, seconds = settings.clock.now(), time.monotonic() - begun
    except CrucibleError as error:
        without = Finding("clock", "skipped", "Without an exchange there is no clock to compare with.")
        return [_silent("exchange", str(error)), without]
    skew = (before + (after - before) / 2 - theirs).total_seconds()
    told = f"It is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the exchange's."
    # half of what asking took is not known; in a world that runs faster it is that much more of its seconds
    if abs(skew) > max(SKEW_SECONDS, (after - before).total_seconds() / 2 + SKEW_SECONDS):
        clock = Finding("clock", "broken", told, "sudo timedatectl set-ntp true")
    else:
        clock = Finding("clock", "well", told)
    where = settings.exchange_url or source.name
    return [Finding("exchange", "well", f"{where} answers after {seconds:.1f} s."), clock]


def _reach_node(settings: Settings, deadline: float) -> Finding:
    parts = urlsplit(settings.grpc_url.split(",")[0])
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=deadline):
            return Finding("node", "well", f"{settings.grpc_url} listens.")
    except OSError as error:
        return _silent("node", f"{settings.grpc_url} cannot be reached: {error.strerror or error}")


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
