"""Purged walk-forward splits by time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from crucible.duration import format_duration
from crucible.errors import EvaluationError
from crucible.recipe import Recipe


@dataclass(frozen=True)
class Fold:
    """One training set and the test block that follows it; both are row numbers, ascending."""

    number: int
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class WalkForward:
    """Consecutive test blocks, each preceded by the training rows whose labels were known when it began.

    A training row at t carries the label interval [t, t + ``horizon``]. It is purged unless that interval ends at
    or before the start of the test block less ``embargo`` (López de Prado, *Advances in Financial Machine Learning*,
    chapter 7).

    Parameters
    ----------
    folds : int
        Number of test blocks. They end with the last row.
    test : timedelta
        Length of a test block.
    min_train : timedelta
        The first training set must reach at least this far back.
    window : str
        ``expanding``: train on everything before; ``rolling``: on the last ``min_train`` only.
    embargo : timedelta
        Extra distance between the last training label and the test block.
    horizon : timedelta
        Length of a label interval, H.
    """

    folds: int
    test: timedelta
    min_train: timedelta
    window: str
    embargo: timedelta
    horizon: timedelta

    @classmethod
    def of(cls, recipe: Recipe) -> WalkForward:
        """Return the splitter that ``recipe`` asks for."""
        plan = recipe.validation
        return cls(plan.folds, plan.test, plan.min_train, plan.window, plan.embargo, recipe.topic.horizon)

    def split(self, times: np.ndarray) -> Iterator[Fold]:
        """Yield the folds, oldest first.

        Parameters
        ----------
        times : numpy.ndarray
            Shape (n,), ``datetime64[us]``: prediction times, ascending.

        Raises
        ------
        EvaluationError
            If the rows do not reach far enough back, or a block has no rows.
        """
        step, gap = np.timedelta64(self.test), np.timedelta64(self.horizon + self.embargo)
        reach = np.timedelta64(self.min_train)
        # half-open blocks (end - test, end], so that the last one ends with the last row
        end = times[-1] if len(times) else np.datetime64("NaT")
        first_start = end - self.folds * step
        if not len(times) or times[0] > first_start - reach:
            raise EvaluationError(
                f"{self.folds} test blocks of {format_duration(self.test)} after {format_duration(self.min_train)} of "
                f"training need more rows than there are"
                + (f" (from {times[0]} to {times[-1]} UTC)." if len(times) else " (none).")
            )
        for number in range(self.folds):
            start = first_start + number * step
            test = (times > start) & (times <= start + step)
            train = times <= start - gap
            if self.window == "rolling":
                train &= times > start - gap - reach
            if not test.any() or not train.any():
                raise EvaluationError(f"Test block {number + 1} after {start} UTC has no rows to train or test on.")
            yield Fold(number, np.flatnonzero(train), np.flatnonzero(test))
