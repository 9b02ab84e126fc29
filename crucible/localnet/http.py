"""The node's HTTP face: CometBFT's websocket, the faucet, the topic-list API, and the control endpoint."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from crucible.localnet.control import ControlFace, Step
from crucible.localnet.core import Core
from crucible.localnet.keys import is_address
from crucible.localnet.topic import Topic
from crucible.localnet.websocket import WebsocketFace

FAUCET_GRANT = 10**18
"""One allo, in uallo."""

_TOPICS_PER_PAGE = 100


@web.middleware
async def _refuse_unreadable(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 400 where a body ends early or is not in the encoding that it claims, whatever it is sent to."""
    try:
        await request.read()
    except (web.RequestPayloadError, ConnectionError):
        return web.json_response({"error": "the body cannot be read"}, status=400)
    return await handler(request)


class HttpFace:
    """The aiohttp application over a :class:`Core`."""

    def __init__(self, core: Core, step: Step) -> None:
        self.core = core
        self._websocket = WebsocketFace(core)
        self._control = ControlFace(core, step)

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[_refuse_unreadable])
        app.router.add_get("/websocket", self._websocket.serve)
        app.router.add_post("/api/request", self._faucet)
        app.router.add_get("/v2/allora/{network}/topics", self._topics)
        self._control.add_to(app)
        app.on_shutdown.append(self._close_sockets)
        return app

    async def flush(self) -> None:
        """Send what the last block queued."""
        await self._websocket.flush()

    async def _close_sockets(self, _: web.Application) -> None:
        await self._websocket.close(1001, b"localnet stops")

    async def _faucet(self, request: web.Request) -> web.Response:
        if self.core.faults.take("faucet-429"):
            return web.json_response({"error": "too many requests"}, status=429)
        try:
            form = await request.post()
        except (ValueError, UnicodeDecodeError, LookupError):
            return web.json_response({"error": "no form"}, status=400)
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
        token = request.query.get("continuation_token", "0")
        start = int(token) if token.isascii() and token.isdigit() and len(token) < 10 else 0
        every = [self.core.topics[number] for number in sorted(self.core.topics)]
        following = start + _TOPICS_PER_PAGE
        data: dict[str, Any] = {
            "topics": [self._described(topic) for topic in every[start:following]],
            "continuation_token": str(following) if following < len(every) else None,
        }
        return web.json_response({"request_id": "localnet", "status": True, "data": data})

    def _described(self, topic: Topic) -> dict[str, Any]:
        return {
            "topic_id": topic.spec.id,
            "topic_name": topic.spec.metadata,
            "epoch_length": topic.spec.epoch_length,
            "ground_truth_lag": topic.spec.ground_truth_lag,
            "loss_method": topic.spec.loss_method,
            "worker_submission_window": topic.spec.worker_window,
            "worker_count": len(topic.workers),
            "reputer_count": len(topic.reputers),
            "total_staked_allo": topic.stake / 1e18,
            "total_emissions_allo": sum(
                sum(paid.values()) for nonce in topic.nonces.values() for paid in nonce.rewards.values()
            )
            / 1e18,
            "is_active": topic.runs,
            "updated_at": str(self.core.time),
        }
