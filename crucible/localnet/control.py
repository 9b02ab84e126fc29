"""The control endpoint: faults and steps over loopback HTTP, for ``crucible localnet fault`` and for drills."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from crucible.errors import SettingsError
from crucible.localnet.core import Core
from crucible.localnet.fault_table import FAULTS

MOST_BLOCKS = 10_000
"""That one call may make."""

Step = Callable[[], Awaitable[None]]


class ControlFace:
    """Switches faults of ``core``, and makes blocks with ``step``."""

    def __init__(self, core: Core, step: Step) -> None:
        self.core = core
        self._step = step

    def add_to(self, app: web.Application) -> None:
        """Add the routes to ``app``."""
        app.router.add_get("/control/faults", self._list)
        app.router.add_post("/control/faults", self._arm)
        app.router.add_delete("/control/faults", self._clear)
        app.router.add_post("/control/blocks", self._blocks)

    async def _list(self, _: web.Request) -> web.Response:
        known = [asdict(kind) for kind in FAULTS.values()]
        return web.json_response({"known": known, "armed": self.core.faults.describe(), "height": self.core.height})

    async def _arm(self, request: web.Request) -> web.Response:
        body = await _body(request)
        if isinstance(body, web.Response):
            return body
        try:
            asked = {
                "count": _number(body, "count", int), "seconds": _number(body, "seconds", float),
                "topic": _number(body, "topic", int), "value": _number(body, "value", float),
            }  # fmt: skip
            self.core.faults.arm(str(body.get("name", "")), **asked)
        except (SettingsError, ValueError) as error:
            return _refused(str(error))
        return web.json_response({"armed": self.core.faults.describe()})

    async def _clear(self, request: web.Request) -> web.Response:
        name = request.query.get("name")
        if name is not None and name not in FAULTS:
            return _refused(f"There is no fault {name!r}.")
        self.core.faults.clear(name)
        return web.json_response({"armed": self.core.faults.describe()})

    async def _blocks(self, request: web.Request) -> web.Response:
        body = await _body(request)
        if isinstance(body, web.Response):
            return body
        try:
            count = _number(body, "count", int) or 1
        except ValueError as error:
            return _refused(str(error))
        if not 0 < count <= MOST_BLOCKS:
            return _refused(f"count must lie between 1 and {MOST_BLOCKS}")
        for _ in range(count):
            await self._step()
        return web.json_response({"height": self.core.height})


async def _body(request: web.Request) -> dict[str, Any] | web.Response:
    # asking for JSON keeps web pages out: a browser does not send it to another origin unasked
    if request.content_type != "application/json":
        return _refused("send application/json")
    try:
        body = json.loads(await request.text())
    except (ValueError, RecursionError):
        body = None
    return body if isinstance(body, dict) else _refused("the body is no JSON object")


def _number(body: dict[str, Any], name: str, kind: type) -> Any:
    value = body.get(name)
    if value is None:
        return None
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or abs(value) > 1e15
        or (kind is int and not whole)
    ):
        raise ValueError(f"{name} is no {'whole ' if kind is int else ''}number")
    return kind(value)


def _refused(words: str) -> web.Response:
    return web.json_response({"error": words}, status=400)
