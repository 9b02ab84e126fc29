"""Inference synthesis in its first form: equal weights, as a topic of newcomers has them.

Losses are in log10, as the chain holds them: differences of losses are orders of magnitude.
"""

from __future__ import annotations

import numpy as np

from crucible.network.averages import ema
from crucible.network.losses import network_losses
from crucible.network.scores import inferer_scores

__all__ = ["combine", "ema", "inferer_scores", "network_losses", "one_outs"]


def combine(inferences: np.ndarray) -> float:
    """Return the network inference: the mean of ``inferences`` (n,), n ≥ 1."""
    return float(np.mean(inferences))


def one_outs(inferences: np.ndarray) -> np.ndarray:
    """Return, for each of n ≥ 2 inferences, the network inference without it, shape (n,)."""
    n = len(inferences)
    return (np.sum(inferences) - inferences) / (n - 1)
