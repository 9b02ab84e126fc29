"""The gates: what a candidate must show before it is promoted, each with a sentence that a person understands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from crucible.errors import EvaluationError
from crucible.recipe import Recipe
from crucible.validation.bootstrap import FEWEST_BLOCKS, bootstrap_mean, persistence
from crucible.validation.losses import topic_loss
from crucible.validation.predictions import OutOfSample
from crucible.validation.scorecard import GRADES, Scorecard, scorecard

if TYPE_CHECKING:
    from rich.table import Table

_BASELINES = ("zero", "last_value")
_TOO_GOOD = {timedelta(minutes=30): 0.56, timedelta.max: 0.58}
"""Directional accuracy that honest forecasts of this horizon do not reach: look for a leak first."""


@dataclass(frozen=True)
class GateResult:
    """One gate's answer: its value against its threshold, and what that means."""

    name: str
    passed: bool
    value: float
    threshold: float
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate may be promoted without a person's word, and why."""

    candidate: str
    grade: str
    gates: tuple[GateResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences of the gates that did not pass."""
        return tuple(gate.sentence for gate in self.gates if not gate.passed)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain values."""
        return {
            "candidate": self.candidate,
            "grade": self.grade,
            "passed": self.passed,
            "reasons": list(self.reasons),
            "gates": [asdict(gate) for gate in self.gates],
        }

    def table(self) -> Table:
        """Return the verdict as a table for a terminal."""
        from rich.table import Table

        outcome = "passed" if self.passed else "refused"
        table = Table("gate", "passed", "what was found", title=f"{self.candidate}: {outcome}, grade {self.grade}")
        for gate in self.gates:
            table.add_row(gate.name, "yes" if gate.passed else "NO", gate.sentence)
        return table


def select(recipe: Recipe, oos: OutOfSample, scale: np.ndarray) -> str:
    """Return the candidate with the lowest mean topic loss; a baseline only where there is nothing else."""
    means = {
        name: float(topic_loss(recipe, oos.y_true, predicted, oos.close, scale).mean())
        for name, predicted in oos.y_pred.items()
    }
    # not a number compares as neither more nor less, and would win by coming first
    losses = {name: loss if math.isfinite(loss) else math.inf for name, loss in means.items()}
    learners = {name: loss for name, loss in losses.items() if name not in _BASELINES}
    return min(learners or losses, key=lambda name: losses[name])


def judge(
    recipe: Recipe, oos: OutOfSample, candidate: str, scale: np.ndarray, integrity: Mapping[str, bool]
) -> tuple[Verdict, Scorecard]:
    """Judge ``candidate`` on its out-of-sample predictions.

    Parameters
    ----------
    recipe : Recipe
        Its gates.
    oos : OutOfSample
        The predictions.
    candidate : str
        Which of them.
    scale : numpy.ndarray
        Shape (n,): see :func:`topic_loss`.
    integrity : mapping of str to bool
        Checks that the caller made, by what they establish ("no label reaches its test block").

    Raises
    ------
    EvaluationError
        If there are no predictions of that candidate.
    """
    if candidate not in oos.y_pred:
        raise EvaluationError(f"There are no predictions of {candidate!r}; there are {', '.join(oos.y_pred)}.")
    facts = {**integrity, **_own_checks(recipe, oos, candidate)}
    if not facts["every prediction is finite"]:
        return Verdict(candidate, "F", (_integrity(facts),)), scorecard(oos.y_true, np.zeros_like(oos.y_true))
    card = scorecard(oos.y_true, oos.y_pred[candidate], epoch_minutes=recipe.topic.cadence.total_seconds() / 60)
    gates = (
        _integrity(facts),
        _beats_zero(recipe, oos, candidate, scale),
        _minimum_grade(recipe, card),
        _not_too_good(recipe, card),
    )
    return Verdict(candidate, card.grade, gates), card


def _own_checks(recipe: Recipe, oos: OutOfSample, candidate: str) -> dict[str, bool]:
    predicted = oos.y_pred[candidate]
    expected = recipe.validation.folds * (recipe.validation.test // recipe.data.interval)
    return {
        "every prediction is finite": bool(np.isfinite(predicted).all()),
        "every price is above zero": bool((oos.close > 0).all()),
        "times ascend without repetition": bool((np.diff(oos.times) > np.timedelta64(0)).all()),
        "every test block has rows": len(np.unique(oos.fold)) == recipe.validation.folds,
        "nine tenths of the expected rows are there": len(predicted) >= 0.9 * expected,
        "predictions vary": bool(np.ptp(predicted) > 0) or candidate in _BASELINES,
    }


def _integrity(facts: Mapping[str, bool]) -> GateResult:
    broken = [fact for fact, holds in facts.items() if not holds]
    sentence = f"all {len(facts)} integrity checks hold" if not broken else f"it does not hold that {', '.join(broken)}"
    return GateResult("integrity", not broken, float(len(facts) - len(broken)), float(len(facts)), sentence)


def _beats_zero(recipe: Recipe, oos: OutOfSample, candidate: str, scale: np.ndarray) -> GateResult:
    name, alpha = "beats the zero forecast", recipe.gates.alpha
    zero = topic_loss(recipe, oos.y_true, np.zeros_like(oos.y_true), oos.close, scale)
    own = topic_loss(recipe, oos.y_true, oos.y_pred[candidate], oos.close, scale)
    endless = int((~np.isfinite(zero) | ~np.isfinite(own)).sum())
    if endless:
        return GateResult(name, False, 1.0, alpha, f"the {recipe.topic.loss} of {endless} predictions is not finite")
    gain = zero - own
    # as long as the targets overlap, and as long as the gains are seen to depend on one another
    least = recipe.gates.block * recipe.horizon_bars
    block = max(least, persistence(gain, longest=len(gain) // FEWEST_BLOCKS))
    if len(gain) < FEWEST_BLOCKS * block:
        sentence = (
            f"{len(gain)} rows are too few for a verdict: with blocks of {block} it takes {FEWEST_BLOCKS * block}, "
            f"so lengthen validation.test or add folds"
        )
        return GateResult(name, False, 1.0, alpha, sentence)
    test = bootstrap_mean(gain, block=block, draws=recipe.gates.bootstrap, seed=recipe.validation.seed)
    share = test.mean / float(zero.mean()) if zero.mean() else 0.0
    passed = test.p_value < alpha
    outcome = f"p = {test.p_value:.4f} {'<' if passed else '≥'} {alpha:g}"
    sentence = (
        f"mean {recipe.topic.loss} is {abs(share):.2%} {'below' if share >= 0 else 'ABOVE'} the zero forecast's, "
        f"{outcome} (blocks of {block} rows, {recipe.gates.bootstrap} draws)"
    )
    return GateResult(name, passed, test.p_value, alpha, sentence)


def _minimum_grade(recipe: Recipe, card: Scorecard) -> GateResult:
    order = list(dict.fromkeys(GRADES))
    passed = order.index(card.grade) >= order.index(recipe.gates.minimum_grade)
    sentence = f"grade {card.grade} ({card.num_passed} of 7), {recipe.gates.minimum_grade} is required"
    needed = GRADES.index(recipe.gates.minimum_grade)
    return GateResult("minimum grade", passed, float(card.num_passed), float(needed), sentence)


def _not_too_good(recipe: Recipe, card: Scorecard) -> GateResult:
    level = next(level for horizon, level in _TOO_GOOD.items() if recipe.topic.horizon <= horizon)
    accuracy = card.metrics["directional_accuracy"]
    passed = accuracy <= level
    sentence = f"direction is right in {accuracy:.2%}, " + (
        f"which is below the alarm level {level:.0%}"
        if passed
        else f"above the alarm level {level:.0%}: look for a leak, or override if you know why"
    )
    return GateResult("not too good to be true", passed, accuracy, level, sentence)
