"""Binance's kline stream over a market: a websocket that tells each candle when the clock lets it close."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from crucible.clock import Clock
from crucible.practice.klines import KlineFeed
from crucible.practice.market import Market
from crucible.practice.stream_faults import StreamFaults

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS")
_HEARTBEAT = 20.0  # real seconds between pings, as the exchange has it
_GOODBYE = 0.2  # real seconds that clients get to answer the closing handshake at the end


class KlineStream:
    """Serves ``/stream?streams=btcusdt@kline_1m/…`` (wrapped messages) and ``/ws/btcusdt@kline_1m`` (raw ones).

    A connection hears of what closes after it subscribed: each candle once, in order of closing, however far the clock
    jumps; if it jumps over more than 1000 candles of a stream, only the newest 1000 are sent. A candle that the market
    lacks is not sent. Streams that do not exist are accepted and stay silent, as on the exchange.

    Parameters
    ----------
    market : Market
        What is traded.
    clock : Clock
        Decides what has closed; it is looked at, never waited for, so it may be scaled or moved by hand.
    faults : callable
        Returns what is to go wrong at the moment.
    served : collections.Counter
        ``served["stream"]`` counts connections.
    interval : float
        Real seconds between two looks at the clock.
    update : float
        Real seconds between two updates of an open candle (2 on the exchange); ``math.inf`` for none.
    """

    def __init__(
        self,
        market: Market,
        clock: Clock,
        faults: Callable[[], StreamFaults],
        served: Counter[str],
        interval: float = 0.02,
        update: float = 0.25,
    ) -> None:
        self.market = market
        self.clock = clock
        self.faults = faults
        self.served = served
        self.interval = interval
        self.update = update
        self._open: set[_Connection] = set()

    def attach(self, application: web.Application) -> None:
        """Add the two paths to ``application``, and the end of its connections to its shutdown."""
        for path in ("/stream", "/ws", "/ws/{streams:.+}"):
            application.router.add_get(path, self._serve)
        application.on_shutdown.append(self._close)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self.faults().refuse:
            raise web.HTTPServiceUnavailable
        names = request.match_info.get("streams", "") or request.query.get("streams", "")
        # before the handshake is answered, so that a client misses nothing that closes once it is connected
        connection = _Connection(self, request, names)
        self.served["stream"] += 1
        try:
            await connection.socket.prepare(request)
        except ConnectionResetError:
            raise web.HTTPBadRequest(reason="the client left while the connection was made") from None
        self._open.add(connection)
        try:
            await connection.serve()
        finally:
            self._open.discard(connection)
        return connection.socket

    async def _close(self, _: web.Application) -> None:
        connections = tuple(self._open)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await asyncio.gather(*(item.socket.close(code=WSCloseCode.GOING_AWAY) for item in connections))
        for connection in connections:
            connection.abort()  # those that do not read


@dataclass
class _Subscription:
    feed: KlineFeed
    due: float  # when the open candle is told next, in the loop's time
    held: list[dict[str, Any]] = field(default_factory=list)


class _Connection:
    """One websocket: a task follows the clock while the handler reads requests."""

    def __init__(self, stream: KlineStream, request: web.Request, names: str) -> None:
        # uncompressed messages go out in the order in which they are written
        self.socket = web.WebSocketResponse(heartbeat=_HEARTBEAT, timeout=_GOODBYE, compress=False)
        self._stream = stream
        self._request = request
        self._combined = request.path == "/stream"
        self._subscriptions: dict[str, _Subscription] = {}
        self._subscribe([name for name in names.split("/") if name])

    def abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    async def serve(self) -> None:
        follower = asyncio.create_task(self._follow())
        try:
            with suppress(ConnectionError):  # it broke while a request was answered
                async for message in self.socket:
                    if message.type is WSMsgType.TEXT:
                        reply = json.dumps(self._reply(message.data), separators=(",", ":"))
                        if not self._stream.faults().silent:
                            await self.socket.send_str(reply)
        finally:
            follower.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await follower

    async def _follow(self) -> None:
        try:
            while True:
                await self._look()
                await asyncio.sleep(self._stream.interval)
        except Exception:
            self.abort()  # so that the handler ends, and tells
            raise

    async def _look(self) -> None:
        faults, now_ms, at = self._stream.faults(), self._now_ms(), asyncio.get_running_loop().time()
        if faults.breaks():
            self.abort()
        late, closed, current = [], [], []
        for name, item in self._subscriptions.items():
            if item.held and not faults.reorder:
                late.append((name, item.held.pop()))
            closed += [(name, item, event) for event in item.feed.closed(now_ms)]
            if at >= item.due:
                item.due = at + self._stream.update
                current += [(name, event) for event in item.feed.current(now_ms)]
        closed.sort(key=lambda entry: entry[2]["k"]["T"])
        told = [(name, sent) for name, item, event in closed for sent in faults.closed(event, item.held)]
        for name, event in [*late, *told, *current]:
            await self._send(name, event)

    async def _send(self, name: str, event: dict[str, Any]) -> None:
        faults = self._stream.faults()
        # it may have been unsubscribed while others were sent
        if faults.silent or name not in self._subscriptions:
            return
        await self.socket.send_str(faults.text({"stream": name, "data": event} if self._combined else event))
        if faults.breaks():
            self.abort()

    def _reply(self, text: str) -> dict[str, Any]:
        try:
            request = json.loads(text)
        except ValueError:
            return {"error": {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}}
        request = request if isinstance(request, dict) else {}
        method, number, params = request.get("method"), request.get("id", False), request.get("params", [])
        if "method" not in request:
            fault = "missing field `method`"
        elif method not in _METHODS:
            fault = f"unknown variant `{method}`, expected one of `{'`, `'.join(_METHODS)}`"
        elif isinstance(number, bool) or not isinstance(number, int | str | None):
            fault = "request ID must be an unsigned integer"
        elif not isinstance(params, list) or not all(isinstance(name, str) for name in params):
            fault = "invalid type: expected a sequence of strings"
        elif method == "LIST_SUBSCRIPTIONS":
            return {"result": list(self._subscriptions), "id": number}
        else:
            if method == "SUBSCRIBE":
                self._subscribe(params)
            else:
                self._subscriptions = {name: item for name, item in self._subscriptions.items() if name not in params}
            return {"result": None, "id": number}
        return {"error": {"code": 2, "msg": f"Invalid request: {fault}"}, "id": request.get("id")}

    def _subscribe(self, names: list[str]) -> None:
        now_ms, due = self._now_ms(), asyncio.get_running_loop().time() + self._stream.update
        for name in names:
            self._subscriptions.setdefault(name, _Subscription(KlineFeed(self._stream.market, name, now_ms), due))

    def _now_ms(self) -> int:
        return (self._stream.clock.now() - _EPOCH) // timedelta(milliseconds=1)
