"""Where a forecast errs: by regime, by size, on its worst days; and intervals that keep their coverage."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crucible.errors import EvaluationError
from crucible.recipe import Recipe
from crucible.validation.losses import topic_loss
from crucible.validation.plain import plain
from crucible.validation.predictions import OutOfSample
from crucible.validation.regimes import PARTS
from crucible.validation.statistics.bootstrap import FEWEST_BLOCKS
from crucible.validation.statistics.comparison import confidence_set
from crucible.validation.statistics.hac import mean_statistic
from crucible.validation.statistics.selection import deflated_sharpe

_WORST = 5
_SET_SIZE = 0.1
_STRETCHES = 1_000
_STEP = 0.01
"""By how much a missed interval widens the next ones (gamma of Gibbs and Candès 2021)."""

_MEMORY = 500  # rows whose errors an interval is made from


@dataclass(frozen=True)
class Part:
    """How a forecast did on some of the rows.

    Attributes
    ----------
    heading, part : str
        Which rows: ``volatility``, ``calm``.
    rows : int
        How many.
    gain, gain_low, gain_high : float
        Share of the zero forecast's loss that was saved, with a 95 % interval; NaN where the rows are too few.
    direction, direction_low, direction_high : float
        Share of right signs, likewise.
    """

    heading: str
    part: str
    rows: int
    gain: float
    gain_low: float
    gain_high: float
    direction: float
    direction_low: float
    direction_high: float


@dataclass(frozen=True)
class Coverage:
    """Intervals around the forecasts that adapt to their own misses.

    Attributes
    ----------
    asked : float
        The coverage that was asked for.
    found : float
        The coverage that was found.
    worst : float
        The lowest coverage over a tenth of the rows in a row.
    """

    asked: float
    found: float
    worst: float


@dataclass(frozen=True)
class Analysis:
    """Everything about a forecast's errors.

    Attributes
    ----------
    bias, bias_low, bias_high : float
        Mean of truth less forecast, in standard deviations of the target, with a 95 % interval.
    parts : tuple of Part
        By regime and by size of the forecast.
    worst_days : tuple of (str, float)
        Days (UTC) that lost most against the zero forecast, and how much of its mean daily loss that was.
    coverage : Coverage
        Of 90 % intervals.
    best_set : tuple of str
        Candidates whose topic loss cannot be told from the best one's (model confidence set, 90 %); empty where the
        rows are too few to tell.
    deflated_sharpe : float
        Probability that following the forecasts has a Sharpe ratio above what the best of ``tries`` without skill
        shows; NaN where the forecasts never vary.
    tries : int
        Settings that were ever tried for the recipe.
    """

    bias: float
    bias_low: float
    bias_high: float
    parts: tuple[Part, ...]
    worst_days: tuple[tuple[str, float], ...]
    coverage: Coverage
    best_set: tuple[str, ...]
    deflated_sharpe: float
    tries: int

    def to_json(self) -> dict[str, Any]:
        """Return the analysis as plain values; what is not known is null."""
        found: dict[str, Any] = plain(asdict(self))
        return found


def analyse(recipe: Recipe, oos: OutOfSample, candidate: str, scale: np.ndarray, tries: int = 1) -> Analysis:
    """Return where ``candidate`` errs on the outer windows.

    Parameters
    ----------
    recipe : Recipe
        Loss and horizon.
    oos : OutOfSample
        Predictions.
    candidate : str
        Whose.
    scale : numpy.ndarray
        Shape (n,): standard deviation of the target as known at each prediction time.
    tries : int
        Settings that were ever tried for the recipe, this one included.
    """
    forecast, overlap = oos.y_pred[candidate], recipe.horizon_bars
    zero = topic_loss(recipe, oos.y_true, np.zeros_like(oos.y_true), oos.close, scale)
    own = topic_loss(recipe, oos.y_true, forecast, oos.close, scale)
    low, high = np.quantile(np.abs(forecast), [1 / 3, 2 / 3])
    size = np.abs(forecast)
    groups = {heading: make(oos, scale) for heading, make in PARTS.items()}
    groups["size of the forecast"] = {
        "small": size <= low, "medium": (size > low) & (size <= high), "large": size > high
    }  # fmt: skip
    parts = tuple(
        _part(heading, name, rows, zero - own, float(zero.mean()), oos.y_true, forecast, overlap)
        for heading, group in groups.items()
        for name, rows in group.items()
        if rows.any()
    )
    bias, bias_low, bias_high = _interval((oos.y_true - forecast) / scale, overlap)
    return Analysis(
        bias, bias_low, bias_high, parts, _worst_days(oos, zero, own),
        adaptive_coverage(oos.y_true, forecast, scale, horizon_bars=overlap),
        _best_set(recipe, oos, scale), _deflated(oos.y_true * forecast / scale**2, tries, overlap), tries,
    )  # fmt: skip


def _best_set(recipe: Recipe, oos: OutOfSample, scale: np.ndarray) -> tuple[str, ...]:
    losses = {
        name: topic_loss(recipe, oos.y_true, predicted, oos.close, scale) for name, predicted in oos.y_pred.items()
    }
    block = max(recipe.gates.block * recipe.horizon_bars, 5)
    usable = {name: values for name, values in losses.items() if np.isfinite(values).all()}
    if len(oos.y_true) < FEWEST_BLOCKS * block or not usable:
        return ()
    # of sums over short stretches the bootstrap makes the same blocks, and far fewer draws
    stretch = max(block // 2, len(oos.y_true) // _STRETCHES, 1)
    starts = np.arange(0, len(oos.y_true), stretch)
    summed = {name: np.add.reduceat(values, starts) for name, values in usable.items()}
    return confidence_set(
        summed, size=_SET_SIZE, block=max(-(-block // stretch), 2), draws=recipe.gates.bootstrap,
        seed=recipe.validation.seed,
    )  # fmt: skip


def _deflated(gains: np.ndarray, tries: int, overlap: int) -> float:
    if not gains.std() > 0:
        return math.nan
    # what tries without skill differ by: the standard error of a Sharpe ratio over that many independent rows
    spread = math.sqrt(overlap / len(gains))
    return deflated_sharpe(gains, trials=tries, spread=spread, overlap=overlap)


def adaptive_coverage(
    truth: np.ndarray, forecast: np.ndarray, scale: np.ndarray, *, horizon_bars: int, asked: float = 0.9
) -> Coverage:
    """Return how often the truth lay in adaptive conformal intervals (Gibbs and Candès 2021).

    The interval at t is made from errors of forecasts whose truth is known by t, in units of ``scale``; after each miss
    the next ones are wider, after each hit a little narrower.
    """
    errors = np.abs(truth - forecast) / scale
    level, inside = 1 - asked, np.ones(len(errors), dtype=bool)
    first = min(_MEMORY // 5 + horizon_bars, len(errors) // 2)
    known: list[float] = []  # ascending
    begun = ended = 0
    for t in range(first, len(errors)):
        begin, end = max(t - horizon_bars - _MEMORY, 0), max(t - horizon_bars, 1)
        for error in errors[ended:end]:
            insort(known, float(error))
        for error in errors[begun:begin]:
            known.pop(bisect_left(known, float(error)))
        begun, ended = begin, end
        inside[t] = errors[t] <= _quantile(known, min(max(1 - level, 0.0), 1.0))
        # what became known at t is the interval of a horizon ago
        level += _STEP * ((1 - asked) - (not inside[max(t - horizon_bars, 0)]))
    judged = inside[first:].astype(float)
    window = max(len(judged) // 10, 1)
    running = np.convolve(judged, np.ones(window) / window, "valid")
    return Coverage(asked, float(judged.mean()), float(running.min()))


def _quantile(ascending: list[float], share: float) -> float:
    """Return the quantile, between two values by straight line as NumPy has it."""
    place = share * (len(ascending) - 1)
    low = int(place)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (place - low) * (ascending[high] - ascending[low])


def _part(
    heading: str, name: str, rows: np.ndarray, gain: np.ndarray, base: float, truth: np.ndarray, forecast: np.ndarray,
    overlap: int,
) -> Part:  # fmt: skip
    moved = rows & (truth != 0) & (forecast != 0)
    hits = (np.sign(truth[moved]) == np.sign(forecast[moved])).astype(float)
    saved, direction = _interval(gain[rows], overlap), _interval(hits, overlap)
    return Part(heading, name, int(rows.sum()), saved[0] / base, saved[1] / base, saved[2] / base, *direction)


def _interval(values: np.ndarray, overlap: int) -> tuple[float, float, float]:
    """Return mean and 95 % interval; the interval is NaN where there are too few values."""
    mean = float(values.mean()) if len(values) else math.nan
    try:
        found = mean_statistic(values, overlap=overlap)
    except EvaluationError:
        return mean, math.nan, math.nan
    return found.mean, found.low, found.high


def _worst_days(oos: OutOfSample, zero: np.ndarray, own: np.ndarray) -> tuple[tuple[str, float], ...]:
    days, index = np.unique(oos.times.astype("datetime64[D]"), return_inverse=True)
    excess = np.bincount(index, weights=own - zero)
    usual = float(np.bincount(index, weights=zero).mean()) or 1.0
    order = np.argsort(-excess)[:_WORST]
    return tuple((str(days[i]), float(excess[i] / usual)) for i in order if excess[i] > 0)
