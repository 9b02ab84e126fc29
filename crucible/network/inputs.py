"""What happens in one epoch: who infers, forecasts and reports what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import lt

import numpy as np

from crucible.errors import MechanismError
from crucible.network.losses import Report
from crucible.network.masks import every, some


@dataclass(frozen=True)
class EpochInputs:
    """One epoch of the active participants; leading axes are scenarios, which share their participants.

    Attributes
    ----------
    inferers, forecasters, reputers : tuple of str
        Addresses, ascending and each once, of those who take part: one inferer and one reputer at least.
    inferences : numpy.ndarray
        Shape (..., n), topic units.
    forecasts : numpy.ndarray
        Shape (..., K, n), log10 losses; NaN where a forecaster says nothing about an inferer.
    stakes : numpy.ndarray
        Shape (..., M), positive.
    losses : numpy.ndarray or Callable
        Log10 losses (..., M, layout.reported or layout.size) in the order of ``Layout``, NaN where a reputer reports
        nothing; or a function that makes them from the epoch's ``Synthesis``.
    topic_reward : float or numpy.ndarray
        Shape (...,), base units.
    absent : numpy.ndarray, optional
        Bool, shape (..., n): inferers that take no part in a scenario, since a batch shares its names; two others at
        least do. What they infer, and what is forecast of them, is not read.
    """

    inferers: tuple[str, ...]
    inferences: np.ndarray
    forecasters: tuple[str, ...]
    forecasts: np.ndarray
    reputers: tuple[str, ...]
    stakes: np.ndarray
    losses: np.ndarray | Report
    topic_reward: float | np.ndarray = 0.0
    absent: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        inferences: Mapping[str, float],
        forecasts: Mapping[str, Mapping[str, float]],
        stakes: Mapping[str, float],
        losses: np.ndarray | Report,
        topic_reward: float = 0.0,
    ) -> EpochInputs:
        """Return the inputs of one scenario from values by address.

        Forecasts of workers that do not infer in this epoch are dropped, as on the chain. Rows of ``losses`` are in the
        order of the reputers' addresses.
        """
        inferers, forecasters, reputers = (tuple(sorted(names)) for names in (inferences, forecasts, stakes))
        matrix = [[forecasts[k].get(j, np.nan) for j in inferers] for k in forecasters]
        return cls(
            inferers,
            np.array([inferences[j] for j in inferers], dtype=float),
            forecasters,
            np.array(matrix, dtype=float).reshape(len(forecasters), len(inferers)),
            reputers,
            np.array([stakes[m] for m in reputers], dtype=float),
            losses,
            topic_reward,
        )

    def check(self) -> None:
        """Raise :class:`MechanismError` unless the chain could compute this epoch."""
        for kind, names in (
            ("inferer", self.inferers),
            ("forecaster", self.forecasters),
            ("reputer", self.reputers),
        ):
            if not all(map(lt, names, names[1:])):
                twice = sorted({name for name in names if names.count(name) > 1})
                raise MechanismError(
                    f"{kind} {twice[0]} appears twice" if twice else f"the {kind}s are not in the order of addresses"
                )
        if not self.inferers or not self.reputers:
            raise MechanismError(f"the epoch is empty: {len(self.inferers)} inferers, {len(self.reputers)} reputers")
        n, k, m = len(self.inferers), len(self.forecasters), len(self.reputers)
        for name, array, shape in (
            ("inferences", self.inferences, (n,)),
            ("forecasts", self.forecasts, (k, n)),
            ("stakes", self.stakes, (m,)),
        ):
            if array.shape[-len(shape) :] != shape:
                raise MechanismError(f"{name} have the shape {array.shape}; it must end in {shape}")
        finite = np.isfinite(self.inferences)
        if self.absent is not None:
            if self.absent.shape != self.inferences.shape:
                raise MechanismError(f"absent has the shape {self.absent.shape}, inferences {self.inferences.shape}")
            if some((~self.absent).sum(-1) < 2):
                raise MechanismError("fewer than two inferers take part in a scenario of a batch")
            finite |= self.absent
        if not every(finite):
            raise MechanismError("an inference is NaN or infinite")
        if some(np.isinf(self.forecasts)):
            raise MechanismError("a forecast is infinite")
        if not every((self.stakes > 0) & (self.stakes < np.inf)):
            raise MechanismError("a stake is 0, negative or not finite; the chain accepts no such reputer")
        if not every(np.isfinite(self.topic_reward)) or np.any(np.less(self.topic_reward, 0)):
            raise MechanismError("the topic's reward is negative or not finite")
