"""What all groups of queries share: finding the topic and the nonce that a request names."""

from __future__ import annotations

from typing import Any

from grpclib import GRPCError, Status

from crucible.localnet.core import Core
from crucible.localnet.topic import Nonce, Topic


class Queries:
    """Looks things up in ``core``; what a lagging node has not seen yet is not there."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def topic(self, request: Any) -> Topic:
        """Return the topic that ``request.topic_id`` names, or fail with NOT_FOUND."""
        if request.topic_id not in self.core.topics:
            raise GRPCError(Status.NOT_FOUND, f"topic {request.topic_id} not found")
        return self.core.topics[request.topic_id]

    def nonces(self, topic: Topic) -> list[Nonce]:
        """Return the topic's nonces, ascending."""
        seen = self.core.seen_height
        return [nonce for height, nonce in sorted(topic.nonces.items()) if height <= seen]

    def nonce(self, request: Any, height: int) -> Nonce:
        """Return a nonce of the request's topic, or fail with NOT_FOUND."""
        nonce = self.topic(request).nonces.get(height)
        if nonce is None or height > self.core.seen_height:
            raise GRPCError(Status.NOT_FOUND, f"nothing is stored for block {height} of topic {request.topic_id}")
        return nonce
