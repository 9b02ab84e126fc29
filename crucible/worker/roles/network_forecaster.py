"""The network room's forecaster, fed from a worker's history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from crucible.network.forecaster import Forecaster
from crucible.network.parameters import Parameters
from crucible.worker.roles.forecaster import Epoch


class LearningForecast:
    """Learns each epoch once, oldest first; forecasts for those who answered last.

    Parameters
    ----------
    parameters : Parameters, optional
        How the network makes weights of forecasts; the chain's defaults by default.
    """

    def __init__(self, parameters: Parameters | None = None) -> None:
        self._parameters = parameters or Parameters()
        self._model = Forecaster.new()
        self._learned = 0  # the newest nonce

    def forecast(self, history: Sequence[Epoch]) -> Mapping[str, float]:
        """Return the log10 loss that each inferer of the newest epoch is expected to have, by address."""
        for epoch in history:
            if epoch.nonce > self._learned:
                names, inferences = _field(epoch)
                losses = np.array([epoch.losses.get(name, np.nan) for name in names])
                self._model = self._model.learned(names, inferences, losses)
                self._learned = epoch.nonce
        names, inferences = _field(history[-1])
        found = self._model.forecast(names, inferences, history[-1].network_loss, self._parameters)
        return dict(zip(names, found.tolist(), strict=True))


def _field(epoch: Epoch) -> tuple[tuple[str, ...], np.ndarray]:
    names = tuple(sorted(set(epoch.losses) & set(epoch.network.inferers)))
    return names, np.array([epoch.network.inferers[name] for name in names])
