"""Who may take part in an epoch: submissions one after the other, decided by the moving averages of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crucible.errors import MechanismError
from crucible.network.averages import ema, refuse_nan


@dataclass(frozen=True)
class Admission:
    """The outcome of an epoch's submissions.

    Attributes
    ----------
    active : tuple of str
        Who takes part, in the order of addresses.
    score_emas : dict
        Address -> moving average of all that had one; those turned away moved towards the topic's quantile.
    """

    active: tuple[str, ...]
    score_emas: dict[str, float]


def passive_score_ema(quantile: float, previous: float | None, alpha: float) -> float:
    """Return the moving average of somebody who was turned away: a step towards the last stored quantile of scores."""
    return ema(alpha, quantile, previous)


def admit(
    submitters: Sequence[str], score_emas: Mapping[str, float], capacity: int, quantile: float, alpha: float
) -> Admission:
    """Return who is active after ``submitters`` came in their order.

    Until ``capacity`` is reached everybody is let in. Then a submitter takes the place of the active one with the
    lowest average if its own is strictly greater. Whoever is turned away or loses the place has its average moved,
    once per epoch. Somebody new has the average 0, and the quantile itself after it.

    Among equally low ones the last address goes: the chain draws by block hash, which no simulation can know.

    Parameters
    ----------
    submitters : sequence of str
        Addresses in the order of their transactions.
    score_emas : mapping
        Address -> average, for those who have one.
    capacity : int
        ``max_top_*`` of the kind of participant.
    quantile : float
        The last that the topic stored.
    alpha : float
        ``merit_sortition_alpha``.

    Raises
    ------
    MechanismError
        Somebody submits twice, or ``capacity`` is below 1. Source: ``keeper.go:1084-1190``, not run against the chain.
    """
    if capacity < 1:
        raise MechanismError(f"the capacity is {capacity}; it must be at least 1")
    twice = [name for name in set(submitters) if submitters.count(name) > 1]
    if twice:
        raise MechanismError(f"{min(twice)} submits twice in one epoch")
    averages = dict(score_emas)
    active: set[str] = set()
    for name in submitters:
        if len(active) < capacity:
            active.add(name)
            continue
        lowest = min(sorted(active, reverse=True), key=lambda held: score_emas.get(held, 0.0))
        loser = lowest if score_emas.get(name, 0.0) > score_emas.get(lowest, 0.0) else name
        averages[loser] = passive_score_ema(quantile, score_emas.get(loser), alpha)
        active = (active | {name}) - {loser}
    return Admission(tuple(sorted(active)), averages)


def top_by_score(scores: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """Return the places of the ``n`` highest of ``scores`` (w,), best first; ``seed`` draws the order of equal ones."""
    refuse_nan(scores=scores)
    ties = np.random.default_rng(seed).permutation(len(scores))
    return np.lexsort((ties, -np.asarray(scores)))[:n]


def kept_elements(losses: Mapping[str, float], inferer_emas: Mapping[str, float], most: int) -> dict[str, float]:
    """Return the elements of a forecast that the chain keeps: of the ``most`` inferers with the highest averages.

    ``losses`` maps inferers to log10 losses. Equal averages are kept in the order of addresses.
    """
    best = sorted(losses, key=lambda name: (-inferer_emas.get(name, 0.0), name))[:most]
    return {name: losses[name] for name in sorted(best)}


def score_emas_after(scores: np.ndarray, previous: np.ndarray, quantile: float, alpha: float) -> np.ndarray:
    """Return averages (w,) after an epoch in which those with a score were active and the others were turned away.

    ``scores`` is NaN for the latter, who move towards ``quantile``.
    """
    return alpha * np.where(np.isnan(scores), quantile, scores) + (1 - alpha) * previous
