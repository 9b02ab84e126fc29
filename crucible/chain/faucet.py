"""Asking the testnet's faucet for funds, patiently."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import aiohttp

from crucible.errors import ChainError, FaucetBusy, NodeUnreachable

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 15.0, 3600.0
_BUSY_PAUSE = 300.0  # where a faucet that is asked too often does not say for how long


async def ask_faucet(faucet_url: str, chain_id: str, address: str) -> None:
    """Ask for funds; they arrive with one of the next blocks.

    Raises
    ------
    FaucetBusy
        If it was asked too often (429).
    ChainError
        If the faucet refuses for another reason.
    NodeUnreachable
        If it does not answer.
    """
    form = {"chain": chain_id, "address": address}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session,
            # the faucet's other host name answers with a redirect, which would turn the POST into a GET
            session.post(f"{faucet_url}/api/request", data=form, allow_redirects=False) as response,
        ):
            if response.status == 429:
                raise FaucetBusy(
                    _seconds(response.headers.get("Retry-After", "")),
                    f"The faucet was asked too often; fund {address} by hand, or try again in some hours.",
                )
            if response.status >= 300:
                raise ChainError(
                    f"The faucet at {faucet_url} refused with status {response.status}; fund {address} by hand."
                )
    except (aiohttp.ClientError, TimeoutError) as error:
        raise NodeUnreachable(f"The faucet at {faucet_url} does not answer ({type(error).__name__}).") from error


async def keep_funded(
    balance: Callable[[], Awaitable[int]],
    ask: Callable[[], Awaitable[None]],
    least: int,
    *,
    look: float,
    tell: Callable[[int, str], None],
) -> None:
    """Watch a balance for ever, and ask the faucet whenever it is below ``least``; submissions never wait for this.

    Parameters
    ----------
    balance : callable
        Returns the balance in uallo.
    ask : callable
        Asks the faucet once; see :func:`ask_faucet`.
    least : int
        In uallo.
    look : float
        Seconds between looks while all is well, and after the faucet has paid.
    tell : callable
        Told the balance, and in a few words what is the matter, if anything.
    """
    pause = _FIRST_PAUSE
    while True:
        wait = look
        try:
            found = await balance()
        except ChainError as error:
            tell(-1, str(error))  # the node's trouble is no reason to look seldom
            await asyncio.sleep(wait)
            continue
        tell(found, "")
        try:
            if found < least:
                await ask()
            pause = _FIRST_PAUSE
        except FaucetBusy as error:
            wait = max(error.wait or _BUSY_PAUSE, look)
            tell(-1, str(error))
            _LOG.warning("%s Asking again in %.0f s.", error, wait)
        except ChainError as error:
            wait, pause = max(pause, look), min(pause * 2, _LONGEST_PAUSE)
            tell(-1, str(error))
            _LOG.warning("%s Trying again in %.0f s.", error, wait)
        await asyncio.sleep(wait)


def _seconds(text: str) -> float:
    # Retry-After may also be a date; the pause of our own will do then
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0
