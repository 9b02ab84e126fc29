"""Several gRPC endpoints as one: a deadline on every call, and another endpoint when one fails or falls behind."""

from __future__ import annotations

import asyncio
import logging
import struct
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.exceptions import ProtocolError, StreamTerminatedError

from crucible.chain.protos import auth, bank, e, feemarket, tm, tx
from crucible.errors import ChainError, NodeUnreachable, SettingsError
from crucible.wire_types import refuse_ill_typed

_LOG = logging.getLogger(__name__)
_UNREACHABLE = (Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.CANCELLED, Status.RESOURCE_EXHAUSTED)
_HTTP = "Received :status"  # grpclib's words for an answer that a proxy gave instead of the node: 403, 429, 5xx
_DOUBT = 1.0  # seconds without an answer after which the same is asked once more, over a new connection
_HASTE = 1.5  # seconds that a call may take while there is another endpoint to ask
_SPARE = 6  # connections that were left and are still open: more than there are doubts in a deadline
_FIRST_REST, _LONGEST_REST = 1.0, 60.0
_BEHIND = 3  # blocks; endpoints of one chain differ by one or two without being ill

SERVICES: dict[str, Any] = {
    "auth": auth.QueryStub,
    "bank": bank.QueryStub,
    "node": tm.ServiceStub,
    "tx": tx.ServiceStub,
    "emissions": e.QueryServiceStub,
    "fees": feemarket.QueryStub,
}
"""The stubs by short name."""


@dataclass
class Endpoint:
    """One node and how it has fared.

    Attributes
    ----------
    url : str
        As it was given.
    failures : int
        Failed calls in a row.
    rest_until : float
        Monotonic seconds until which others are asked first.
    """

    url: str
    failures: int = 0
    rest_until: float = 0.0
    _channel: Channel | None = None
    _stubs: dict[str, Any] = field(default_factory=dict)
    _left: list[Channel] = field(default_factory=list)  # on which calls may still be under way

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme not in ("grpc+http", "grpc+https") or not parts.hostname or not port:
            raise SettingsError(
                f"{self.url!r} is no gRPC endpoint; write grpc+http://host:port or grpc+https://host:port."
            )
        self._address = (parts.hostname, port, parts.scheme == "grpc+https")

    async def call(self, service: str, method: str, request: Any, deadline: float) -> Any:
        """Call one method; see :meth:`Endpoints.call`."""
        try:
            async with asyncio.timeout(deadline):
                answer = await self._insist(service, method, request, deadline)
            refuse_ill_typed(answer)
            return answer
        except GRPCError as error:
            if error.status in _UNREACHABLE or _HTTP in str(error.message):
                raise NodeUnreachable(f"The node at {self.url} does not answer: {error.message}.") from error
            raise
        except (OSError, TimeoutError, StreamTerminatedError, ProtocolError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "no answer in time"
            raise NodeUnreachable(f"The node at {self.url} cannot be reached: {reason}.") from error
        except (ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error) as error:
            # bytes that are no message of the kind that was asked for
            raise NodeUnreachable(f"The node at {self.url} answers {method} with nonsense: {error}.") from error

    def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
            self._stubs.clear()
        for channel in self._left:
            channel.close()
        self._left.clear()

    async def _insist(self, service: str, method: str, request: Any, deadline: float) -> Any:
        """Ask, and ask again every second over a new connection; the first answer counts.

        A connection that has died without a word, or a request that got lost, must not cost the whole deadline: the
        window may be over by then.
        """
        asked: set[asyncio.Task[Any]] = set()
        try:
            while True:
                call = getattr(self._stub(service), method)
                channel = self._channel
                asked.add(asyncio.create_task(call(request, timeout=deadline)))
                done, _ = await asyncio.wait(asked, timeout=_DOUBT, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    return done.pop().result()
                self._doubt(channel)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    def _doubt(self, channel: Channel | None) -> None:
        """Leave ``channel`` for a new one, unless that was done already; calls under way on it go on."""
        if channel is not None and channel is self._channel:
            self._left.append(channel)
            self._channel = None
            self._stubs.clear()
        for old in self._left[:-_SPARE]:
            old.close()
        del self._left[:-_SPARE]

    def _stub(self, service: str) -> Any:
        if self._channel is None:
            host, port, secure = self._address
            self._channel = Channel(host, port, ssl=True if secure else None)
        if service not in self._stubs:
            self._stubs[service] = SERVICES[service](self._channel)
        return self._stubs[service]


class Endpoints:
    """Endpoints of one chain, asked in the order of their health; the one that answered last is asked first.

    Parameters
    ----------
    urls : str
        ``grpc+http(s)://host:port``, several separated by commas; the first is preferred at the start.
    deadline : float
        Seconds that a call may take; 1.5 while there is another endpoint to ask.

    Attributes
    ----------
    switches : int
        How often another endpoint took over.
    """

    def __init__(self, urls: str, deadline: float) -> None:
        self.all = [Endpoint(url.strip()) for url in urls.split(",") if url.strip()]
        if not self.all:
            raise SettingsError("There is no gRPC endpoint; write grpc+http://host:port or grpc+https://host:port.")
        self.deadline = deadline
        self.current = self.all[0]
        self.switches = 0
        self._head = 0

    async def call(self, service: str, method: str, request: Any) -> Any:
        """Call ``method`` of ``service`` at the healthiest endpoint, then at the others.

        Every request that we send may be repeated: a query changes nothing, and equal transaction bytes are one
        transaction.

        Raises
        ------
        GRPCError
            If a node answers with an error of its own.
        NodeUnreachable
            If no endpoint answers; with the words of the first one that was asked.
        """
        errors: list[NodeUnreachable] = []
        for endpoint in self._order():
            try:
                answer = await endpoint.call(service, method, request, self._patience())
            except NodeUnreachable as error:
                self._failed(endpoint, str(error))
                errors.append(error)
                continue
            self._succeeded(endpoint)
            return answer
        raise errors[0]

    async def height(self) -> int:
        """Return the newest height of an endpoint that is not behind the others.

        Raises
        ------
        NodeUnreachable
            If no endpoint answers.
        """
        errors: list[NodeUnreachable] = []
        best = 0
        for endpoint in self._order():
            try:
                answer = await endpoint.call("node", "get_latest_block", tm.GetLatestBlockRequest(), self._patience())
                header = answer.sdk_block.header if answer.sdk_block else answer.block.header
                found = int(header.height)
            except NodeUnreachable as error:
                self._failed(endpoint, str(error))
                errors.append(error)
                continue
            except (GRPCError, AttributeError, ValueError) as error:
                self._failed(endpoint, f"The node at {endpoint.url} does not tell its height: {error}.")
                errors.append(NodeUnreachable(f"The node at {endpoint.url} does not tell its height."))
                continue
            best = max(best, found)
            if found < self._head - _BEHIND and len(self.all) > 1:
                self._failed(endpoint, f"The node at {endpoint.url} is at block {found}, others at {self._head}.")
                continue
            self._head = max(self._head, found) if len(self.all) > 1 else found
            self._succeeded(endpoint)
            return found
        if not best:
            raise errors[0]
        self._head = best  # all of them are there: the chain itself went back, or was the one ahead on another chain
        return best

    def close(self) -> None:
        """Close every connection."""
        for endpoint in self.all:
            endpoint.close()

    def _order(self) -> list[Endpoint]:
        now = time.monotonic()
        return sorted(
            self.all, key=lambda item: (max(item.rest_until - now, 0.0), item is not self.current)
        )  # stable: among the healthy ones the order in which they were given

    def _patience(self) -> float:
        return self.deadline if len(self.all) == 1 else min(self.deadline, _HASTE)

    def _failed(self, endpoint: Endpoint, why: str) -> None:
        if not endpoint.failures and len(self.all) > 1:
            _LOG.warning("%s Others are asked.", why)
        endpoint.rest_until = time.monotonic() + min(_FIRST_REST * 2.0 ** min(endpoint.failures, 10), _LONGEST_REST)
        endpoint.failures += 1

    def _succeeded(self, endpoint: Endpoint) -> None:
        endpoint.failures, endpoint.rest_until = 0, 0.0
        if endpoint is not self.current:
            _LOG.warning("the node at %s takes over from %s", endpoint.url, self.current.url)
            self.current = endpoint
            self.switches += 1


class Pinned:
    """One endpoint only, so that several answers tell of one node's state."""

    def __init__(self, endpoint: Endpoint, deadline: float) -> None:
        self._endpoint, self._deadline = endpoint, deadline

    async def call(self, service: str, method: str, request: Any) -> Any:
        """Call ``method``; raises as :meth:`Endpoints.call`."""
        return await self._endpoint.call(service, method, request, self._deadline)

    async def height(self) -> int:
        """Return the height of this one endpoint."""
        answer = await self.call("node", "get_latest_block", tm.GetLatestBlockRequest())
        block = answer.sdk_block or answer.block
        if block is None or block.header is None:
            raise ChainError(f"The node at {self._endpoint.url} does not tell its height.")
        return int(block.header.height)
