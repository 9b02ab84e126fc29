"""CometBFT's websocket: JSON-RPC subscriptions to block events and to transactions."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import WSMsgType, web

from crucible.localnet.core import Core
from crucible.localnet.events import Event, Query, index
from crucible.localnet.mempool import TxResult

LARGEST_SUBSCRIPTIONS = 5
"""Per client: CometBFT's default."""

_LARGEST_CALL = 1_000_000


class WebsocketFace:
    """Speaks to every connected client."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._sockets: dict[web.WebSocketResponse, dict[Any, Query]] = {}
        self._outbox: list[tuple[web.WebSocketResponse, str]] = []
        self._held: list[tuple[web.WebSocketResponse, str]] = []
        self._drop = False
        core.listeners.append(self._queue)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Handle one client."""
        socket = web.WebSocketResponse(heartbeat=30, max_msg_size=_LARGEST_CALL)
        try:
            await socket.prepare(request)
        except ConnectionResetError:
            raise web.HTTPBadRequest(reason="the client left while the connection was made") from None
        self._sockets[socket] = {}
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._answer(socket, message.data)
        finally:
            self._sockets.pop(socket, None)
        return socket

    async def flush(self) -> None:
        """Send what the last block queued; a socket that is gone or stuck is dropped."""
        if self._drop:
            self._drop = False
            await self.close(1011, b"dropped")
        outbox, self._outbox = self._outbox, []
        for socket, text in outbox:
            try:
                await socket.send_str(text)
            except (ConnectionError, RuntimeError):
                self._sockets.pop(socket, None)

    async def close(self, code: int, words: bytes) -> None:
        """Close every connection."""
        for socket in list(self._sockets):
            self._sockets.pop(socket, None)
            await socket.close(code=code, message=words, drain=False)

    def _queue(self, height: int, events: list[Event]) -> None:
        messages = [text for result in self.core.included for text in self._matching("Tx", *_transaction(result))]
        if events:
            value = {"height": str(height), "events": events, "num_txs": str(len(self.core.included))}
            messages += self._matching("NewBlockEvents", index("NewBlockEvents", events), value)
        if not messages:
            return
        faults = self.core.faults
        if faults.take("ws-drop"):
            self._drop = True
        elif faults.take("ws-gap"):
            pass
        elif faults.take("ws-out-of-order"):
            self._held += messages
        else:
            twice = faults.take("ws-duplicate") is not None
            self._outbox += messages * 2 if twice else messages
            self._outbox += self._held
            self._held = []

    def _matching(
        self, kind: str, present: dict[str, list[str]], value: dict[str, Any]
    ) -> list[tuple[web.WebSocketResponse, str]]:
        data = {"type": f"tendermint/event/{kind}", "value": value}
        return [
            (socket, _reply(id_, {"query": query.text, "data": data, "events": present}))
            for socket, subscriptions in self._sockets.items()
            for id_, query in subscriptions.items()
            if query.matches(kind, present)
        ]

    async def _answer(self, socket: web.WebSocketResponse, text: str) -> None:
        try:
            call = json.loads(text)
            id_, method, params = call["id"], call["method"], call.get("params") or {}
            query = params.get("query", "")
            if not isinstance(id_, (str, int)) or not isinstance(query, str):
                raise TypeError(id_)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            await socket.send_str(_error("", -32700, "Parse error. Invalid JSON"))
            return
        subscriptions = self._sockets.get(socket, {})
        if method == "subscribe":
            try:
                parsed = Query(query)
            except ValueError as error:
                await socket.send_str(_error(id_, -32603, str(error)))
                return
            if len(subscriptions) >= LARGEST_SUBSCRIPTIONS:
                await socket.send_str(
                    _error(id_, -32603, f"max_subscriptions_per_client {LARGEST_SUBSCRIPTIONS} reached")
                )
                return
            # confirmed first: a client drops events of a subscription that it does not know to be active
            await socket.send_str(_reply(id_, {}))
            subscriptions[id_] = parsed
        elif method in ("unsubscribe", "unsubscribe_all"):
            for known in [
                known for known, item in subscriptions.items() if method != "unsubscribe" or item.text == query
            ]:
                del subscriptions[known]
            await socket.send_str(_reply(id_, {}))
        elif method == "health":
            await socket.send_str(_reply(id_, {}))
        elif method == "status":
            sync = {"latest_block_height": str(self.core.seen_height), "catching_up": False}
            await socket.send_str(_reply(id_, {"node_info": {"network": self.core.chain_id}, "sync_info": sync}))
        else:
            await socket.send_str(_error(id_, -32601, "Method not found"))


def _transaction(result: TxResult) -> tuple[dict[str, list[str]], dict[str, Any]]:
    done = {
        "code": result.code, "codespace": result.codespace, "log": result.log, "gas_wanted": str(result.gas_wanted),
        "gas_used": str(result.gas_used), "events": list(result.events),
    }  # fmt: skip
    value = {"height": str(result.height), "index": result.index, "tx": result.content, "result": done}
    present = index("Tx", list(result.events), tx_hash=result.hash, tx_height=str(result.height))
    return present, {"TxResult": value}


def _reply(id_: Any, result: dict[str, Any]) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": id_, "result": result})


def _error(id_: Any, code: int, message: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": message, "data": ""}})
