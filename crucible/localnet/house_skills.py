"""How skilful the house actors are: a simple strategy and some noise for each competitor, a memory for forecasters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crucible.localnet.bundles import of
from crucible.localnet.topic import Topic

Strategy = Callable[[np.ndarray], float]


def _zero(closes: np.ndarray) -> float:
    return 0.0


def _momentum(closes: np.ndarray) -> float:
    return 0.1 * float(np.log(closes[-1] / closes[-4]))


def _reversal(closes: np.ndarray) -> float:
    return -0.1 * float(np.log(closes[-1] / closes[-2]))


STRATEGIES: tuple[tuple[str, Strategy], ...] = (("zero", _zero), ("momentum", _momentum), ("reversal", _reversal))
"""Predicted log return from closes, oldest first."""

_NOISE_STEP = 0.15


@dataclass(frozen=True)
class Competitor:
    """A strategy and its noise.

    Attributes
    ----------
    noise : float
        Standard deviation of what is added to the prediction, in those of the market's returns: 0 is as good as the
        strategy, 1 twice as bad as saying nothing.
    """

    strategy: Strategy
    noise: float

    def predict(self, closes: np.ndarray, generator: np.random.Generator) -> float:
        """Return the predicted log return after ``closes`` (n,), oldest first."""
        deviation = float(np.diff(np.log(closes)).std())
        return self.strategy(closes) + self.noise * deviation * float(generator.normal())


@dataclass(frozen=True)
class Forecaster:
    """Expects of every inferer the mean of its newest losses.

    Attributes
    ----------
    memory : int
        How many settled epochs it looks back.
    noise : float
        Standard deviation of what is added to a log10 loss.
    """

    memory: int
    noise: float

    def forecast(self, topic: Topic, generator: np.random.Generator) -> dict[str, float]:
        """Return expected log10 losses by inferer; empty while nothing is settled."""
        settled = [nonce for _, nonce in sorted(topic.nonces.items()) if nonce.network_losses]
        past: dict[str, list[float]] = {}
        for nonce in settled[-self.memory :]:
            for name, loss in of(nonce.network_losses, "inferer").items():
                past.setdefault(name, []).append(loss)
        return {
            name: float(np.mean(losses)) + self.noise * float(generator.normal())
            for name, losses in sorted(past.items())
        }


def competitors(count: int) -> list[Competitor]:
    """Return ``count`` competitors, strategies in turn; each is a little noisier than the one before."""
    return [Competitor(STRATEGIES[place % len(STRATEGIES)][1], place * _NOISE_STEP) for place in range(count)]


def forecasters(count: int) -> list[Forecaster]:
    """Return ``count`` forecasters; each has a shorter memory and more noise than the one before."""
    return [Forecaster(memory=max(24 >> place, 1), noise=0.1 * (place + 1)) for place in range(count)]
