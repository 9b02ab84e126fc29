"""The reputer: the losses of everything that the network inferred, by the topic's method and its own bars."""

from __future__ import annotations

import json

from crucible.chain import payloads
from crucible.chain.answers import NetworkInference, TopicInfo
from crucible.chain.client import ChainClient
from crucible.chain.transaction import Message
from crucible.chain.wallet import Wallet
from crucible.errors import ChainError, NodeUnreachable, Withheld
from crucible.worker.journal import Row
from crucible.worker.pool import ModelPool
from crucible.worker.reasons import Reason
from crucible.worker.roles.role import Answer

_PARTS = ("inferers", "forecasters", "without", "without_forecaster", "with_only")


class Reputer:
    """Submits losses; see :class:`~crucible.worker.roles.role.Role`.

    Parameters
    ----------
    pool : ModelPool
        Whose bars tell the truth.
    recipe : str
        By which recipe's bars.
    """

    name = "reputer"

    def __init__(self, pool: ModelPool, recipe: str) -> None:
        self._pool, self._recipe = pool, recipe

    async def answer(self, client: ChainClient, topic: TopicInfo, nonce: int, seconds: float) -> Answer:
        """Compare what the network said at ``nonce`` with what came of it.

        Raises
        ------
        Withheld
            If there is no network inference, or the bars do not tell the truth yet.
        """
        network = await client.network(topic.id, nonce)
        if network is None:
            raise Withheld(Reason.MODEL_FAILED, f"The network inferred nothing at nonce {nonce}.")
        at = (await client.block_time(nonce)).isoformat()
        found = await self._pool.losses(self._recipe, at, flat(network), topic.loss_method, seconds)
        return Answer(payload=json.dumps(found, sort_keys=True), predicted_for=at)

    def window(self, topic: TopicInfo, nonce: int) -> tuple[int, int]:
        """Return the first and last block that may hold losses of ``nonce``: one epoch, on the epochs' grid."""
        start = nonce + topic.ground_truth_lag + (-topic.ground_truth_lag) % topic.epoch_length
        return start, start + topic.epoch_length

    async def nonces(self, client: ChainClient, topic: TopicInfo) -> list[int]:
        """Return the reputer nonces in flight; most of their windows are not open yet."""
        return await client.reputer_nonces(topic.id)

    def message(self, wallet: Wallet, topic_id: int, row: Row) -> Message:
        """Return the reputer payload that carries the row's losses."""
        assert row.payload is not None
        return payloads.losses(wallet, topic_id, row.nonce, unflat(json.loads(row.payload)))

    async def held(self, client: ChainClient, topic_id: int, nonce: int, address: str) -> bool:
        """Return whether the chain holds losses of this reputer."""
        return bool(await self.active(client, topic_id, nonce, address))

    async def active(self, client: ChainClient, topic_id: int, nonce: int, address: str) -> bool | None:
        """Return whether the losses count; ``None`` if the node does not say."""
        try:
            members = await client.reporters(topic_id, nonce)
        except NodeUnreachable:
            raise
        except ChainError:
            return None
        return None if members is None else address in members

    async def score(self, client: ChainClient, topic_id: int, nonce: int, address: str) -> float | None:
        """Return the reputer's score."""
        try:
            return await client.score(topic_id, nonce, address, role=self.name)
        except NodeUnreachable:
            raise
        except ChainError:
            return None


def flat(network: NetworkInference) -> dict[str, float]:
    """Return every value of a network inference under one name: ``combined``, ``inferers:<address>`` and so on."""
    parts = {f"{part}:{name}": value for part in _PARTS for name, value in getattr(network, part).items()}
    return {"combined": network.combined, "naive": network.naive, **parts}


def unflat(losses: dict[str, float]) -> payloads.Losses:
    """Return the losses of what :func:`flat` names."""
    parts: dict[str, dict[str, float]] = {part: {} for part in _PARTS}
    for name, value in losses.items():
        part, separator, address = name.partition(":")
        if separator:
            parts[part][address] = value
    return payloads.Losses(combined=losses["combined"], naive=losses["naive"], **parts)
