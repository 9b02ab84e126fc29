"""What the practice exchange says about its symbols: Binance's exchangeInfo."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from crucible.practice.klines import BadParameter

_QUOTES = ("USDT", "USDC", "FDUSD", "USD", "EUR", "BTC", "ETH", "BNB")


def split_symbol(symbol: str) -> tuple[str, str]:
    """Return the base and the quote asset of ``symbol``, for example ``("BTC", "USDT")``."""
    for quote in _QUOTES:
        if symbol.endswith(quote) and symbol != quote:
            return symbol.removesuffix(quote), quote
    return symbol, "USDT"


def exchange_info(symbols: Sequence[str], server_time: int, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of ``/api/v3/exchangeInfo``.

    Parameters
    ----------
    symbols : sequence of str
        All that are traded.
    server_time : int
        Milliseconds since 1970.
    parameters : mapping
        The request's: ``symbol=BTCUSDT`` or ``symbols=["BTCUSDT"]`` select; without them all are told.

    Raises
    ------
    BadParameter
        -1121 for a symbol that is not traded, -1100 for a list that is none.
    """
    wanted = _selected(parameters) or symbols
    if any(symbol not in symbols for symbol in wanted):
        raise BadParameter(-1121, "Invalid symbol.")
    return {
        "timezone": "UTC",
        "serverTime": server_time,
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
        ],
        "exchangeFilters": [],
        "symbols": [_symbol(symbol) for symbol in wanted],
    }


def _selected(parameters: Mapping[str, str]) -> list[str]:
    if "symbol" in parameters:
        return [parameters["symbol"]]
    if "symbols" not in parameters:
        return []
    try:
        names = json.loads(parameters["symbols"])
    except json.JSONDecodeError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadParameter(-1100, "Illegal characters found in parameter 'symbols'.")
    return names


def _symbol(symbol: str) -> dict[str, Any]:
    base, quote = split_symbol(symbol)
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.00000001",
                "maxPrice": "10000000.0",
                "tickSize": "0.00000001",
            },
            {"filterType": "LOT_SIZE", "minQty": "0.00000001", "maxQty": "90000000.0", "stepSize": "0.00000001"},
        ],
        "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]],
    }
