"""What a candidate adds to a field of workers: its score and its share of the reward, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crucible.errors import EvaluationError
from crucible.network.backtest import BURN_IN, SEGMENTS, Loss, Trace, backtest, squared_error
from crucible.network.field import RecordedField, SyntheticField, Truth, WorkerField
from crucible.network.parameters import Parameters
from crucible.validation.statistics.bootstrap import FEWEST_BLOCKS, bootstrap_mean, persistence


@dataclass(frozen=True)
class Estimate:
    """A mean over epochs and its two-sided 95 % interval, by block bootstrap."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class MarginalValue:
    """What a candidate adds to a field.

    Attributes
    ----------
    score : Estimate
        Orders of magnitude by which the network's loss would rise without the candidate, per epoch in which it is
        active. An interval above 0 means that the network is better for it.
    share : Estimate
        Its part of what inferers are paid, 0 where it was not active, as a multiple of an equal part: 1 is what one of
        as many equals gets.
    active : float
        Share of epochs in the active set.
    epochs, block : int
        Epochs counted, and the length of a bootstrap block.
    """

    score: Estimate
    share: Estimate
    active: float
    epochs: int
    block: int


def marginal_value(
    predictions: np.ndarray,
    actual: np.ndarray | Truth,
    field: WorkerField | np.ndarray | None = None,
    params: Parameters | None = None,
    *,
    loss: Loss = squared_error,
    block: int = 1,
    draws: int = 2000,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> MarginalValue:
    """Return what a candidate adds to a field of workers, with intervals.

    The candidate joins the field as one more worker, and the network's own mechanism runs over all epochs; see
    :func:`crucible.network.backtest.backtest` for what is assumed. A gate asks whether ``score.low`` is above 0 (the
    network would be worse without), or ``share.low`` above 1 (it earns more than an equal part). The two need not
    agree: shares also rise with the scatter of scores.

    Parameters
    ----------
    predictions : numpy.ndarray
        Shape (epochs,), topic units, out of sample, in time order, one per epoch of the topic.
    actual : numpy.ndarray or Truth
        Shape (epochs,): what came true. As an array it is taken for returns: the reference is 0, and the scale one
        number. Give a :class:`~crucible.network.field.Truth` for prices, or for a scale that varies.
    field : WorkerField or numpy.ndarray, optional
        The other workers; an array (epochs, workers) holds recorded inferences, NaN where a worker was absent. The
        default is :class:`~crucible.network.field.SyntheticField` with its defaults and ``seed``.
    params : Parameters, optional
        The topic's; :class:`~crucible.network.parameters.Parameters` by default.
    loss : Callable
        The topic's loss method, ``(truth, predicted, scale)``: one of :data:`crucible.validation.losses.LOSSES`.
    block : int
        Epochs per bootstrap block at least: the horizon in epochs, as targets overlap so far. It is made longer if the
        shares themselves depend on their neighbours for longer.
    draws, seed : int
        Of the bootstrap.
    progress : Callable, optional
        Told how many epochs were done since it was last told.

    Returns
    -------
    MarginalValue
        ``score`` and ``share`` carry (mean, low, high).

    Raises
    ------
    EvaluationError
        Fewer epochs than the burn-in and eight blocks.
    MechanismError
        NaN among predictions or truths, lengths that differ, losses that are negative.
    """
    truth = actual if isinstance(actual, Truth) else Truth.of(actual)
    if field is None:
        field = SyntheticField(truth, seed=seed)
    elif isinstance(field, np.ndarray):
        field = RecordedField(field)
    require_epochs(len(truth.values), block)
    segments = segments_for(len(truth.values))
    trace = backtest(predictions, truth, field, params or Parameters(), loss=loss, segments=segments, progress=progress)
    return value_of(trace, field.size, block, draws, seed)


def value_of(trace: Trace, workers: int, block: int, draws: int, seed: int) -> MarginalValue:
    """Return the value of a backtest's ``trace`` in a field of ``workers``; the rest as in :func:`marginal_value`."""
    longest = max(1, len(trace.share) // FEWEST_BLOCKS)
    block = min(max(block, persistence(trace.share, longest=longest)), longest)
    shares = trace.share * (workers + 1)
    scores = trace.score[trace.active]
    nothing = Estimate(float("nan"), float("nan"), float("nan"))
    enough = len(scores) >= FEWEST_BLOCKS * block
    return MarginalValue(
        score=estimate(scores, block, draws, seed) if enough else nothing,
        share=estimate(shares, block, draws, seed),
        active=float(trace.active.mean()),
        epochs=len(trace.share),
        block=block,
    )


def estimate(values: np.ndarray, block: int, draws: int, seed: int) -> Estimate:
    """Return the mean of ``values`` (epochs,) with its interval; blocks are shortened where there are too few."""
    block = min(block, max(1, len(values) // FEWEST_BLOCKS))
    found = bootstrap_mean(values, block=block, draws=draws, seed=seed)
    return Estimate(found.mean, found.low, found.high)


def segments_for(epochs: int) -> int:
    """Return how many segments side by side suit a history: none shorter than its burn-in."""
    return max(1, min(SEGMENTS, (epochs - BURN_IN) // BURN_IN))


def require_epochs(epochs: int, block: int) -> None:
    """Raise :class:`EvaluationError` if ``epochs`` are too few for the burn-in and an interval of blocks."""
    need = BURN_IN + FEWEST_BLOCKS * max(block, 1)
    if epochs < need:
        raise EvaluationError(
            f"{epochs} epochs are too few: {BURN_IN} are burn-in, and an interval needs {FEWEST_BLOCKS} blocks of "
            f"{max(block, 1)}, so {need}."
        )
