"""The gate of marginal value: whether the network's combined inference would be worse without the candidate."""

from __future__ import annotations

import numpy as np

from crucible.errors import CrucibleError
from crucible.network.field import Truth
from crucible.recipe import Recipe
from crucible.validation.losses import LOSSES
from crucible.validation.marginal import marginal_value
from crucible.validation.verdict import GateResult, Outcome

NAME = "adds to the network"


def adds_to_the_network(recipe: Recipe, predictions: np.ndarray, truth: Truth, block: int) -> GateResult:
    """Let the candidate join a made-up field of 32 workers, and ask what it adds by the network's own mechanism.

    With ``gates.marginal`` = ``report`` it stops nobody: the field is made up, and only the live score knows the real
    one. With ``require`` the interval of the score must lie above 0.

    Parameters
    ----------
    recipe : Recipe
        Loss, seed, and whether the gate counts.
    predictions : numpy.ndarray
        Shape (epochs,), in the topic's units.
    truth : Truth
        Of the same epochs.
    block : int
        The horizon in epochs.
    """
    required = recipe.gates.marginal == "require"
    try:
        value = marginal_value(
            predictions, truth, loss=LOSSES[recipe.topic.loss], block=block, draws=recipe.gates.bootstrap,
            seed=recipe.validation.seed,
        )  # fmt: skip
    except CrucibleError as error:
        return GateResult(NAME, "undecided", 0.0, 0.0, f"no verdict: {error}", required)
    score, share = value.score, value.share
    if not np.isfinite(score.low):
        sentence = f"active in {value.active:.0%} of {value.epochs:,} epochs of a made-up field, too few to tell"
        return GateResult(NAME, "undecided", 0.0, 0.0, sentence, required)
    mean, low, high = (10**value - 1 for value in (score.mean, score.low, score.high))
    sentence = (
        f"without it a made-up field of 32 workers would lose {mean:+.2%} (95 %: {low:+.2%} to {high:+.2%}); active in "
        f"{value.active:.0%} of {value.epochs:,} epochs, paid {share.mean:.2f} of an equal part "
        f"({share.low:.2f} to {share.high:.2f})"
    )
    outcome: Outcome = "pass" if score.low > 0 else "fail" if score.high < 0 and required else "undecided"
    return GateResult(NAME, outcome, score.mean, 0.0, sentence, required, low=score.low, high=score.high)
