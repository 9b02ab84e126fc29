"""What the state machine must know of a role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from crucible.chain.answers import TopicInfo
from crucible.chain.client import ChainClient
from crucible.chain.transaction import Message
from crucible.chain.wallet import Wallet
from crucible.worker.journal import Row


@dataclass(frozen=True)
class Answer:
    """What is to be submitted for one nonce.

    Attributes
    ----------
    value : float or None
        An inferer's, in the topic's units.
    payload : str or None
        A forecaster's or reputer's, as JSON.
    predicted_for : str
        The prediction time t, ISO, UTC.
    bundle : str
        Digest of the bundle that gave it; empty where none did.
    model_version : int
        Its registry version.
    rung : str
        Which rung of the fallback ladder gave it.
    """

    value: float | None = None
    payload: str | None = None
    predicted_for: str = ""
    bundle: str = ""
    model_version: int = 0
    rung: str = "champion"


class Role(Protocol):
    """A role, without what it computes."""

    name: str
    """As the journal and the deployment name it."""

    def window(self, topic: TopicInfo, nonce: int) -> tuple[int, int]:
        """Return the first and the last block that may hold a payload for ``nonce``."""
        ...

    async def nonces(self, client: ChainClient, topic: TopicInfo) -> list[int]:
        """Return the nonces that wait for payloads, ascending; windows that are not open yet may be among them."""
        ...

    def message(self, wallet: Wallet, topic_id: int, row: Row) -> Message:
        """Return the message that submits what ``row`` records; equal rows give equal bytes."""
        ...

    async def held(self, client: ChainClient, topic_id: int, nonce: int, address: str) -> bool:
        """Return whether the chain holds a payload of ``address`` for ``nonce``."""
        ...

    async def active(self, client: ChainClient, topic_id: int, nonce: int, address: str) -> bool | None:
        """Return whether the payload is in the active set; ``None`` as long as that is open, or if there is none."""
        ...

    async def score(self, client: ChainClient, topic_id: int, nonce: int, address: str) -> float | None:
        """Return the score for ``nonce``, or ``None`` as long as there is none."""
        ...
