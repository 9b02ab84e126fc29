"""What a candidate would have earned: its predictions as one more worker of a field, through the whole mechanism."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from crucible.errors import MechanismError
from crucible.network.epoch import EpochResult, step
from crucible.network.field import Truth, WorkerField
from crucible.network.inputs import EpochInputs
from crucible.network.losses import Report
from crucible.network.masks import every
from crucible.network.networks import Synthesis
from crucible.network.parameters import Parameters
from crucible.network.rewards import task_shares
from crucible.network.state import TopicState

Loss = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(truth, predicted, scale) -> losses of their common shape, not negative, not logarithms."""

SEGMENTS = 64
BURN_IN = 100
FLOOR = 1e-9  # of the candidate's mean loss: keeps the logarithm of a lucky hit finite
_CHUNK = 128  # steps whose inferences of the field are held at once


@dataclass(frozen=True)
class Trace:
    """What became of the candidate; arrays of shape (epochs counted,), in time order.

    Attributes
    ----------
    score : numpy.ndarray
        How many orders of magnitude the network's loss would have risen without it; NaN where it was not active.
    score_ema : numpy.ndarray
        The moving average that decides on admission, after the epoch; NaN before its first score.
    active : numpy.ndarray
        Bool: whether it was in the active set.
    share : numpy.ndarray
        Its part of what the topic's inferers were paid; 0 where it was not active.
    topic_share : numpy.ndarray
        Its part of the whole reward of the topic.
    network_loss, own_loss : numpy.ndarray
        log10: of the combined inference, and of the candidate's own, active or not.
    """

    score: np.ndarray
    score_ema: np.ndarray
    active: np.ndarray
    share: np.ndarray
    topic_share: np.ndarray
    network_loss: np.ndarray
    own_loss: np.ndarray


def squared_error(truth: np.ndarray, predicted: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return squared errors, shape of ``truth`` and ``predicted`` broadcast; ``scale`` does not matter."""
    return (truth - predicted) ** 2


def backtest(
    predictions: np.ndarray,
    truth: Truth,
    field: WorkerField,
    params: Parameters,
    *,
    loss: Loss = squared_error,
    present: np.ndarray | None = None,
    reputers: int = 6,
    segments: int = SEGMENTS,
    burn_in: int = BURN_IN,
    progress: Callable[[int], None] | None = None,
) -> Trace:
    """Run a candidate against ``field``, epoch by epoch, and return what became of it.

    The epochs are cut into segments that run side by side, each after ``burn_in`` epochs of its own past: whatever the
    mechanism remembers fades with (1 − alpha) per epoch, and alphas are 0.1. The first ``burn_in`` epochs of all are
    not counted. Submissions are ordered by address, the candidate's first; who is admitted is decided by the moving
    averages of scores, as in :func:`crucible.network.admission.admit`. Reputers are honest and of equal stake, so all
    of them are one in everything but the division of the topic's reward. There are no forecasters. The truth of an
    epoch is known before the next.

    Parameters
    ----------
    predictions : numpy.ndarray
        Shape (epochs,), topic units, finite where the candidate is present.
    truth : Truth
        What is predicted.
    field : WorkerField
        The other workers.
    params : Parameters
        Of module and topic.
    loss : Callable
        The topic's loss method.
    present : numpy.ndarray, optional
        Bool, shape (epochs,): when the candidate submits. Always by default.
    reputers : int
        How many share the reputers' part.
    segments : int
        1 runs all epochs in one sequence.
    burn_in : int
        Epochs before each segment.
    progress : Callable, optional
        Told how many epochs were done since it was last told, burn-in included.

    Raises
    ------
    MechanismError
        Numbers that cannot be used, or no epoch left after ``burn_in``.
    """
    total = len(truth.values)
    here = np.ones(total, dtype=bool) if present is None else present
    if predictions.shape != (total,) or here.shape != (total,):
        raise MechanismError(f"{len(predictions)} predictions do not fit {total} truths")
    bad = np.flatnonzero(here & ~np.isfinite(predictions))
    if bad.size:
        raise MechanismError(f"the prediction of epoch {int(bad[0])} is NaN or infinite")
    if burn_in < 2 or segments < 1 or reputers < 1:
        raise MechanismError("a backtest needs two epochs of burn-in, one segment and one reputer at least")
    counted = total - burn_in
    if counted < 1:
        raise MechanismError(f"{total} epochs are not more than the {burn_in} of burn-in; give a longer history")
    segments = min(segments, counted)
    length = -(-counted // segments)
    starts = np.minimum(np.arange(segments) * length, counted - length)
    own = _losses(loss, truth.values, np.where(here, predictions, truth.values), truth.scale)
    floor = FLOOR * float(own[here].mean()) if here.any() else 0.0
    floor = floor or float(np.finfo(float).tiny)
    run = _Run(truth, field, params, loss, floor, predictions, here, starts, reputers)
    names = ("score", "score_ema", "active", "share", "topic_share", "network_loss")
    rows = {name: np.empty((length, segments)) for name in names}
    done = 0
    for offset in range(burn_in + length):
        found = run.advance(offset)
        if offset >= burn_in:
            for name, values in zip(names, found, strict=True):
                rows[name][offset - burn_in] = values
        done += segments
        if progress and (offset + 1 == burn_in + length or done >= _CHUNK * segments):
            progress(done)
            done = 0
    kept = {name: _joined(values, starts, counted) for name, values in rows.items()}
    log_own = np.where(here, np.log10(own + floor), np.nan)[burn_in:]
    return Trace(**{**kept, "active": kept["active"] > 0, "own_loss": log_own})


class _Run:
    """Segments side by side: the scenarios of a batch. Column 0 is the candidate, the others are the field."""

    def __init__(
        self,
        truth: Truth,
        field: WorkerField,
        params: Parameters,
        loss: Loss,
        floor: float,
        predictions: np.ndarray,
        here: np.ndarray,
        starts: np.ndarray,
        reputers: int,
    ) -> None:
        self._truth, self._field, self._params, self._loss, self._floor = truth, field, params, loss, floor
        self._predictions, self._here, self._starts = predictions, here, starts
        self._names = tuple(f"{place:06d}" for place in range(field.size + 1))
        batch = starts.shape
        self._state = TopicState.new(params, batch=batch).enrolled(self._names, (), ("reputer",))
        self._none = np.zeros((*batch, 0, field.size + 1))
        self._stakes = np.full((*batch, 1), params.required_minimum_stake)
        self._entropy = float(np.log(reputers)) if reputers > 1 else None
        self._chunk = (0, np.empty((len(starts), 0, field.size)))

    def advance(self, offset: int) -> tuple[np.ndarray, ...]:
        """Run the epoch ``offset`` of every segment; return what became of the candidate, each (segments,)."""
        at = self._starts + offset
        inferences = np.concatenate([self._predictions[at, None], self._field_at(offset)], axis=-1)
        submitted = ~np.isnan(inferences)
        submitted[:, 0] = self._here[at]
        active = self._admitted(submitted)
        inputs = EpochInputs(
            self._names, inferences, (), self._none, ("reputer",), self._stakes, self._report(at), 1.0,
            None if every(active) else ~active,
        )  # fmt: skip
        self._state, result = step(self._state, inputs, self._params)
        payout = result.payout
        share = np.nan_to_num(payout.inferer_fractions[:, 0])
        return (
            payout.inferer_scores[:, 0], self._state.inferers.score_ema[:, 0], active[:, 0], share,
            share * self._inference_share(result), result.losses[:, 0],
        )  # fmt: skip

    def _field_at(self, offset: int) -> np.ndarray:
        first, values = self._chunk
        if not first <= offset < first + values.shape[1]:
            stops = np.minimum(self._starts + offset + _CHUNK, len(self._predictions))
            rows = [self._field.inferences(a + offset, b) for a, b in zip(self._starts, stops, strict=True)]
            width = min(len(part) for part in rows)
            first, values = self._chunk = offset, np.stack([part[:width] for part in rows])
        return values[:, offset - first]

    def _admitted(self, submitted: np.ndarray) -> np.ndarray:
        """Return who is active, bool (segments, workers); move the averages of those who are turned away."""
        capacity = self._params.max_top_inferers
        if submitted.shape[-1] <= capacity:
            return submitted
        inferers = self._state.inferers
        known = np.isnan(inferers.score_ema)
        merit = np.where(submitted, np.where(known, 0.0, inferers.score_ema), -np.inf)
        order = np.argsort(-merit, axis=-1, kind="stable")  # among equals the first address stays
        first = np.zeros(submitted.shape, dtype=bool)
        np.put_along_axis(first, order[:, :capacity], True, axis=-1)
        quantile = inferers.quantile[:, None]
        before = np.where(known, quantile, inferers.score_ema)
        passive = before + self._params.merit_sortition_alpha * (quantile - before)
        ema = np.where(submitted & ~first, passive, inferers.score_ema)
        self._state = replace(self._state, inferers=replace(inferers, score_ema=ema))
        return first & submitted

    def _report(self, at: np.ndarray) -> Report:
        truth, scale = self._truth.values[at, None], self._truth.scale[at, None]

        def report(synthesis: Synthesis) -> np.ndarray:
            values = synthesis.values[..., : synthesis.layout.reported]
            losses = _losses(self._loss, truth, np.where(np.isnan(values), truth, values), scale)
            return np.log10(losses + self._floor)[..., None, :]

        return report

    def _inference_share(self, result: EpochResult) -> np.ndarray:
        payout = result.payout
        if payout.reward_error:
            return np.zeros(len(self._starts))
        entropy = payout.entropies[:, 2] if self._entropy is None else self._entropy
        return task_shares(payout.entropies[:, 0], payout.entropies[:, 1], entropy, payout.chi)[0]


def _losses(loss: Loss, truth: np.ndarray, predicted: np.ndarray, scale: np.ndarray) -> np.ndarray:
    losses = loss(truth, predicted, scale)
    if not np.isfinite(losses).all() or (losses < 0).any():
        raise MechanismError("a loss is negative or not finite, so it has no logarithm")
    return losses


def _joined(rows: np.ndarray, starts: np.ndarray, counted: int) -> np.ndarray:
    """Return columns of (length, segments), which may overlap at the end, one after the other: shape (counted,)."""
    joined = np.empty(counted)
    for place, start in enumerate(starts):
        joined[start : start + len(rows)] = rows[:, place]
    return joined
