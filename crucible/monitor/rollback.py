"""Whether the champion should give way to the one before it: a decision that many looks do not make more likely.

Both predict the same epochs, one as worker and one as shadow. After 1, 2, 4, 8, ... times the first look's number of
independent epochs the difference of losses is tested once, at a level that shrinks so fast that all looks together
reject a champion that is no worse with at most the level that was asked for. Between looks nothing can change, so that
whoever asks, however often and after whatever restart, gets the same answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from crucible.errors import EvaluationError
from crucible.monitor.admission import paired
from crucible.monitor.champions import previous_champion, tenures
from crucible.monitor.live import overlap_of
from crucible.recipe import Recipe
from crucible.settings import Settings
from crucible.validation.statistics.comparison import diebold_mariano

LEVEL = 0.01
"""How often, at most, a champion that is no worse is ever taken back."""

FIRST_LOOK = 96
"""Independent epochs before the first test."""


@dataclass(frozen=True)
class Verdict:
    """Whether to roll back.

    Attributes
    ----------
    back : bool
        Whether the present champion is significantly worse.
    epochs : int
        Common epochs that the last look saw.
    looks : int
        How many looks there were.
    p_value, level : float
        Of the last look, or of the one that decided; NaN and 0 before the first, and where a loss is infinite.
    sentence : str
        The same for a person.
    """

    back: bool
    epochs: int
    looks: int
    p_value: float
    level: float
    sentence: str


@dataclass(frozen=True)
class Rollback:
    """A decision for one recipe: from which version to which."""

    verdict: Verdict
    from_version: int
    from_bundle: str
    to_version: int
    to_bundle: str


def decide(loss: np.ndarray, previous: np.ndarray, *, overlap: int = 1, level: float = LEVEL) -> Verdict:
    """Decide from the losses of the champion and of the one before it on the same epochs.

    An infinite loss of the champion, where the other's was finite, needs no statistics and decides at once. Epochs in
    which the other's was infinite are not compared.

    Parameters
    ----------
    loss, previous : numpy.ndarray
        Shape (n,): in time order, since the champion serves.
    overlap : int
        The horizon in epochs.
    level : float
        The probability of ever rolling back a champion that is no worse.
    """
    infinite = np.flatnonzero(np.isinf(loss) & np.isfinite(previous))
    if len(infinite):
        words = "its loss is infinite in an epoch in which that of the one before it is not"
        return Verdict(True, int(infinite[0]) + 1, 0, math.nan, 0.0, words)
    both = np.isfinite(loss) & np.isfinite(previous)
    loss, previous = loss[both], previous[both]
    least = FIRST_LOOK * overlap
    looks = int(math.log2(len(loss) / least)) + 1 if len(loss) >= least else 0
    p_value, spent, seen = math.nan, 0.0, 0
    for look in range(1, looks + 1):
        seen = least * 2 ** (look - 1)
        # the levels of all looks for ever add up to the level asked for: the sum of 1 / k^2 is pi^2 / 6
        spent = level * 6 / (math.pi * look) ** 2
        try:
            p_value = diebold_mariano(previous[:seen], loss[:seen], overlap=overlap).p_value
        except EvaluationError:
            continue  # equal forecasts: no evidence either way
        if p_value < spent:
            return Verdict(
                True,
                seen,
                look,
                p_value,
                spent,
                f"worse than before it over {seen} epochs (p {p_value:.2g} < {spent:.2g})",
            )
    words = (
        f"not significantly worse over {seen} epochs" if looks else f"{len(loss)} of {least} epochs for a first look"
    )
    return Verdict(False, seen, looks, p_value, spent, words)


def review(settings: Settings, recipe: Recipe) -> Rollback | None:
    """Return the decision about what serves ``recipe`` now, or ``None`` where nothing served before it."""
    before = previous_champion(settings, recipe.name)
    history = tenures(settings, recipe.name)
    if before is None:
        return None
    now = history[-1]
    losses = paired(settings, recipe, now.bundle, before.bundle, since=now.since)
    verdict = decide(*losses, overlap=overlap_of(recipe))
    return Rollback(verdict, now.version, now.bundle, before.version, before.bundle)
