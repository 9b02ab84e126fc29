"""The node's HTTP face: CometBFT's websocket, the faucet, and the topic-list API."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import WSMsgType, web

from crucible.localnet.core import Core
from crucible.localnet.events import Event, Query, index
from crucible.localnet.keys import is_address

FAUCET_GRANT = 10**18
"""One allo, in uallo."""

_LARGEST_SUBSCRIPTIONS = 5  # CometBFT's default per client


class HttpFace:
    """The aiohttp application over a :class:`Core`."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._sockets: dict[web.WebSocketResponse, dict[str, Query]] = {}
        self._outbox: list[tuple[web.WebSocketResponse, str]] = []
        core.listeners.append(self._queue)

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.router.add_get("/websocket", self._websocket)
        app.router.add_post("/api/request", self._faucet)
        app.router.add_get("/v2/allora/{network}/topics", self._topics)
        app.on_shutdown.append(self._close_sockets)
        return app

    async def flush(self) -> None:
        """Send what the last block queued; a socket that is gone or stuck is dropped."""
        outbox, self._outbox = self._outbox, []
        for socket, text in outbox:
            try:
                await socket.send_str(text)
            except (ConnectionError, RuntimeError):
                self._sockets.pop(socket, None)

    def _queue(self, height: int, events: list[Event]) -> None:
        if not events:
            return
        for socket, subscriptions in self._sockets.items():
            for id_, query in subscriptions.items():
                if query.matches(events):
                    self._outbox.append((socket, _envelope(id_, query.text, height, events)))

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=30)
        await socket.prepare(request)
        self._sockets[socket] = {}
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._answer(socket, message.data)
        finally:
            self._sockets.pop(socket, None)
        return socket

    async def _answer(self, socket: web.WebSocketResponse, text: str) -> None:
        try:
            call = json.loads(text)
            id_, method, query = call["id"], call["method"], call.get("params", {}).get("query", "")
        except (ValueError, KeyError, TypeError, AttributeError):
            await socket.send_str(_error("", -32700, "Parse error. Invalid JSON"))
            return
        subscriptions = self._sockets[socket]
        if method == "subscribe":
            try:
                parsed = Query(query)
            except ValueError as error:
                await socket.send_str(_error(id_, -32603, str(error)))
                return
            if len(subscriptions) >= _LARGEST_SUBSCRIPTIONS:
                await socket.send_str(_error(id_, -32603, "max_subscriptions_per_client 5 reached"))
                return
            # confirmed first: a client drops events of a subscription that it does not know to be active
            await socket.send_str(_result(id_))
            subscriptions[id_] = parsed
        elif method == "unsubscribe":
            for known in [known for known, item in subscriptions.items() if item.text == query]:
                del subscriptions[known]
            await socket.send_str(_result(id_))
        elif method in ("health", "status"):
            await socket.send_str(_result(id_))
        else:
            await socket.send_str(_error(id_, -32601, "Method not found"))

    async def _close_sockets(self, _: web.Application) -> None:
        for socket in list(self._sockets):
            await socket.close(code=1001, message=b"localnet stops")

    async def _faucet(self, request: web.Request) -> web.Response:
        form = await request.post()
        address = str(form.get("address", ""))
        if form.get("chain") != self.core.chain_id or not is_address(address):
            return web.json_response({"error": "a chain and an address of this network are needed"}, status=400)
        self.core.fund(address, FAUCET_GRANT)
        return web.json_response({"status": "ok", "amount": str(FAUCET_GRANT)})

    async def _topics(self, request: web.Request) -> web.Response:
        if request.match_info["network"] != self.core.chain_id:
            return web.json_response(
                {"request_id": "localnet", "status": False, "apiResponseMessage": "unknown network"}
            )
        rows = [
            {
                "topic_id": topic.spec.id,
                "topic_name": topic.spec.metadata,
                "epoch_length": topic.spec.epoch_length,
                "ground_truth_lag": topic.spec.ground_truth_lag,
                "loss_method": topic.spec.loss_method,
                "worker_submission_window": topic.spec.worker_window,
                "worker_count": len(topic.workers),
                "reputer_count": len(topic.reputers),
                "total_staked_allo": sum(topic.stakes.values()) / 1e18,
                "total_emissions_allo": 0.0,
                "is_active": True,
                "updated_at": str(self.core.time),
            }
            for topic in self.core.topics.values()
        ]
        data: dict[str, Any] = {"topics": rows, "continuation_token": None}
        return web.json_response({"request_id": "localnet", "status": True, "data": data})


def _result(id_: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": id_, "result": {}})


def _error(id_: Any, code: int, message: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": message, "data": ""}})


def _envelope(id_: str, query: str, height: int, events: list[Event]) -> str:
    value = {"height": str(height), "events": events, "num_txs": "0"}
    data = {"type": "tendermint/event/NewBlockEvents", "value": value}
    return json.dumps({"jsonrpc": "2.0", "id": id_, "result": {"query": query, "data": data, "events": index(events)}})
