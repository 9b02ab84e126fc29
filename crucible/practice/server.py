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
from crucible.practice.stream import KlineStream
from crucible.practice.stream_faults import StreamFaults
from crucible.practice.symbols import exchange_info, split_symbol
from crucible.practice.weight import ENDPOINT_WEIGHTS, WeightMeter

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Exchange:
    """Answers ``/api/v3/{ping,time,exchangeInfo,klines}`` and the kline stream as Binance does.

    Parameters
    ----------
    market : Market
        What is traded.
    clock : Clock
        Decides what has happened: a candle exists once it has closed, besides the one that is open.
    meter : WeightMeter, optional
        Request weights, spot and futures together; unlimited by default.
    perpetual : Market, optional
        What the USD-M futures paths ``/fapi/v1/{ping,time,exchangeInfo,klines}`` answer from; 404 without.

    Attributes
    ----------
    served : collections.Counter
        Requests answered, by endpoint name (``fapi/klines`` for futures), and connections to the ``stream``.
    stream : KlineStream
        The websocket; its pace can be set.
    faults : StreamFaults
        What is to go wrong with the stream, at run time.
    """

    def __init__(
        self, market: Market, clock: Clock, meter: WeightMeter | None = None, *, perpetual: Market | None = None
    ) -> None:
        self.market = market
        self.clock = clock
        self.meter = meter or WeightMeter()
        self.perpetual = perpetual
        self.served: Counter[str] = Counter()
        self.faults = StreamFaults()
        # looked up each time, so that a test may replace the faults as well as change them
        self.stream = KlineStream(market, clock, lambda: self.faults, self.served)

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application()
        application.router.add_get("/{api:api/v3|fapi/v1}/{endpoint}", self._answer)
        self.stream.attach(application)
        return application

    async def _answer(self, request: web.Request) -> web.Response:
        endpoint = request.match_info["endpoint"]
        futures = request.match_info["api"] == "fapi/v1"
        market = self.perpetual if futures else self.market
        if market is None or endpoint not in ENDPOINT_WEIGHTS:
            raise web.HTTPNotFound(text="<html><body><h2>404 Not found</h2></body></html>", content_type="text/html")
        self.served[f"fapi/{endpoint}" if futures else endpoint] += 1
        wait = self.meter.charge(ENDPOINT_WEIGHTS[endpoint])
        headers = {"X-MBX-USED-WEIGHT": str(self.meter.used), "X-MBX-USED-WEIGHT-1M": str(self.meter.used)}
        if wait is not None:
            message = f"Too much request weight used; current limit is {self.meter.limit} request weight per 1 MINUTE."
            return _json(429, {"code": -1003, "msg": message}, {**headers, "Retry-After": str(wait)})
        try:
            body = self._body(market, endpoint, request.query, futures)
        except BadParameter as fault:
            return _json(400, {"code": fault.code, "msg": fault.message}, headers)
        return web.Response(text=body, content_type="application/json", headers=headers)

    def _body(self, market: Market, endpoint: str, parameters: Mapping[str, str], futures: bool) -> str:
        now = self.clock.now()
        if endpoint == "klines":
            return klines(market, parse_query(market, parameters), now)
        server_time = (now - _EPOCH) // timedelta(milliseconds=1)
        if endpoint == "time":
            return json.dumps({"serverTime": server_time})
        if endpoint == "exchangeInfo":
            info = exchange_info(market.symbols, server_time, parameters)
            if futures:
                for symbol in info["symbols"]:
                    symbol.update(_contract(symbol["symbol"]))
            return json.dumps(info)
        return "{}"


def _contract(symbol: str) -> dict[str, Any]:
    """Return what the futures exchange says of a perpetual contract besides what spot says of a pair."""
    return {
        "pair": symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,  # the year 2100: never
        "marginAsset": split_symbol(symbol)[1],
        "pricePrecision": 8,
        "quantityPrecision": 8,
    }


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
