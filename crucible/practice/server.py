"""The practice exchange: Binance's spot API over a market, on loopback."""

from __future__ import annotations

import errno
import ipaddress
import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from crucible.clock import Clock
from crucible.errors import ProcessError, SettingsError
from crucible.practice.klines import BadParameter, klines, parse_query
from crucible.practice.market import Market
from crucible.practice.symbols import exchange_info
from crucible.practice.weight import ENDPOINT_WEIGHTS, WeightMeter

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Exchange:
    """Answers ``/api/v3/{ping,time,exchangeInfo,klines}`` as Binance does.

    Parameters
    ----------
    market : Market
        What is traded.
    clock : Clock
        Decides what has happened: a candle exists once it has closed, besides the one that is open.
    meter : WeightMeter, optional
        Request weights; unlimited by default.

    Attributes
    ----------
    served : collections.Counter
        Requests answered, by endpoint name.
    """

    def __init__(self, market: Market, clock: Clock, meter: WeightMeter | None = None) -> None:
        self.market = market
        self.clock = clock
        self.meter = meter or WeightMeter()
        self.served: Counter[str] = Counter()

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application()
        application.router.add_get("/api/v3/{endpoint}", self._answer)
        return application

    async def _answer(self, request: web.Request) -> web.Response:
        endpoint = request.match_info["endpoint"]
        if endpoint not in ENDPOINT_WEIGHTS:
            raise web.HTTPNotFound(text="<html><body><h2>404 Not found</h2></body></html>", content_type="text/html")
        self.served[endpoint] += 1
        wait = self.meter.charge(ENDPOINT_WEIGHTS[endpoint])
        headers = {"X-MBX-USED-WEIGHT": str(self.meter.used), "X-MBX-USED-WEIGHT-1M": str(self.meter.used)}
        if wait is not None:
            message = f"Too much request weight used; current limit is {self.meter.limit} request weight per 1 MINUTE."
            return _json(429, {"code": -1003, "msg": message}, {**headers, "Retry-After": str(wait)})
        try:
            body = self._body(endpoint, request.query)
        except BadParameter as fault:
            return _json(400, {"code": fault.code, "msg": fault.message}, headers)
        return web.Response(text=body, content_type="application/json", headers=headers)

    def _body(self, endpoint: str, parameters: Mapping[str, str]) -> str:
        now = self.clock.now()
        if endpoint == "klines":
            return klines(self.market, parse_query(self.market, parameters), now)
        server_time = (now - _EPOCH) // timedelta(milliseconds=1)
        if endpoint == "time":
            return json.dumps({"serverTime": server_time})
        if endpoint == "exchangeInfo":
            return json.dumps(exchange_info(self.market.symbols, server_time, parameters))
        return "{}"


async def start(exchange: Exchange, host: str, port: int) -> tuple[web.AppRunner, str]:
    """Listen, and return the runner (``await runner.cleanup()`` ends it) and the base URL.

    Parameters
    ----------
    exchange : Exchange
        What to serve.
    host : str
        A loopback address.
    port : int
        0 for any free one.

    Raises
    ------
    SettingsError
        If the host is not loopback: a simulated market must not be mistaken for a real one by somebody else.
    ProcessError
        If the port is in use.
    """
    if not _is_loopback(host):
        raise SettingsError(f"The practice exchange serves loopback only; {host!r} is not, use 127.0.0.1.")
    runner = web.AppRunner(exchange.application(), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise ProcessError(
            f"The practice exchange cannot listen on {host}:{port}: {reason}; "
            "choose another --port, or 0 for a free one."
        ) from error
    bound = runner.addresses[0]
    name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return runner, f"http://{name}:{bound[1]}"


def _json(status: int, value: Mapping[str, Any], headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=status, text=json.dumps(value, separators=(",", ":")), content_type="application/json", headers=headers
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
