"""The fallback ladder: who answers when the champion cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable

from crucible.chain.answers import NetworkInference
from crucible.chain.client import ChainClient
from crucible.errors import ChainError, CrucibleError, Withheld
from crucible.worker.deployment import Deployment
from crucible.worker.pool import Loaded, ModelPool, Predicted
from crucible.worker.reasons import Reason
from crucible.worker.roles.role import Answer
from crucible.worker.sanity import require_sane_value

_LOG = logging.getLogger(__name__)
_OWN_SHARE = 0.5  # of a window, that the champion has for itself
_LONGEST = 30.0  # seconds; a model that takes longer hangs, however long the window is


class Ladder:
    """Answers for one deployment: the champion, or the first rung below it that can.

    In the first half of a window the champion is asked alone, as often as it takes: most failures (an exchange that
    hiccups, a process that is replaced) pass. After that each attempt goes down the ladder.

    Parameters
    ----------
    pool : ModelPool
        Who predicts.
    client : ChainClient
        Asked for the network's last inference.
    topic_id : int
        The topic.
    window : callable
        Returns how many real seconds a window has for an answer.
    """

    def __init__(self, pool: ModelPool, client: ChainClient, topic_id: int, window: Callable[[], float]) -> None:
        self._pool, self._client, self._topic_id, self._window = pool, client, topic_id, window
        self._network: NetworkInference | None = None

    async def ask(self, seconds: float, champion: Loaded, previous: Deployment | None) -> Answer:
        """Return what to submit, within ``seconds``.

        Parameters
        ----------
        seconds : float
            Real seconds that the window leaves.
        champion : Loaded
            What is served.
        previous : Deployment or None
            What was served before, for the rung ``previous``.

        Raises
        ------
        Withheld
            With the champion's reason, or ``abstained``.
        """
        rungs = [rung for rung in champion.fallback if rung != "previous" or previous is not None]
        kept = _OWN_SHARE * self._window()
        if seconds > kept and len(rungs) > 1:
            return await self._rung("champion", min(seconds - kept, _LONGEST), champion, previous)
        first: CrucibleError | None = None
        left = len(rungs)
        for rung in rungs:
            if rung == "abstain":
                raise Withheld(Reason.ABSTAINED, f"Every rung failed, the champion so: {first}")
            try:
                return await self._rung(rung, min(seconds / left, _LONGEST), champion, previous)
            except CrucibleError as error:
                _LOG.warning("%s: %s: %s", champion.deployment.recipe, rung, error)
                first = first or error
        assert first is not None
        raise first

    async def look(self) -> NetworkInference | None:
        """Fetch the network's newest inference; to be called outside of a window, so that none is spent on it."""
        try:
            self._network = await self._client.network(self._topic_id)
        except ChainError as error:  # without it the check of the distance is left out, and nothing else
            _LOG.info("topic %d: no network inference: %s", self._topic_id, error)
        return self._network

    async def _rung(self, rung: str, seconds: float, champion: Loaded, previous: Deployment | None) -> Answer:
        if rung == "network":
            network = await self.look()
            if network is None:
                raise Withheld(Reason.MODEL_FAILED, "There is no network inference to repeat.")
            return Answer(network.combined, rung=rung, predicted_for=f"nonce {network.nonce}")
        served = champion.deployment if rung != "previous" or previous is None else previous
        found = await self._pool.predict(served.recipe, served.bundle, rung, seconds)
        self._check(found, champion)
        return Answer(
            found.value, predicted_for=found.time, bundle=served.bundle, model_version=served.model_version, rung=rung
        )

    def _check(self, found: Predicted, champion: Loaded) -> None:
        require_sane_value(
            found.value, champion.target, self._network,
            close=found.close, scale=found.scale, distance=champion.distance,
        )  # fmt: skip
