"""Asking the testnet's faucet for funds."""

from __future__ import annotations

import aiohttp

from crucible.errors import ChainError, NodeUnreachable


async def ask_faucet(faucet_url: str, chain_id: str, address: str) -> None:
    """Ask for funds; they arrive with one of the next blocks.

    Raises
    ------
    ChainError
        If the faucet refuses, for example because it was asked too often (429).
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
                raise ChainError(f"The faucet was asked too often; fund {address} by hand, or try again in some hours.")
            if response.status >= 300:
                raise ChainError(
                    f"The faucet at {faucet_url} refused with status {response.status}; fund {address} by hand."
                )
    except (aiohttp.ClientError, TimeoutError) as error:
        raise NodeUnreachable(f"The faucet at {faucet_url} does not answer ({type(error).__name__}).") from error
