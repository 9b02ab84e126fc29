"""The forecast model of a deployed forecaster: what it learns from the losses that the chain still keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crucible.worker.roles.forecaster import Epoch


class LearnedForecast:
    """Learns from the whole history anew each time, so that a restart forgets nothing that the chain remembers.

    A few dozen epochs take milliseconds. See :class:`crucible.network.forecaster.Forecaster`.
    """

    def forecast(self, history: Sequence[Epoch]) -> Mapping[str, float]:
        """Return the log10 loss that each inferer of the newest epoch is expected to have, by address."""
        import numpy as np

        from crucible.network.forecaster import Forecaster
        from crucible.network.parameters import Parameters

        model = Forecaster.new()
        for epoch in history:
            names = tuple(sorted(epoch.losses))
            said = np.array([epoch.network.inferers.get(name, np.nan) for name in names])
            model = model.learned(names, said, np.array([epoch.losses[name] for name in names]))
        # the last epoch's inferences stand for those of this one, which nobody has seen yet; what the network itself
        # lost is not among the losses, so the level is that of the field
        found = model.forecast(names, said, float("nan"), Parameters())
        return dict(zip(names, found.tolist(), strict=True))
