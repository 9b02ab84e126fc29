"""Windows that came and went unseen: found out afterwards, so that the journal accounts for every one."""

from __future__ import annotations

from itertools import pairwise

from crucible.chain.answers import TopicInfo
from crucible.chain.client import ChainClient
from crucible.worker.journal import Journal, Row
from crucible.worker.reasons import Reason
from crucible.worker.roles.role import Role

_EPOCHS = 64  # so far back is looked, from any nonce that follows a gap


class Hindsight:
    """Looks for the windows of one topic between those that the journal knows.

    The chain lists the nonces whose truth is still to come; what lies further back is guessed from the epoch's length,
    and counts if the chain holds anybody's inferences for it. An epoch in which nobody submitted leaves no trace.

    Parameters
    ----------
    client : ChainClient
        Who is asked.
    journal : Journal
        Where it is recorded.
    role : Role
        Whose windows; a reputer's are listed by the chain until they are over for everybody.
    address : str
        The worker's.
    """

    def __init__(self, client: ChainClient, journal: Journal, role: Role, address: str) -> None:
        self._client, self._journal, self._role, self._address = client, journal, role, address
        self._told = 0

    async def look(self, topic: TopicInfo) -> list[Row]:
        """Record every window that passed unseen before the newest that is known; return the new rows.

        Costs nothing while there is no newer nonce than at the last look.

        Raises
        ------
        NodeUnreachable
            If the node does not answer; the next look begins where this one did.
        """
        newest = self._journal.newest()
        if newest <= self._told or self._role.name == "reputer":
            return []
        known = self._journal.nonces(self._told or newest - 2 * _EPOCHS * topic.epoch_length)
        found = []
        for before, after in pairwise(known):
            unseen = await self._between(topic, before, after)
            found += [await self._record(topic, nonce) for nonce in unseen]
        self._told = newest
        return found

    async def _between(self, topic: TopicInfo, before: int, after: int) -> list[int]:
        if after - before <= topic.worker_window:
            return []  # no window fits in between
        sure = {nonce for nonce in await self._client.reputer_nonces(topic.id) if before < nonce < after}
        steps = range(topic.epoch_length, after - before, topic.epoch_length)[:_EPOCHS]
        guessed = sorted({nonce for step in steps for nonce in (before + step, after - step)} - sure)
        there = [nonce for nonce in guessed if await self._client.active_set(topic.id, nonce)]
        return sorted(sure.union(there))

    async def _record(self, topic: TopicInfo, nonce: int) -> Row:
        self._journal.seen(nonce, self._role.window(topic, nonce)[1])
        if await self._role.held(self._client, topic.id, nonce, self._address):
            words = "the chain holds an earlier value of this worker"
            return self._journal.move(nonce, "included", reason_code=Reason.EARLIER_VALUE, reason=words)
        words = "the window came and went unseen: the worker was not running, or reached no node"
        return self._journal.move(nonce, "missed", reason_code=Reason.UNSEEN, reason=words)
