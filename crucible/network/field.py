"""The other workers of a topic: recorded inferences, or a made-up field of known size and skill."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from crucible.errors import MechanismError

BLOCK = 256  # epochs that are drawn together, so that any stretch of a made-up field is the same whenever it is asked


@dataclass(frozen=True)
class Truth:
    """What the workers of a topic are asked for, epoch by epoch, in topic units.

    Attributes
    ----------
    values : numpy.ndarray
        Shape (epochs,): the truth.
    reference : numpy.ndarray
        Shape (epochs,): what somebody without any skill would say: 0 for returns, the present price for prices.
    scale : numpy.ndarray
        Shape (epochs,), positive: standard deviation of ``values − reference`` as known before the epoch.
    """

    values: np.ndarray
    reference: np.ndarray
    scale: np.ndarray

    def __post_init__(self) -> None:
        if not self.values.shape == self.reference.shape == self.scale.shape or self.values.ndim != 1:
            raise MechanismError("truth, reference and scale must be lists of equal length")
        if not all(np.isfinite(item).all() for item in (self.values, self.reference, self.scale)):
            raise MechanismError("a truth, a reference or a scale is NaN or infinite")
        if not (self.scale > 0).all():
            raise MechanismError("a scale is not above 0")

    @classmethod
    def of(cls, values: np.ndarray, reference: np.ndarray | None = None, scale: np.ndarray | None = None) -> Truth:
        """Return the truth with what is not known filled in: a reference of 0, and one scale for all epochs."""
        values = np.asarray(values, dtype=float)
        base = np.zeros(values.shape) if reference is None else np.asarray(reference, dtype=float)
        if scale is None:
            if values.shape != base.shape:
                raise MechanismError("truth, reference and scale must be lists of equal length")
            scale = np.full(values.shape, float(np.std(values - base)) if values.size else 1.0)
            if not (scale > 0).all():
                raise MechanismError("the truth never moves, so there is nothing to predict")
        return cls(values, base, np.asarray(scale, dtype=float))

    @property
    def moves(self) -> np.ndarray:
        """The truth's distance from the reference in units of its scale, shape (epochs,)."""
        return (self.values - self.reference) / self.scale

    def unscaled(self, moves: np.ndarray) -> np.ndarray:
        """Return ``moves`` (epochs,) in topic units again: the inverse of :attr:`moves`."""
        return self.reference + self.scale * moves


class WorkerField(Protocol):
    """A field of ``size`` workers."""

    @property
    def size(self) -> int:
        """Number of workers."""

    def inferences(self, start: int, stop: int) -> np.ndarray:
        """Return what they infer in epochs ``start`` to ``stop``: shape (stop − start, size), NaN for who is absent."""


@dataclass(frozen=True)
class RecordedField:
    """Inferences that were recorded from the network.

    Attributes
    ----------
    values : numpy.ndarray
        Shape (epochs, workers), topic units; NaN where a worker did not infer. Two workers at least infer in each.

    Raises
    ------
    MechanismError
        Fewer than two workers in some epoch, or an infinite inference.
    """

    values: np.ndarray

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or np.isinf(self.values).any():
            raise MechanismError("recorded inferences must be a table of finite numbers, one column per worker")
        lonely = np.flatnonzero((~np.isnan(self.values)).sum(1) < 2)
        if lonely.size:
            raise MechanismError(f"fewer than two recorded workers infer in epoch {int(lonely[0])}")

    @property
    def size(self) -> int:
        """Number of workers."""
        return self.values.shape[1]

    def inferences(self, start: int, stop: int) -> np.ndarray:
        """Return epochs ``start`` to ``stop``, shape (stop − start, size); NaN for who is absent."""
        return self.values[start:stop]


@dataclass(frozen=True)
class SyntheticField:
    """A made-up field of workers who know a little about the truth.

    In units of the truth's scale, with z the truth and s a worker's skill, a worker infers
    ``s²·z + s·√(1 − s²)·(√ρ·c + √(1 − ρ)·u)``, which is the calibrated forecast whose correlation with the truth is s,
    plus a bias, plus noise of its own. c is common to all workers of the epoch, u is the worker's; both are standard
    normal, and independent from epoch to epoch.

    Attributes
    ----------
    truth : Truth
        What they are asked for.
    workers : int
        How many, at least 2.
    skill : float
        Mean correlation with the truth, over workers, of what they infer before bias and noise; below 1.
    spread : float
        From 0 to 1: skills lie evenly between ``skill·(1 − spread)`` and ``skill·(1 + spread)``.
    correlation : float
        ρ, from 0 to 1: the share that workers have in common of what is not the truth.
    noise : float
        Mean standard deviation, over workers, of what a worker adds that means nothing; from half to one and a half
        times of it. In units of the truth's scale, like ``bias``.
    bias : float
        Standard deviation, over workers, of their constant errors.
    seed : int
        Equal seeds make equal fields.
    """

    truth: Truth
    workers: int = 32
    skill: float = 0.05
    spread: float = 0.5
    correlation: float = 0.5
    noise: float = 0.05
    bias: float = 0.01
    seed: int = 0
    _traits: tuple[np.ndarray, np.ndarray, np.ndarray] = field(init=False, repr=False, compare=False)
    _moves: np.ndarray = field(init=False, repr=False, compare=False)
    _unit: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.workers < 2:
            raise MechanismError(f"a field has two workers at least, not {self.workers}")
        for name in ("spread", "correlation"):
            if not 0 <= getattr(self, name) <= 1:
                raise MechanismError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")
        if not 0 <= self.skill * (1 + self.spread) < 1:
            raise MechanismError(f"skill {self.skill} with spread {self.spread} is no correlation from 0 to below 1")
        if not (0 <= self.noise < np.inf and 0 <= self.bias < np.inf):
            raise MechanismError("noise and bias must not be negative")
        generator = np.random.default_rng([self.seed, 0])
        ladder = np.linspace(-1.0, 1.0, self.workers)
        skills = self.skill * (1 + self.spread * generator.permutation(ladder))
        noises = self.noise * (1 + 0.5 * generator.permutation(ladder))
        object.__setattr__(self, "_traits", (skills, noises, self.bias * generator.normal(size=self.workers)))
        moves = self.truth.moves
        unit = float(np.sqrt(np.mean(moves**2)))
        if not unit > 0:
            raise MechanismError("the truth never moves, so there is nothing to predict")
        object.__setattr__(self, "_moves", moves / unit)
        object.__setattr__(self, "_unit", unit)

    @property
    def size(self) -> int:
        """Number of workers."""
        return self.workers

    def inferences(self, start: int, stop: int) -> np.ndarray:
        """Return epochs ``start`` to ``stop``, shape (stop − start, size), topic units; nobody is ever absent."""
        first = start // BLOCK
        drawn = np.concatenate([self._drawn(block) for block in range(first, max(stop - 1, start) // BLOCK + 1)])
        drawn = drawn[start - first * BLOCK : stop - first * BLOCK]
        skills, noises, biases = self._traits
        luck = np.sqrt(self.correlation) * drawn[:, :1] + np.sqrt(1 - self.correlation) * drawn[:, 1 : 1 + self.size]
        moves = skills**2 * self._moves[start:stop, None] + skills * np.sqrt(1 - skills**2) * luck
        moves += biases + noises * drawn[:, 1 + self.size :]
        units = self.truth.scale[start:stop, None] * self._unit
        return self.truth.reference[start:stop, None] + units * moves

    def _drawn(self, block: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 1, block]).normal(size=(BLOCK, 1 + 2 * self.workers))


@dataclass(frozen=True)
class LaterEpochs:
    """A field from epoch ``first`` on.

    Attributes
    ----------
    field : WorkerField
        All of it.
    first : int
        The epoch that becomes epoch 0.
    """

    field: WorkerField
    first: int

    @property
    def size(self) -> int:
        """Number of workers."""
        return self.field.size

    def inferences(self, start: int, stop: int) -> np.ndarray:
        """Return epochs ``start`` to ``stop`` after the first, shape (stop − start, size); NaN for who is absent."""
        return self.field.inferences(self.first + start, self.first + stop)


def mean_inference(field: WorkerField, epochs: int) -> np.ndarray:
    """Return the plain mean of those who infer, shape (epochs,), topic units."""
    blocks = range(0, epochs, BLOCK)
    return np.concatenate([np.nanmean(field.inferences(at, min(at + BLOCK, epochs)), axis=1) for at in blocks])
