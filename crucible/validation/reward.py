"""What a candidate would earn on the network: shares and scores with their intervals, and what changes them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from crucible.errors import EvaluationError
from crucible.network.backtest import BURN_IN, Loss, Trace, backtest, squared_error
from crucible.network.field import LaterEpochs, Truth, WorkerField, mean_inference
from crucible.network.parameters import Parameters
from crucible.validation.marginal import Estimate, MarginalValue, estimate, require_epochs, segments_for, value_of
from crucible.validation.statistics.bootstrap import FEWEST_BLOCKS

UPTIMES = (0.95, 0.8, 0.5)
CORRELATIONS = (0.0, 0.3, 0.6, 0.9)
BLENDS = (-1.0, -0.5, -0.25, 0.25, 0.5, 1.0)
OUTAGE = 12  # epochs: mean length of an outage

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Effect:
    """The same candidate under another setting.

    Attributes
    ----------
    setting : float
        Uptime, correlation or weight.
    own_loss : float
        Mean log10 of its own losses, where it is present.
    score : float
        Mean over the epochs in which it is active; NaN if it never is.
    active : float
        Share of epochs in the active set.
    share : float
        Multiple of an equal part, as in :class:`MarginalValue`.
    gained : Estimate
        By how much ``share`` differs from that of the candidate as it is, on the same epochs.
    """

    setting: float
    own_loss: float
    score: float
    active: float
    share: float
    gained: Estimate


@dataclass(frozen=True)
class RewardBacktest:
    """Everything that a reward backtest found.

    Attributes
    ----------
    value : MarginalValue
        Over all epochs.
    topic_share : Estimate
        Part of the whole reward of the topic, reputers' included: not a multiple.
    score_ema : float
        Mean of the moving average that decides on admission.
    own_loss, network_loss : float
        Mean log10 losses of the candidate and of the combined inference.
    workers : int
        Of the field, the candidate not counted.
    likeness : float
        Correlation of the candidate's errors, as far as they are no part of the truth, with the field's mean; NaN for a
        candidate whose predictions never differ.
    effect_epochs : int
        How many of the newest epochs the effects were computed on.
    uptime : tuple of Effect
        By share of epochs in which it submits; outages are 12 epochs long on average.
    correlation : tuple of Effect
        By :attr:`likeness`, at equal accuracy: its errors are mixed with the field's.
    blend : tuple of Effect
        By weight w of ``(1 − w)·candidate + w·mean of the field``: below 0 away from the field. The mean is that of
        the same epoch, which a worker can only approximate. Weight 0 is the candidate as it is.
    """

    value: MarginalValue
    topic_share: Estimate
    score_ema: float
    own_loss: float
    network_loss: float
    workers: int
    likeness: float
    effect_epochs: int
    uptime: tuple[Effect, ...]
    correlation: tuple[Effect, ...]
    blend: tuple[Effect, ...]

    @property
    def best_blend(self) -> Effect:
        """The weight with the highest share; another than 0 only if it is shown to be better than that."""
        at = next(effect for effect in self.blend if effect.setting == 0)
        better = [effect for effect in self.blend if effect.gained.low > 0]
        return max(better, key=lambda effect: effect.share, default=at)


def reward_backtest(
    predictions: np.ndarray,
    truth: Truth,
    field: WorkerField,
    params: Parameters,
    *,
    loss: Loss = squared_error,
    reputers: int = 6,
    block: int = 1,
    draws: int = 2000,
    seed: int = 0,
    effect_epochs: int = 20_000,
    threads: int = 1,
    progress: Progress | None = None,
) -> RewardBacktest:
    """Return what a candidate would earn in ``field``, and how that depends on uptime, likeness and blending.

    Parameters are those of :func:`crucible.validation.marginal.marginal_value`, and:

    Parameters
    ----------
    reputers : int
        How many honest ones of equal stake share the reputers' part.
    effect_epochs : int
        Effects are computed on as many of the newest epochs.
    threads : int
        How many settings run at once; results do not depend on it.
    progress : Callable, optional
        Told (done, total) in epochs.

    Raises
    ------
    EvaluationError, MechanismError
        As :func:`crucible.validation.marginal.marginal_value`.
    """
    total = len(truth.values)
    require_epochs(total, block)
    newest = min(total, max(effect_epochs, BURN_IN + FEWEST_BLOCKS * block))
    later = slice(total - newest, total)
    short = Truth(truth.values[later], truth.reference[later], truth.scale[later])
    there = LaterEpochs(field, total - newest)
    own = predictions[later]
    if not np.isfinite(predictions).all():
        raise EvaluationError(
            f"The prediction of row {int(np.flatnonzero(~np.isfinite(predictions))[0])} is no number."
        )
    mean = mean_inference(there, newest)
    likeness, alike = _likeness(own, short, mean)
    always = np.ones(newest, dtype=bool)
    jobs: list[tuple[str, float, np.ndarray, np.ndarray]] = [("as is", 0.0, own, always)]
    jobs += [("uptime", share, own, outages(newest, share, seed)) for share in UPTIMES]
    jobs += [("correlation", r, alike(r), always) for r in CORRELATIONS if np.isfinite(likeness)]
    jobs += [("blend", weight, (1 - weight) * own + weight * mean, always) for weight in BLENDS]
    tell = _Tally(progress, _steps(total) + len(jobs) * _steps(newest))

    def run(job: tuple[str, float, np.ndarray, np.ndarray]) -> Trace:
        return backtest(
            job[2], short, there, params, loss=loss, present=job[3], reputers=reputers,
            segments=segments_for(newest), progress=tell,
        )  # fmt: skip

    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        whole = pool.submit(
            backtest, predictions, truth, field, params, loss=loss, reputers=reputers, segments=segments_for(total),
            progress=tell,
        )  # fmt: skip
        traces = list(pool.map(run, jobs))
        trace = whole.result()
    value = value_of(trace, field.size, block, draws, seed)
    base = traces[0]
    effects: dict[str, list[Effect]] = {"as is": [], "uptime": [], "correlation": [], "blend": []}
    for (kind, setting, *_), found in zip(jobs, traces, strict=True):
        effects[kind].append(_effect(setting, found, base, field.size, value.block, draws, seed))
    blends = sorted([*effects["as is"], *effects["blend"]], key=lambda effect: effect.setting)
    return RewardBacktest(
        value=value,
        topic_share=estimate(trace.topic_share, value.block, draws, seed),
        score_ema=float(np.nanmean(trace.score_ema)) if not np.isnan(trace.score_ema).all() else float("nan"),
        own_loss=float(np.nanmean(trace.own_loss)),
        network_loss=float(trace.network_loss.mean()),
        workers=field.size,
        likeness=likeness,
        effect_epochs=newest,
        uptime=tuple(effects["uptime"]),
        correlation=tuple(effects["correlation"]),
        blend=tuple(blends),
    )


def outages(epochs: int, uptime: float, seed: int, mean: int = OUTAGE) -> np.ndarray:
    """Return when a worker submits, bool (epochs,): outages of geometric length, so that ``uptime`` of it remains."""
    if uptime >= 1:
        return np.ones(epochs, dtype=bool)
    generator = np.random.default_rng([seed, 2])
    fails = min(1.0, (1 - uptime) / (uptime * mean))
    luck, up, present = generator.random(epochs), True, np.empty(epochs, dtype=bool)
    for epoch in range(epochs):
        up = luck[epoch] >= fails if up else luck[epoch] < 1 / mean
        present[epoch] = up
    return present


class _Tally:
    """Adds up what several threads did."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done, self._lock = progress, total, 0, threading.Lock()

    def __call__(self, epochs: int) -> None:
        with self._lock:
            self._done += epochs
            if self._progress:
                self._progress(self._done, self._total)


def _steps(epochs: int) -> int:
    """Return how many epochs a backtest computes, burn-in included."""
    segments = segments_for(epochs)
    return segments * (BURN_IN + -(-(epochs - BURN_IN) // segments))


def _likeness(own: np.ndarray, truth: Truth, mean: np.ndarray) -> tuple[float, Callable[[float], np.ndarray]]:
    """Return the correlation of a candidate's errors with the field's, and a function that sets it to another.

    Errors are what is left of a forecast's move when its regression on the truth's is taken off. The errors that the
    function makes have the candidate's size, so its accuracy stays.
    """
    moves = truth.moves
    known, slope = _regressed((own - truth.reference) / truth.scale, moves)
    theirs, _ = _regressed((mean - truth.reference) / truth.scale, moves)
    size, unit = float(known.std()), float(theirs.std())
    if not (size > 0 and unit > 0):
        return float("nan"), lambda share: own
    theirs = theirs / unit
    likeness = float(np.mean(known * theirs) / size)
    alone, _ = _regressed(known, theirs)
    alone = alone / (float(alone.std()) or 1.0)

    def at(share: float) -> np.ndarray:
        errors = size * (share * theirs + np.sqrt(1 - share * share) * alone)
        return truth.unscaled(slope + errors)

    return likeness, at


def _regressed(values: np.ndarray, on: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what a regression with intercept leaves of ``values``, and what it explains; shapes (epochs,)."""
    centred = on - on.mean()
    explained = values.mean() + (values @ centred) / (centred @ centred) * centred
    return values - explained, explained


def _effect(setting: float, found: Trace, base: Trace, workers: int, block: int, draws: int, seed: int) -> Effect:
    equal = workers + 1
    return Effect(
        setting=setting,
        own_loss=float(np.nanmean(found.own_loss)),
        score=float(found.score[found.active].mean()) if found.active.any() else float("nan"),
        active=float(found.active.mean()),
        share=float(found.share.mean()) * equal,
        gained=estimate((found.share - base.share) * equal, block, draws, seed),
    )
