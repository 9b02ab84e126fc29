"""The names of sources: whose bars they are, and which market they serve."""

from __future__ import annotations

import re
from typing import Literal

PERPETUAL = "_perpetual"
ARCHIVE = "_archive"

SOURCE_NAME = re.compile(r"^(?P<name>[a-z][a-z0-9_]*)(:(?P<symbol>[A-Z0-9]+))?$")
"""``binance``, or ``coinbase:BTCUSD`` where the symbol has another name there."""


def split_source(text: str, symbol: str) -> tuple[str, str]:
    """Return the name of the source in ``text``, and what the symbol is called there (``symbol`` by default).

    Raises
    ------
    ValueError
        If it has another form.
    """
    match = SOURCE_NAME.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no source; write for example 'binance', or 'coinbase:BTCUSD'")
    return match["name"], match["symbol"] or symbol


def venue_of(name: str) -> str:
    """Return under which name the bars of source ``name`` are stored: an archive serves its exchange's bars."""
    return name.removesuffix(ARCHIVE)


def market_of(name: str) -> Literal["spot", "perpetual"]:
    """Return which market source ``name`` serves; the two never share a name, and so never share a folder."""
    return "perpetual" if venue_of(name).endswith(PERPETUAL) else "spot"
