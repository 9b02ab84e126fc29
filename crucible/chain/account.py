"""One wallet on one chain: what every transaction of it shares."""

from __future__ import annotations

import time

from crucible.chain.client import ChainClient
from crucible.chain.fees import FeePolicy
from crucible.chain.sequencer import Sequencer
from crucible.chain.wallet import Wallet

_PRICE_SECONDS = 5.0


class Account:
    """A wallet, its sequence numbers, and what gas costs.

    Parameters
    ----------
    client : ChainClient
        The chain.
    wallet : Wallet
        Who signs.
    chain_id : str
        For example ``allora-testnet-1``.
    fee : FeePolicy
        What may be paid.
    """

    def __init__(self, client: ChainClient, wallet: Wallet, chain_id: str, fee: FeePolicy) -> None:
        self.client, self.wallet, self.chain_id, self.fee = client, wallet, chain_id, fee
        self.sequencer = Sequencer(client, wallet.address)
        self._price = 0.0
        self._asked = float("-inf")

    async def price(self, *, fresh: bool = False) -> float:
        """Return the price of gas, uallo per unit, at most five seconds old.

        Raises
        ------
        NodeUnreachable
            If the node does not answer.
        """
        now = time.monotonic()
        if fresh or now - self._asked > _PRICE_SECONDS:
            self._price = await self.client.gas_price()
            self._asked = now
        return self._price
