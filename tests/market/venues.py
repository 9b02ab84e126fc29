"""Loopback servers that speak the wire formats of Coinbase, Kraken, Binance's archive and Allora's data service."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import threading
import zipfile
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from aiohttp import web

from crucible.market.resample import resample

MINUTE = timedelta(minutes=1)


class Venue:
    """A server over one-minute bars: a bar exists once it has opened by ``now``; ``faults`` are used up first.

    A fault is a function (request, honest answer) -> response, a coroutine function.
    """

    def __init__(self, bars: pa.Table, now: datetime) -> None:
        self.table, self.now = bars, now
        self.requests: list[str] = []
        self.faults: deque[Callable[..., Any]] = deque()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def answer(self, request: web.Request) -> web.Response:
        raise NotImplementedError

    def rows(self, length: timedelta, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """Candles that open in [start, end] and not after now; the open one among them, as far as it has come."""
        known = self.table.filter(pa.array([at <= self.now for at in self.table["open_time"].to_pylist()]))
        made = resample(known, MINUTE, length, complete=1e-9, closed_at=self.now + length).bars
        return [row for row in made.to_pylist() if start <= row["open_time"] <= end]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        await request.read()
        answer = self.answer(request)
        return await self.faults.popleft()(request, answer) if self.faults else answer

    def __enter__(self) -> Venue:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(5)
        return self

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_route("*", "/{anything:.*}", self._handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _end(self) -> None:
        await self._runner.cleanup()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:  # of requests that hang
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def __exit__(self, *failure: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


def reply(value: Any, status: int = 200, **headers: str) -> web.Response:
    return web.Response(text=json.dumps(value), status=status, content_type="application/json", headers=headers)


def status(code: int, **headers: str) -> Callable[..., Any]:
    async def fault(request: web.Request, answer: web.Response) -> web.Response:
        return reply(
            {"error": "no", "code": -1003, "msg": "no"}, code, **{k.replace("_", "-"): v for k, v in headers.items()}
        )

    return fault


async def hang(request: web.Request, answer: web.Response) -> web.Response:
    await asyncio.sleep(0.8)
    return answer


async def reset(request: web.Request, answer: web.Response) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return answer


async def garbage(request: web.Request, answer: web.Response) -> web.Response:
    return web.Response(text="<html>busy</html>", content_type="text/html")


async def truncate(request: web.Request, answer: web.Response) -> web.StreamResponse:
    """Say how long the body is, send half of it and hang up."""
    body = answer.body
    assert isinstance(body, bytes)
    response = web.StreamResponse(headers={"Content-Length": str(len(body)), "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


async def empty(request: web.Request, answer: web.Response) -> web.Response:
    """A page that is empty by accident."""
    value = json.loads(answer.text or "{}")
    for part in (value, value.get("result", {})):
        for key, item in part.items():
            if isinstance(item, list) and key != "error":
                part[key] = []
    return reply(value)


FAULTS = {
    "429": status(429, Retry_After="0.05"), "418": status(418, Retry_After="0.05"), "500": status(500),
    "503": status(503), "timeout": hang, "reset": reset, "garbage": garbage, "truncated": truncate,
}  # fmt: skip


class Coinbase(Venue):
    """The public Advanced Trade API: candles newest first, at most 350 a request, none where nothing was traded."""

    def answer(self, request: web.Request) -> web.Response:
        path, query = request.path, request.query
        if path == "/v2/time":
            return reply({"data": {"epoch": int(self.now.timestamp()), "iso": self.now.isoformat()}})
        if path == "/api/v3/brokerage/market/products":
            spot = [_product("BTC-USD", "SPOT"), _product("ETH-USD", "SPOT")]
            return reply({"products": [] if query.get("product_type") == "FUTURE" else spot, "num_products": 2})
        if path.endswith("/candles"):
            length = {"ONE_MINUTE": 1, "FIVE_MINUTE": 5, "ONE_HOUR": 60}[query["granularity"]] * MINUTE
            start, end = (datetime.fromtimestamp(int(query[name]), UTC) for name in ("start", "end"))
            found = self.rows(length, start, end)
            if len(found) > 350:
                return reply({"error": "INVALID_ARGUMENT", "message": "at most 350 candles"}, 400)
            text = {"low": "low", "high": "high", "open": "open", "close": "close", "volume": "volume"}
            candles = [
                {
                    "start": str(int(row["open_time"].timestamp())),
                    **{key: repr(row[name]) for key, name in text.items()},
                }
                for row in reversed(found)
            ]
            return reply({"candles": candles})
        if path.startswith("/v2/"):
            return reply({"data": []})
        return reply({"error": "unknown", "path": path}, 404)


class Kraken(Venue):
    """``/0/public``: the newest 720 candles whatever ``since`` says, the last of them still open."""

    def answer(self, request: web.Request) -> web.Response:
        name, query = request.path.rsplit("/", 1)[-1], request.query
        if name == "Time":
            return reply({"error": [], "result": {"unixtime": int(self.now.timestamp()), "rfc1123": "x"}})
        if name == "Assets":
            assets = {"XXBT": "XBT", "ZUSD": "USD"}
            told = {"aclass": "currency", "decimals": 10, "display_decimals": 5, "status": "enabled"}
            return reply({"error": [], "result": {key: {**told, "altname": name} for key, name in assets.items()}})
        if name == "AssetPairs":
            return reply({"error": [], "result": {"XXBTZUSD": _pair("XBTUSD", "XXBT", "ZUSD")}})
        if name == "OHLC":
            if query["pair"] != "XXBTZUSD":
                return reply({"error": ["EQuery:Unknown asset pair"]})
            length = int(query.get("interval", "1")) * MINUTE
            since = datetime.fromtimestamp(int(query.get("since", "0")), UTC)
            newest = self.rows(length, datetime(2000, 1, 1, tzinfo=UTC), self.now)[-720:]
            rows = [
                [int(row["open_time"].timestamp()), *(repr(row[name]) for name in ("open", "high", "low", "close")),
                 "0", repr(row["volume"]), 1]
                for row in newest if row["open_time"] > since
            ]  # fmt: skip
            return reply({"error": [], "result": {"XXBTZUSD": rows, "last": rows[-2][0] if len(rows) > 1 else 0}})
        return reply({"error": ["EGeneral:Unknown method"]})


class BinanceArchive(Venue):
    """Zips by month and by day, each with its checksum, some hours after their end; ``spoiled`` ones do not fit it."""

    spoiled: frozenset[str] = frozenset()

    def answer(self, request: web.Request) -> web.Response:
        path = request.path.removesuffix(".CHECKSUM")
        *_, span, _, symbol, interval, file = path.split("/")
        date = file.removesuffix(".zip").split("-", 2)[2]
        start = datetime.fromisoformat(f"{date}-01" if span == "monthly" else date).replace(tzinfo=UTC)
        end = (start + timedelta(days=32)).replace(day=1) if span == "monthly" else start + timedelta(days=1)
        length = {"1m": 1, "5m": 5, "1h": 60}[interval] * MINUTE
        rows = (
            self.rows(length, start, end - MINUTE) if symbol == "BTCUSDT" and self.now > end + 6 * 60 * MINUTE else []
        )
        if not rows:
            text = "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
            return web.Response(status=404, text=text, content_type="application/xml")
        content = _zip(file.replace(".zip", ".csv"), rows, length, futures="/futures/" in path)
        if request.path.endswith(".CHECKSUM"):
            return web.Response(text=f"{hashlib.sha256(content).hexdigest()}  {file}\n")
        return web.Response(body=content[:-1] + b"x" if file in self.spoiled else content)


class Atlas(Venue):
    """Allora's data service: a tag to acquire, data sets to search, rows in bulk of at most 14 days."""

    key = "k-secret"
    acquired = False
    flat = False

    def answer(self, request: web.Request) -> web.Response:
        if request.headers.get("X-API-Key") != self.key:
            return reply({"detail": "Authentication credentials were not provided."}, 401)
        path, query = request.path, request.query
        if path == "/tags/acquire/" and request.method == "POST":
            held, self.acquired = self.acquired, True
            return reply({"detail": "held"} if held else {"status": "acquired"}, 409 if held else 200)
        if path == "/datasets/":
            names = {6: "tiingo_btcusd_1min_old", 7: "tiingo_btcusd_1min"} if self.acquired else {}
            found = [{"id": id_, "name": name} for id_, name in names.items() if query["search"] in name]
            return reply({"count": len(found), "next": None, "results": found})
        if path == "/rows/bulk_download/" and query["dataset"] == "7":
            start, end = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
            if end - start > timedelta(days=14):
                return reply({"detail": "range too large"}, 400)
            rows = [
                ({"timestamp": row.pop("open_time").strftime("%Y-%m-%dT%H:%M:%SZ")}, row)
                for row in self.rows(MINUTE, start, end)
            ]
            return reply([{**at, **row} if self.flat else {**at, "values": row} for at, row in rows])
        return reply({"detail": "Not found."}, 404)


def _zip(name: str, rows: list[dict[str, Any]], length: timedelta, *, futures: bool) -> bytes:
    lines = [
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
    ]
    lines = lines if futures else []
    for row in rows:
        unit = 1_000_000 if row["open_time"].year >= 2025 and not futures else 1000  # spot: microseconds since 2025
        opened = int(row["open_time"].timestamp()) * unit
        numbers = ",".join(repr(row[key]) for key in ("open", "high", "low", "close", "volume"))
        lines.append(f"{opened},{numbers},{opened + int(length.total_seconds()) * unit - 1},0,0,0,0,0")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), "\n".join(lines) + "\n")
    return buffer.getvalue()


def _product(name: str, kind: str) -> dict[str, Any]:
    base, quote = name.split("-")
    return {
        "product_id": name, "price": "30000", "base_increment": "0.00000001", "quote_increment": "0.01",
        "quote_min_size": "1", "quote_max_size": "1000000", "base_min_size": "0.0001", "base_max_size": "3400",
        "is_disabled": False, "new": False, "status": "online", "cancel_only": False, "limit_only": False,
        "post_only": False, "trading_disabled": False, "auction_mode": False, "product_type": kind,
        "quote_currency_id": quote, "base_currency_id": base, "base_display_symbol": base, "alias": "",
        "quote_display_symbol": quote, "view_only": False, "price_increment": "0.01",
    }  # fmt: skip


def _pair(alternative: str, base: str, quote: str) -> dict[str, Any]:
    return {
        "altname": alternative, "wsname": "XBT/USD", "aclass_base": "currency", "base": base,
        "aclass_quote": "currency", "quote": quote, "lot": "unit", "pair_decimals": 1, "lot_decimals": 8,
        "lot_multiplier": 1, "leverage_buy": [], "leverage_sell": [], "fees": [[0, 0.26]], "fees_maker": [[0, 0.16]],
        "fee_volume_currency": "ZUSD", "margin_call": 80, "margin_stop": 40, "ordermin": "0.0001", "costmin": "0.5",
        "tick_size": "0.1", "status": "online",
    }  # fmt: skip
