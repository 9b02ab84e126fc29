"""One counter per wallet: every transaction takes the next sequence number, one after the other."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from crucible.chain.client import ChainClient
from crucible.errors import NoAccount


class Sequencer:
    """Hands out the sequence numbers of one wallet.

    Whoever signs holds the :meth:`turn` until the broadcast is answered, so that topics whose windows open in one
    block go out one after the other with successive numbers, without asking the node in between.

    Parameters
    ----------
    client : ChainClient
        Asked for the committed number at the first turn, and whenever what is known has proved wrong.
    address : str
        The wallet's.
    """

    def __init__(self, client: ChainClient, address: str) -> None:
        self._client, self._address = client, address
        self._held = False
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._arrivals = itertools.count()
        self._number: int | None = None
        self._next: int | None = None

    @asynccontextmanager
    async def turn(self, due: float = math.inf) -> AsyncIterator[None]:
        """Hold the wallet: nobody else signs or sends meanwhile.

        Parameters
        ----------
        due : float
            The last block that is of use. Of those who wait, the one whose window ends first is next: where a node is
            slow and topics are many, a queue in order of arrival would lose windows that could be kept.
        """
        await self._take(due)
        try:
            yield
        finally:
            self._pass_on()

    async def next(self) -> tuple[int, int]:
        """Return the account's number and the sequence for the next transaction. To be called in a turn.

        Raises
        ------
        NoAccount
            If the account was never funded.
        NodeUnreachable
            If the node does not answer.
        """
        if self._number is None or self._next is None:
            account = await self._client.account(self._address)
            if account is None:
                raise NoAccount(f"Account {self._address} was never funded.")
            self._number, self._next = account.number, account.sequence
        return self._number, self._next

    async def _take(self, due: float) -> None:
        if not self._held:
            self._held = True
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (due, next(self._arrivals), mine))
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._pass_on()  # it had just become ours
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            _, _, following = heapq.heappop(self._waiting)
            if not following.done():
                following.set_result(None)
                return
        self._held = False

    def accepted(self, sequence: int) -> None:
        """Note that a node took a transaction with ``sequence``."""
        self._next = max(self._next or 0, sequence + 1)

    def learn(self, expected: int | None) -> None:
        """Note which sequence a node waits for; ``None`` if its refusal did not say: it is asked at the next turn."""
        self._next = expected
