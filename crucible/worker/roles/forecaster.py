"""The forecaster: how large each inferer's loss will be this epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from crucible.chain import payloads
from crucible.chain.answers import NetworkInference, TopicInfo
from crucible.chain.client import ChainClient
from crucible.chain.transaction import Message
from crucible.chain.wallet import Wallet
from crucible.errors import ChainError, NodeUnreachable, Withheld
from crucible.worker.journal import Row
from crucible.worker.reasons import Reason
from crucible.worker.roles.role import Answer

_EPOCHS = 24  # of history; the chain keeps more, and older losses say little
_ELEMENTS = 12  # the chain cuts a forecast to so many inferers


@dataclass(frozen=True)
class Epoch:
    """What became of one epoch.

    Attributes
    ----------
    nonce : int
        Its block height.
    network : NetworkInference
        What the network answered, and each inferer.
    losses : mapping of str to float
        Log10 loss of each inferer.
    network_loss : float
        Log10 loss of the combined network.
    """

    nonce: int
    network: NetworkInference
    losses: Mapping[str, float]
    network_loss: float


class ForecastModel(Protocol):
    """Forecasts losses."""

    def forecast(self, history: Sequence[Epoch]) -> Mapping[str, float]:
        """Return the log10 loss that each inferer is expected to have, by address; ``history`` is oldest first."""
        ...


class Forecaster:
    """Submits forecasts; see :class:`~crucible.worker.roles.role.Role`.

    Parameters
    ----------
    model : ForecastModel
        What forecasts.
    """

    name = "forecaster"

    def __init__(self, model: ForecastModel) -> None:
        self._model = model
        self._known: dict[int, Epoch] = {}

    async def answer(self, client: ChainClient, topic: TopicInfo, nonce: int) -> Answer:
        """Gather the history and forecast.

        Raises
        ------
        Withheld
            If nobody was scored yet, or the model's answer is no forecast.
        """
        history = await self.history(client, topic, nonce)
        if not history:
            raise Withheld(Reason.MODEL_FAILED, "There are no losses yet from which one could forecast.")
        try:
            found = {address: float(loss) for address, loss in self._model.forecast(history).items()}
        except Exception as error:
            raise Withheld(Reason.MODEL_FAILED, f"The forecast failed with {type(error).__name__}: {error}") from error
        if not found or not all(math.isfinite(loss) for loss in found.values()):
            raise Withheld(Reason.MODEL_ABSURD, "The forecast is empty, or holds a loss that is not finite.")
        kept = dict(sorted(found.items(), key=lambda item: item[1])[:_ELEMENTS])  # those who are expected to be best
        newest = history[-1].nonce
        return Answer(payload=json.dumps(kept, sort_keys=True), predicted_for=f"losses up to nonce {newest}")

    async def history(self, client: ChainClient, topic: TopicInfo, nonce: int) -> list[Epoch]:
        """Return the newest epochs whose losses are known, oldest first; what is known already is not asked again."""
        newest = nonce - topic.ground_truth_lag - topic.epoch_length
        wanted = [newest - back * topic.epoch_length for back in range(_EPOCHS)]
        for past in [past for past in wanted if past > 0 and past not in self._known]:
            losses = await client.losses(topic.id, past)
            network = await client.network(topic.id, past) if losses else None
            if losses and network:
                self._known[past] = Epoch(past, network, losses.inferers, losses.combined)
        self._known = {past: self._known[past] for past in sorted(self._known)[-_EPOCHS:]}
        return list(self._known.values())

    def window(self, topic: TopicInfo, nonce: int) -> tuple[int, int]:
        """Return the first and last block of the worker window."""
        return nonce, nonce + topic.worker_window

    async def nonces(self, client: ChainClient, topic: TopicInfo) -> list[int]:
        """Return the unfulfilled worker nonces."""
        return await client.open_nonces(topic.id)

    def message(self, wallet: Wallet, topic_id: int, row: Row) -> Message:
        """Return the worker payload that carries the row's forecast."""
        assert row.payload is not None
        return payloads.forecast(wallet, topic_id, row.nonce, json.loads(row.payload))

    async def held(self, client: ChainClient, topic_id: int, nonce: int, address: str) -> bool:
        """Return whether the chain holds a forecast."""
        return bool(await self.active(client, topic_id, nonce, address))

    async def active(self, client: ChainClient, topic_id: int, nonce: int, address: str) -> bool | None:
        """Return whether the forecast counts, once the window has closed."""
        try:
            members = await client.forecasters(topic_id, nonce)
        except NodeUnreachable:
            raise
        except ChainError:
            return None  # a node that does not answer this says nothing about it
        return None if members is None else address in members

    async def score(self, client: ChainClient, topic_id: int, nonce: int, address: str) -> float | None:
        """Return the forecaster's score."""
        return await client.score(topic_id, nonce, address, role=self.name)
