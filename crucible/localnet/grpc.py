"""The node's gRPC face: which method answers with what, and how calls fail while a fault is on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from crucible.localnet.core import Core
from crucible.localnet.emissions import emissions_methods
from crucible.localnet.query_chain import ChainQueries
from crucible.wire_types import refuse_ill_typed

_LOG = logging.getLogger(__name__)
_HTTP = ("403", "429", "500", "502", "503", "504")


class Service:
    """Serves a :class:`Core` over grpclib."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def __mapping__(self) -> dict[str, Handler]:
        """Return the methods by path, as grpclib asks for them."""
        methods = {**ChainQueries(self.core).methods(), **emissions_methods(self.core)}
        return {
            path: Handler(self._unary(answer), Cardinality.UNARY_UNARY, request, response)
            for path, (answer, request, response) in methods.items()
        }

    def _unary(self, answer: Callable[[Any], Any]) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        async def serve(stream: Stream[Any, Any]) -> None:
            if await self._failed(stream):
                return
            try:
                request = await stream.recv_message()
                refuse_ill_typed(request)
            except (GRPCError, asyncio.CancelledError, OSError):
                raise
            except Exception as error:  # the decoder's own errors are of many kinds
                raise GRPCError(Status.INVALID_ARGUMENT, f"the request cannot be decoded: {error}"[:300]) from error
            try:
                response = answer(request)
            except GRPCError:
                raise
            except Exception as error:
                _LOG.exception("a query failed")
                raise GRPCError(Status.INTERNAL, f"{type(error).__name__} in localnet") from error
            await stream.send_message(response)

        return serve

    async def _failed(self, stream: Stream[Any, Any]) -> bool:
        faults = self.core.faults
        if faults.take("rpc-hang"):
            await asyncio.Event().wait()
        for status in _HTTP:
            if faults.take(f"rpc-{status}"):
                # as a proxy in front of a node answers: an HTTP status, and nothing of gRPC
                headers = [(":status", status), ("content-type", "text/plain")]
                await stream._stream.send_headers(headers, end_stream=True)
                stream._send_trailing_metadata_done = True
                if stream._stream.closable:
                    stream._stream.reset_nowait()
                return True
        return False
