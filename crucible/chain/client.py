"""Queries and broadcasts over gRPC, with a deadline on every call and another node when one fails."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from grpclib import GRPCError

from crucible.chain.answers import AccountInfo, Inclusion, TopicInfo, number, whole
from crucible.chain.endpoints import Endpoints, Pinned
from crucible.chain.error_table import expected_sequence, rejection
from crucible.chain.protos import auth, bank, feemarket, tm, tx
from crucible.chain.topic_queries import TopicQueries, nothing_there
from crucible.chain.transaction import DENOM
from crucible.errors import ChainError, NodeUnreachable, SequenceMismatch

__all__ = ["AccountInfo", "ChainClient", "Inclusion", "TopicInfo"]


class ChainClient(TopicQueries):
    """A client of one chain, through one node or several. Use as an async context manager.

    Parameters
    ----------
    grpc_url : str
        ``grpc+http://host:port`` or ``grpc+https://host:port``; several separated by commas.
    deadline : float
        Seconds that any single call may take; at most 1.5 while there is another node to ask.

    Attributes
    ----------
    newest : int
        The height that was told last, to whoever asked.
    """

    def __init__(self, grpc_url: str, *, deadline: float = 5.0) -> None:
        self.endpoints = Endpoints(grpc_url, deadline)
        self._asked: Endpoints | Pinned = self.endpoints
        self.newest = 0

    @property
    def url(self) -> str:
        """The node that is asked first at present."""
        return self.endpoints.current.url

    def pinned(self) -> ChainClient:
        """Return a client of the present node only: what it answers is one node's view, or nothing."""
        view = ChainClient.__new__(ChainClient)
        view.endpoints = self.endpoints
        view._asked = Pinned(self.endpoints.current, self.endpoints.deadline)
        view.newest = 0
        return view

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.endpoints.close()

    async def chain_id(self) -> str:
        """Return the node's chain id."""
        found = await self._call("node", "get_node_info", tm.GetNodeInfoRequest())
        if found.default_node_info is None:
            raise ChainError(f"The node at {self.url} does not say which chain it is of.")
        return str(found.default_node_info.network)

    async def height(self) -> int:
        """Return the height of the last block, of a node that is not behind the others."""
        self.newest = await self._asked.height()
        return self.newest

    async def block_time(self, height: int) -> datetime:
        """Return the time of a block, UTC.

        Raises
        ------
        ChainError
            If the node does not have it any more.
        """
        found = await self._call("node", "get_block_by_height", tm.GetBlockByHeightRequest(height=height))
        block = found.sdk_block or found.block
        if block is None or block.header is None or block.header.time is None:
            raise ChainError(f"The node at {self.url} has no block {height}.")
        at: datetime = block.header.time
        return at if at.tzinfo else at.replace(tzinfo=UTC)

    async def balance(self, address: str) -> int:
        """Return the balance in uallo."""
        found = await self._call("bank", "balance", bank.QueryBalanceRequest(address=address, denom=DENOM))
        return whole(found.balance.amount, "the balance") if found.balance else 0

    async def account(self, address: str) -> AccountInfo | None:
        """Return the account, or ``None`` if it was never funded."""
        request = auth.QueryAccountInfoRequest(address=address)
        found = await self._call("auth", "account_info", request, missing=None)
        return AccountInfo(int(found.info.account_number), int(found.info.sequence)) if found and found.info else None

    async def gas_price(self) -> float:
        """Return the fee market's price in uallo per unit of gas."""
        found = await self._call("fees", "gas_price", feemarket.GasPriceRequest(denom=DENOM))
        return number(found.price.amount, "the price of gas") / 1e18 if found.price else 0.0

    async def simulate(self, content: bytes) -> int:
        """Return the gas that a transaction would use.

        Raises
        ------
        SequenceMismatch
            If the node waits for another sequence.
        ChainError
            If the transaction would fail, in the node's words.
        """
        try:
            found = await self._call("tx", "simulate", tx.SimulateRequest(tx_bytes=content))
        except NodeUnreachable:
            raise
        except ChainError as error:
            if "account sequence mismatch" in str(error):
                raise SequenceMismatch(expected_sequence(str(error)), str(error)) from error
            raise
        return int(found.gas_info.gas_used) if found.gas_info else 0

    async def broadcast(self, content: bytes, tx_hash: str) -> None:
        """Hand over a signed transaction; returning means that CheckTx accepted it.

        Raises
        ------
        TxRejected
            If CheckTx refused it: it will never be in a block.
        NodeUnreachable
            If there was no answer: it may or may not have been accepted.
        """
        request = tx.BroadcastTxRequest(tx_bytes=content, mode=tx.BroadcastMode.SYNC)
        response = (await self._call("tx", "broadcast_tx", request)).tx_response
        if response is None:
            raise NodeUnreachable(f"The node at {self.url} does not say what became of the transaction.")
        if response.code:
            raise rejection(response.codespace, response.code, response.raw_log, tx_hash)

    async def find(self, tx_hash: str) -> Inclusion | None:
        """Return what became of a transaction, or ``None`` while it is in no block."""
        found = await self._call("tx", "get_tx", tx.GetTxRequest(hash=tx_hash), missing=None)
        if found is None or found.tx_response is None:
            return None
        response = found.tx_response
        return Inclusion(int(response.height), int(response.code), response.codespace, response.raw_log)

    async def _call(self, service: str, method: str, request: Any, **missing: None) -> Any:
        """Call ``method``; with ``missing=None`` a NOT_FOUND answer is ``None``."""
        try:
            return await self._asked.call(service, method, request)
        except GRPCError as error:
            if missing and nothing_there(error):
                return None
            raise ChainError(f"The node refused {type(request).__name__}: {error.message}") from error
