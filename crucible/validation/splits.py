"""Three stages by time: rows for the search, outer windows, and the deployment set; purged wherever they meet."""

from __future__ import annotations

import itertools
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
class InnerFold:
    """One fold of the search: what is learnt from, where growing stops, and where the trial is scored; row numbers.

    ``validation`` and ``test`` are equally long in time; of a combinatorial split's pair of tests, each one.
    """

    number: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Stages:
    """Which rows serve which stage.

    A row at t carries the label interval [t, t + H]. Rows before a block are used for it only if that interval ends at
    or before the block's start less the embargo (López de Prado, *Advances in Financial Machine Learning*, chapter 7).

    Attributes
    ----------
    inner : numpy.ndarray
        Rows that the search may see: their labels end before the first outer window.
    outer : tuple of Fold
        Outer windows, oldest first.
    deployment : Fold
        The newest rows, and all that may be learnt before them.
    """

    inner: np.ndarray
    outer: tuple[Fold, ...]
    deployment: Fold

    @classmethod
    def of(cls, recipe: Recipe, times: np.ndarray, end: np.datetime64 | None = None) -> Stages:
        """Return the stages of ``recipe`` over rows at ``times``.

        Parameters
        ----------
        recipe : Recipe
            Its validation plan.
        times : numpy.ndarray
            Shape (n,), ``datetime64[us]``: prediction times, ascending.
        end : numpy.datetime64, optional
            The last row that counts; the newest by default. A version's stages stay where its first run put them.

        Raises
        ------
        EvaluationError
            If the rows do not reach far enough back (how much is needed), or a block has no rows.
        """
        plan = recipe.validation
        step, gap = np.timedelta64(plan.test), np.timedelta64(recipe.topic.horizon + plan.embargo)
        reach, last = np.timedelta64(plan.min_train), np.timedelta64(plan.deployment)
        need = plan.min_train + plan.folds * plan.test + plan.deployment
        if end is None:
            end = times[-1] if len(times) else np.datetime64("NaT")
        # half-open blocks (end - length, end], so that the last one ends with the last row
        opened = end - last
        first = opened - plan.folds * step
        if not len(times) or times[0] > first - reach:
            span = f"from {times[0]} to {times[-1]} UTC" if len(times) else "none"
            raise EvaluationError(
                f"{plan.folds} outer windows of {format_duration(plan.test)} after "
                f"{format_duration(plan.min_train)} of training, and a deployment set of "
                f"{format_duration(plan.deployment)}, need {format_duration(need)} of rows; there are fewer ({span})."
            )

        def fold(number: int, start: np.datetime64, length: np.timedelta64) -> Fold:
            test = (times > start) & (times <= start + length)
            train = times <= start - gap
            if plan.window == "rolling":
                train &= times > start - gap - reach
            if not test.any() or not train.any():
                raise EvaluationError(f"Test block {number + 1} after {start} UTC has no rows to train or test on.")
            return Fold(number, np.flatnonzero(train), np.flatnonzero(test))

        return cls(
            np.flatnonzero(times <= first - gap),
            tuple(fold(number, first + number * step, step) for number in range(plan.folds)),
            fold(plan.folds, opened, last),
        )


def inner_folds(recipe: Recipe, times: np.ndarray, rows: np.ndarray) -> tuple[InnerFold, ...]:
    """Return the folds of the search within ``rows``.

    The tests of all folds together cover the newer half of the rows, whatever the number of folds: two searches with
    different folds are judged on the same events. A combinatorial split tests every pair of ``folds`` equal pieces of
    all inner rows; its validation part is the training piece furthest from them, as long as a tested piece.

    Raises
    ------
    EvaluationError
        If a part has no rows; how much is needed.
    """
    if recipe.search.split == "combinatorial":
        return _combinatorial_inner(recipe, times, rows)
    folds, gap = recipe.search.folds, np.timedelta64(recipe.topic.horizon + recipe.validation.embargo)
    inner = times[rows]
    span = inner[-1] - inner[0]
    length = span / 2 / folds
    found = []
    for number in range(folds):
        start = inner[-1] - (folds - number) * length
        before = start - gap - length
        parts = (
            inner <= before - gap,
            (inner > before) & (inner <= start - gap),
            (inner > start) & (inner <= start + length),
        )
        if not all(part.any() for part in parts):
            # the oldest fold trains on half the span less one part and two gaps
            least = 4 * folds * (recipe.topic.horizon + recipe.validation.embargo) / max(folds - 1, 1)
            raise EvaluationError(
                f"The search has {span.astype('timedelta64[h]')} of rows, which {folds} inner folds of training, "
                f"validation and test do not fit into; lengthen validation.min_train to at least "
                f"{format_duration(timedelta(days=max(least // timedelta(days=1), 1) + 1))}, or take fewer folds."
            )
        train, validation, test = (rows[part] for part in parts)
        found.append(InnerFold(number, train, validation, test))
    return tuple(found)


def _combinatorial_inner(recipe: Recipe, times: np.ndarray, rows: np.ndarray) -> tuple[InnerFold, ...]:
    horizon, embargo, groups = recipe.topic.horizon, recipe.validation.embargo, recipe.search.folds
    inner = times[rows]
    pieces = np.array_split(np.arange(len(inner)), groups)
    reach, pause = np.timedelta64(horizon), np.timedelta64(embargo)
    found = []
    for fold in combinatorial(inner, groups=groups, tested=2, horizon=horizon, embargo=embargo):
        distance = [min(abs(n - m) for m in range(groups) if pieces[m][0] in fold.test) for n in range(groups)]
        chosen = pieces[int(np.argmax(distance))]
        validation = np.intersect1d(chosen, fold.train)
        low, high = inner[chosen[0]], inner[chosen[-1]]
        apart = (inner + reach < low) | (inner > high + reach + pause)
        train = fold.train[apart[fold.train]]
        if not len(train) or not len(validation):
            raise EvaluationError(
                f"{len(inner)} inner rows cannot be cut into {groups} pieces with {format_duration(horizon + embargo)} "
                "between them; lengthen validation.min_train, or take fewer search.folds."
            )
        found.append(InnerFold(fold.number, rows[train], rows[validation], rows[fold.test]))
    return tuple(found)


def combinatorial(
    times: np.ndarray, *, groups: int, tested: int, horizon: timedelta, embargo: timedelta
) -> Iterator[Fold]:
    """Yield combinatorial purged folds: every choice of ``tested`` out of ``groups`` equal pieces of time is a test.

    Parameters
    ----------
    times : numpy.ndarray
        Shape (n,), ``datetime64[us]``, ascending.
    groups, tested : int
        Pieces, and how many of them are tested at once.
    horizon : timedelta
        Rows are purged whose label interval [t, t + horizon] meets the span of a tested piece's label intervals.
    embargo : timedelta
        Rows up to this long after a tested piece's last label are left out, too: their features look back on it.

    Raises
    ------
    EvaluationError
        If the numbers make no sense for so many rows.
    """
    if not 1 <= tested < groups or len(times) < groups:
        raise EvaluationError(f"{tested} of {groups} pieces of {len(times)} rows is no split.")
    reach, pause = np.timedelta64(horizon), np.timedelta64(embargo)
    pieces = np.array_split(np.arange(len(times)), groups)
    for number, chosen in enumerate(itertools.combinations(range(groups), tested)):
        keep = np.ones(len(times), dtype=bool)
        for index in chosen:
            low, high = times[pieces[index][0]], times[pieces[index][-1]]
            keep &= (times + reach < low) | (times > high + reach + pause)
        test = np.concatenate([pieces[index] for index in chosen])
        yield Fold(number, np.flatnonzero(keep), test)
