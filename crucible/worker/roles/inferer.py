"""The inferer: one value per epoch."""

from __future__ import annotations

from crucible.chain import payloads
from crucible.chain.answers import TopicInfo
from crucible.chain.client import ChainClient
from crucible.chain.transaction import Message
from crucible.chain.wallet import Wallet
from crucible.worker.journal import Row


class Inferer:
    """Submits inferences; see :class:`~crucible.worker.roles.role.Role`."""

    name = "inferer"

    def window(self, topic: TopicInfo, nonce: int) -> tuple[int, int]:
        """Return the first and last block of the worker window."""
        return nonce, nonce + topic.worker_window

    async def nonces(self, client: ChainClient, topic: TopicInfo) -> list[int]:
        """Return the unfulfilled worker nonces."""
        return await client.open_nonces(topic.id)

    def message(self, wallet: Wallet, topic_id: int, row: Row) -> Message:
        """Return the worker payload that carries the row's value."""
        assert row.value is not None
        return payloads.inference(wallet, topic_id, row.nonce, row.value)

    async def held(self, client: ChainClient, topic_id: int, nonce: int, address: str) -> bool:
        """Return whether the chain holds an inference."""
        return await client.inference(topic_id, nonce, address) is not None

    async def active(self, client: ChainClient, topic_id: int, nonce: int, address: str) -> bool | None:
        """Return whether the inference counts, once the window has closed."""
        members = await client.active_set(topic_id, nonce)
        return None if members is None else address in members

    async def score(self, client: ChainClient, topic_id: int, nonce: int, address: str) -> float | None:
        """Return the inferer's score."""
        return await client.score(topic_id, nonce, address)
