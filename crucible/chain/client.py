"""Queries and broadcasts over gRPC, with a deadline on every call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from allora_sdk.rpc_client.protos.cosmos.auth import v1beta1 as auth
from allora_sdk.rpc_client.protos.cosmos.bank import v1beta1 as bank
from allora_sdk.rpc_client.protos.cosmos.base.tendermint import v1beta1 as tm
from allora_sdk.rpc_client.protos.cosmos.tx import v1beta1 as tx
from allora_sdk.rpc_client.protos.emissions import v10 as e
from allora_sdk.rpc_client.protos.feemarket.feemarket import v1 as feemarket
from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.exceptions import ProtocolError, StreamTerminatedError

from crucible.chain.error_table import rejection
from crucible.chain.transaction import DENOM
from crucible.errors import ChainError, NodeUnreachable, SettingsError

_UNREACHABLE = (Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.CANCELLED, Status.RESOURCE_EXHAUSTED)


@dataclass(frozen=True)
class TopicInfo:
    """What the chain says of a topic; lengths in blocks."""

    id: int
    metadata: str
    loss_method: str
    epoch_length: int
    ground_truth_lag: int
    worker_window: int


@dataclass(frozen=True)
class AccountInfo:
    """An account's number and next sequence, as committed."""

    number: int
    sequence: int


@dataclass(frozen=True)
class Inclusion:
    """A transaction in a block; ``code`` 0 is success."""

    height: int
    code: int
    codespace: str
    log: str


class ChainClient:
    """A client of one node. Use as an async context manager.

    Parameters
    ----------
    grpc_url : str
        ``grpc+http://host:port`` or ``grpc+https://host:port``.
    deadline : float
        Seconds that any single call may take.
    """

    def __init__(self, grpc_url: str, *, deadline: float = 5.0) -> None:
        parts = urlsplit(grpc_url)
        if parts.scheme not in ("grpc+http", "grpc+https") or not parts.hostname or not parts.port:
            raise SettingsError(
                f"{grpc_url!r} is no gRPC endpoint; write grpc+http://host:port or grpc+https://host:port."
            )
        self.url = grpc_url
        self.deadline = deadline
        self._address = (parts.hostname, parts.port, parts.scheme == "grpc+https")

    async def __aenter__(self) -> Self:
        host, port, secure = self._address
        self._channel = Channel(host, port, ssl=True if secure else None)
        options = {"timeout": self.deadline}
        self._auth = auth.QueryStub(self._channel, **options)
        self._bank = bank.QueryStub(self._channel, **options)
        self._node = tm.ServiceStub(self._channel, **options)
        self._tx = tx.ServiceStub(self._channel, **options)
        self._emissions = e.QueryServiceStub(self._channel, **options)
        self._fees = feemarket.QueryStub(self._channel, **options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    async def chain_id(self) -> str:
        """Return the node's chain id."""
        found = await self._call(self._node.get_node_info, tm.GetNodeInfoRequest())
        return str(found.default_node_info.network)

    async def height(self) -> int:
        """Return the height of the last block."""
        found = await self._call(self._node.get_latest_block, tm.GetLatestBlockRequest())
        header = (found.sdk_block or found.block).header
        return int(header.height)

    async def topic(self, topic_id: int) -> TopicInfo:
        """Return a topic.

        Raises
        ------
        ChainError
            If it does not exist.
        """
        found = await self._call(self._emissions.get_topic, e.GetTopicRequest(topic_id=topic_id), missing=None)
        if found is None or found.topic is None:
            raise ChainError(f"Topic {topic_id} does not exist on this chain.")
        topic = found.topic
        return TopicInfo(
            topic_id, topic.metadata, topic.loss_method, topic.epoch_length, topic.ground_truth_lag,
            topic.worker_submission_window,
        )  # fmt: skip

    async def balance(self, address: str) -> int:
        """Return the balance in uallo."""
        found = await self._call(self._bank.balance, bank.QueryBalanceRequest(address=address, denom=DENOM))
        return int(found.balance.amount) if found.balance else 0

    async def account(self, address: str) -> AccountInfo | None:
        """Return the account, or ``None`` if it was never funded."""
        found = await self._call(self._auth.account_info, auth.QueryAccountInfoRequest(address=address), missing=None)
        return AccountInfo(found.info.account_number, found.info.sequence) if found and found.info else None

    async def is_registered(self, topic_id: int, address: str) -> bool:
        """Return whether ``address`` is a worker of the topic."""
        request = e.IsWorkerRegisteredInTopicIdRequest(topic_id=topic_id, address=address)
        return bool((await self._call(self._emissions.is_worker_registered_in_topic_id, request)).is_registered)

    async def may_submit(self, topic_id: int, address: str) -> bool:
        """Return whether the topic's whitelist lets ``address`` submit."""
        request = e.CanSubmitWorkerPayloadRequest(topic_id=topic_id, address=address)
        return bool((await self._call(self._emissions.can_submit_worker_payload, request)).can_submit_worker_payload)

    async def open_nonces(self, topic_id: int) -> list[int]:
        """Return the unfulfilled worker nonces, ascending."""
        request = e.GetUnfulfilledWorkerNoncesRequest(topic_id=topic_id)
        found = await self._call(self._emissions.get_unfulfilled_worker_nonces, request)
        return sorted(nonce.block_height for nonce in (found.nonces.nonces if found.nonces else []))

    async def inference(self, topic_id: int, nonce: int, address: str) -> str | None:
        """Return what the chain holds of ``address`` for ``nonce``, or ``None``."""
        # while the window is open the chain keeps inferences by worker; by block only once it has closed
        latest = e.GetWorkerLatestInputInferenceByTopicIdRequest(topic_id=topic_id, worker_address=address)
        found = await self._call(self._emissions.get_worker_latest_input_inference_by_topic_id, latest, missing=None)
        newest = found.latest_input_inference if found else None
        if newest is not None and newest.block_height == nonce and newest.values:
            return str(newest.values[0].value)
        request = e.GetInferencesAtBlockRequest(topic_id=topic_id, block_height=nonce)
        found = await self._call(self._emissions.get_inferences_at_block, request, missing=None)
        rows = found.inferences.inferences if found and found.inferences else []
        return next((row.values[0] for row in rows if row.inferer == address and row.values), None)

    async def score(self, topic_id: int, nonce: int, address: str) -> float | None:
        """Return the score of ``address`` for ``nonce``, or ``None`` as long as there is none."""
        request = e.GetWorkerInferenceScoresAtBlockRequest(topic_id=topic_id, block_height=nonce)
        found = await self._call(self._emissions.get_worker_inference_scores_at_block, request, missing=None)
        rows = found.scores.scores if found and found.scores else []
        return next((float(row.score) for row in rows if row.address == address), None)

    async def gas_price(self) -> float:
        """Return the fee market's price in uallo per unit of gas."""
        found = await self._call(self._fees.gas_price, feemarket.GasPriceRequest(denom=DENOM))
        return float(found.price.amount) / 1e18 if found.price else 0.0

    async def simulate(self, content: bytes) -> int:
        """Return the gas that a transaction would use."""
        found = await self._call(self._tx.simulate, tx.SimulateRequest(tx_bytes=content))
        return int(found.gas_info.gas_used)

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
        response = (await self._call(self._tx.broadcast_tx, request)).tx_response
        if response.code:
            raise rejection(response.codespace, response.code, response.raw_log, tx_hash)

    async def find(self, tx_hash: str) -> Inclusion | None:
        """Return what became of a transaction, or ``None`` while it is in no block."""
        found = await self._call(self._tx.get_tx, tx.GetTxRequest(hash=tx_hash), missing=None)
        if found is None or found.tx_response is None:
            return None
        response = found.tx_response
        return Inclusion(response.height, response.code, response.codespace, response.raw_log)

    async def _call(self, method: Callable[[Any], Awaitable[Any]], request: Any, **missing: None) -> Any:
        """Call ``method``; with ``missing=None`` a NOT_FOUND answer is ``None``."""
        try:
            return await method(request)
        except GRPCError as error:
            if error.status is Status.NOT_FOUND and missing:
                return None
            if error.status in _UNREACHABLE:
                raise NodeUnreachable(f"The node at {self.url} does not answer: {error.message}.") from error
            raise ChainError(f"The node refused {type(request).__name__}: {error.message}") from error
        except (OSError, TimeoutError, StreamTerminatedError, ProtocolError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "no answer in time"
            raise NodeUnreachable(f"The node at {self.url} cannot be reached: {reason}.") from error
