"""The state of a topic between two epochs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import EllipsisType

import numpy as np

from crucible.network.actors import Actors
from crucible.network.layout import COMBINED, NAIVE
from crucible.network.parameters import Parameters

Places = np.ndarray | None
Grid = tuple[EllipsisType, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class TopicState:
    """Everything that a topic carries from one epoch to the next; leading axes are scenarios.

    Attributes
    ----------
    inferers, forecasters, reputers : Actors
        Everybody who ever took part.
    regrets : numpy.ndarray
        Shape (..., networks, workers) of all known workers, in the order of ``Layout``; NaN where nothing is stored.
    initial_regret : numpy.ndarray
        Shape (...,): given to new workers; exactly 0 as long as all are new.
    network_loss : numpy.ndarray
        Shape (...,), log10: of the combined network in the last completed epoch; NaN before the first.
    tau : numpy.ndarray
        Shape (...,): the smoothed ratio that decides on the forecasters' share.
    """

    inferers: Actors
    forecasters: Actors
    reputers: Actors
    regrets: np.ndarray
    initial_regret: np.ndarray
    network_loss: np.ndarray
    tau: np.ndarray

    @classmethod
    def new(cls, params: Parameters, *, initial_regret: float = 0.0, batch: tuple[int, ...] = ()) -> TopicState:
        """Return the state of a topic that has had no epoch, in scenarios of shape ``batch``."""
        return cls(
            Actors.none(params.score_window(params.max_top_inferers), batch),
            Actors.none(params.score_window(params.max_top_forecasters), batch),
            Actors.none(0, batch),
            np.full((*batch, 2, 0), np.nan),
            np.full(batch, float(initial_regret)),
            np.full(batch, np.nan),
            np.zeros(batch),
        )

    def enrolled(
        self, inferers: tuple[str, ...], forecasters: tuple[str, ...], reputers: tuple[str, ...]
    ) -> TopicState:
        """Return the state with room for those who take part for the first time."""
        known = (self.inferers.names, self.forecasters.names, self.reputers.names)
        if (inferers, forecasters, reputers) == known:
            return self
        if all(set(names) <= set(old) for names, old in zip((inferers, forecasters, reputers), known, strict=True)):
            return self
        first, rows_j = self.inferers.enrolled(inferers)
        second, rows_k = self.forecasters.enrolled(forecasters)
        third, _ = self.reputers.enrolled(reputers)
        n, k = len(first.names), len(second.names)
        grid = _grid(n, k, rows_j, rows_k)
        regrets = np.full((*self.regrets.shape[:-2], 2 + n + 2 * k, n + k), np.nan)
        regrets[grid] = self.regrets
        return replace(self, inferers=first, forecasters=second, reputers=third, regrets=regrets)

    def grid(self, inferers: Places, forecasters: Places) -> Grid | None:
        """Return the index into :attr:`regrets` of workers at these places; ``None`` if they are all."""
        if inferers is None and forecasters is None:
            return None
        n, k = len(self.inferers.names), len(self.forecasters.names)
        some = (
            np.arange(n) if inferers is None else inferers,
            np.arange(k) if forecasters is None else forecasters,
        )
        return _grid(n, k, *some)


def _grid(n: int, k: int, inferers: np.ndarray, forecasters: np.ndarray) -> Grid:
    rows = np.concatenate(
        [[COMBINED, NAIVE], 2 + inferers, 2 + n + forecasters, 2 + n + k + forecasters], dtype=int, casting="unsafe"
    )
    return ..., rows[:, None], np.concatenate([inferers, n + forecasters])[None, :]
