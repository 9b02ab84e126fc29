"""The gates: what a candidate must show before it is promoted, each with a sentence that a person understands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial

import numpy as np

from crucible.errors import EvaluationError
from crucible.recipe import Recipe
from crucible.validation.losses import topic_loss
from crucible.validation.predictions import OutOfSample
from crucible.validation.regimes import REGIMES
from crucible.validation.scorecard import GRADES, Scorecard, scorecard
from crucible.validation.statistics.bootstrap import FEWEST_BLOCKS
from crucible.validation.statistics.comparison import clark_west, diebold_mariano, superior_ability
from crucible.validation.statistics.hac import MeanStatistic, mean_statistic
from crucible.validation.statistics.precision import days_until, detectable_correlation
from crucible.validation.verdict import GateResult, Outcome, Verdict

_TOO_GOOD = {timedelta(minutes=30): 0.56, timedelta.max: 0.58}
"""Directional accuracy that honest forecasts of this horizon do not reach: look for a leak first."""

_BASELINES = ("zero", "last_value", "drift")
_SUPPOSED = 0.05  # correlation that a report counts the days to: what honest forecasts have


def judge(
    recipe: Recipe, oos: OutOfSample, candidate: str, scale: np.ndarray, integrity: Mapping[str, bool],
    earlier: Mapping[str, np.ndarray] | None = None,
) -> tuple[Verdict, Scorecard]:  # fmt: skip
    """Judge ``candidate`` on its predictions of the outer windows.

    Parameters
    ----------
    recipe : Recipe
        Its gates.
    oos : OutOfSample
        The predictions.
    candidate : str
        Which of them; chosen by the inner search, not by these rows.
    scale : numpy.ndarray
        Shape (n,): standard deviation of the target as known at each prediction time.
    integrity : mapping of str to bool
        Checks that the caller made, by what they establish ("no label reaches its test block").
    earlier : mapping of str to numpy.ndarray, optional
        Predictions of earlier versions for the same rows, shape (n,): each look at these rows counts.

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
    gates = [
        _integrity(facts),
        _skill(recipe, oos, candidate, scale),
        _gain(recipe, oos, candidate, scale),
        _direction(recipe, oos, candidate),
        _calibration(recipe, oos, candidate, scale),
        _selection(recipe, oos, candidate, scale, earlier or {}),
        _stability(recipe, oos, candidate, scale),
        _not_too_good(recipe, card),
    ]
    if recipe.gates.minimum_grade != "F":
        gates.append(_minimum_grade(recipe, card))
    return Verdict(candidate, card.grade, tuple(gates)), card


def confirm(
    recipe: Recipe, outer: OutOfSample, deployment: OutOfSample, candidate: str, scale: np.ndarray, looks: int = 1
) -> GateResult:
    """Judge the candidate on outer windows and deployment set together: the last gate.

    Parameters
    ----------
    recipe : Recipe
        Its ``gates.confirm`` is the level.
    outer, deployment : OutOfSample
        Predictions by frozen settings.
    candidate : str
        Who.
    scale : numpy.ndarray
        Shape (n + m,): of both, in this order.
    looks : int
        How many versions have opened a deployment set that shares rows with this one; the level is divided by it.
    """
    name, level = "confirmed by the deployment set", recipe.gates.confirm / looks
    truth = np.concatenate([outer.y_true, deployment.y_true])
    forecast = np.concatenate([outer.y_pred[candidate], deployment.y_pred[candidate]])
    if not np.isfinite(forecast).all():
        return GateResult(name, "fail", 1.0, level, "a prediction of the deployment set is not finite")
    found = _statistic(lambda: clark_west(truth, forecast, scale, overlap=recipe.horizon_bars))
    if isinstance(found, str):
        return GateResult(name, "undecided", 1.0, level, found)
    fresh = slice(len(outer.y_true), None)
    here = float(np.mean(truth[fresh] * forecast[fresh] / scale[fresh] ** 2))
    passed = found.p_value < level and here > 0
    sentence = (
        f"{_against(found.p_value, level)} on {len(truth)} rows, the deployment set's {len(deployment.y_true)} "
        f"included, and on the deployment set alone forecast and truth "
        f"{'agree' if here > 0 else 'do NOT agree'}"
    )
    return GateResult(name, "pass" if passed else "fail", found.p_value, level, sentence)


def against_champion(
    recipe: Recipe, oos: OutOfSample, candidate: str, scale: np.ndarray, champion: np.ndarray
) -> GateResult:
    """Compare the candidate with the champion's version on the windows that both have predicted.

    Parameters
    ----------
    recipe : Recipe
        Loss and level.
    oos : OutOfSample
        The candidate's predictions.
    candidate : str
        Who.
    scale : numpy.ndarray
        Shape (n,).
    champion : numpy.ndarray
        Shape (n,): what the champion's version predicted for the same rows, out of sample; NaN where nothing.
    """
    name, both = "better than the champion", np.isfinite(champion)
    y, close, known = oos.y_true[both], oos.close[both], scale[both]
    own = topic_loss(recipe, y, oos.y_pred[candidate][both], close, known)
    theirs = topic_loss(recipe, y, champion[both], close, known)
    if not (np.isfinite(own).all() and np.isfinite(theirs).all() and theirs.mean() > 0):
        return GateResult(name, "fail", 0.0, 0.0, "a loss is not finite")
    share = 1 - float(own.mean()) / float(theirs.mean())
    found = _statistic(lambda: diebold_mariano(own, theirs, overlap=recipe.horizon_bars))
    if isinstance(found, str):
        return GateResult(name, "undecided", share, 0.0, f"no verdict: {found}")
    base = float(theirs.mean())
    low, high = found.low / base, found.high / base
    sentence = (
        f"on {len(y)} common rows mean {recipe.topic.loss} is {abs(share):.3%} {'below' if share > 0 else 'ABOVE'} the "
        f"champion's (saved, 95 %: {low:+.3%} to {high:+.3%})"
    )
    outcome: Outcome = "pass" if share > 0 else "fail" if high < 0 else "undecided"
    return GateResult(name, outcome, share, 0.0, sentence, low=low, high=high)


def _statistic(make: Callable[[], MeanStatistic]) -> MeanStatistic | str:
    """Return a statistic, or the sentence why there can be none."""
    try:
        return make()
    except EvaluationError as error:
        return str(error)


def _against(p: float, level: float) -> str:
    return f"p {'< 0.0001' if p < 1e-4 else f'= {p:.4f}'} {'<' if p < level else '≥'} {level:g}"


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
        "the truth varies": bool(np.ptp(oos.y_true) > 0),
    }


def _integrity(facts: Mapping[str, bool]) -> GateResult:
    broken = [fact for fact, holds in facts.items() if not holds]
    sentence = f"all {len(facts)} integrity checks hold" if not broken else f"it does not hold that {', '.join(broken)}"
    outcome: Outcome = "fail" if broken else "pass"
    return GateResult("integrity", outcome, float(len(facts) - len(broken)), float(len(facts)), sentence)


def _skill(recipe: Recipe, oos: OutOfSample, candidate: str, scale: np.ndarray) -> GateResult:
    name, alpha, overlap = "knows more than zero", recipe.gates.alpha, recipe.horizon_bars
    forecast = oos.y_pred[candidate]
    found = _statistic(lambda: clark_west(oos.y_true, forecast, scale, overlap=overlap))
    if isinstance(found, str):
        return GateResult(name, "undecided", 1.0, alpha, f"no verdict: {found}")
    seen = detectable_correlation(found.independent, alpha)
    days = days_until(_SUPPOSED, found, len(forecast), recipe.data.interval, alpha)
    correlation = float(np.corrcoef(oos.y_true / scale, forecast / scale)[0, 1]) if np.ptp(forecast) > 0 else 0.0
    passed = found.p_value < alpha
    sentence = (
        f"forecast and truth correlate by {correlation:+.3f}, {_against(found.p_value, alpha)} "
        f"(Clark-West, fixed-b); these rows would show {seen:.3f} in four of five cases, and a true "
        f"{_SUPPOSED:g} takes {days:.0f} days"
    )
    outcome: Outcome = "pass" if passed else "fail" if found.high < 0 else "undecided"
    return GateResult(name, outcome, found.p_value, alpha, sentence)


def _gain(recipe: Recipe, oos: OutOfSample, candidate: str, scale: np.ndarray) -> GateResult:
    name, loss = "loses less than the baselines", recipe.topic.loss
    own = topic_loss(recipe, oos.y_true, oos.y_pred[candidate], oos.close, scale)
    baselines = {"zero": np.zeros_like(oos.y_true)} | {
        item: oos.y_pred[item] for item in _BASELINES if item in oos.y_pred and item != candidate
    }
    losses = {item: topic_loss(recipe, oos.y_true, p, oos.close, scale) for item, p in baselines.items()}
    endless = int((~np.isfinite(own)).sum())
    if endless:
        return GateResult(name, "fail", -1.0, 0.0, f"the {loss} of {endless} predictions is not finite")
    best = min(losses, key=lambda item: float(losses[item].mean()))
    base = float(losses[best].mean())
    share = 1 - float(own.mean()) / base if base else 0.0
    found = _statistic(lambda: diebold_mariano(own, losses[best], overlap=recipe.horizon_bars))
    low, high = (found.low / base, found.high / base) if not isinstance(found, str) and base else (np.nan, np.nan)
    passed = share > 0
    sentence = (
        f"mean {loss} is {abs(share):.2%} {'below' if passed else 'ABOVE'} that of {best}, the best baseline"
        f" (saved, 95 %: {low:+.2%} to {high:+.2%})"
    )
    outcome: Outcome = "pass" if passed else "fail" if high < 0 else "undecided"
    return GateResult(name, outcome, share, 0.0, sentence, low=low, high=high)


def _direction(recipe: Recipe, oos: OutOfSample, candidate: str) -> GateResult:
    name, forecast = "direction", oos.y_pred[candidate]
    moved = (oos.y_true != 0) & (forecast != 0)
    hits = (np.sign(oos.y_true[moved]) == np.sign(forecast[moved])).astype(float)
    found = _statistic(lambda: mean_statistic(hits - 0.5, overlap=recipe.horizon_bars))
    if isinstance(found, str):
        return GateResult(name, "undecided", 0.5, 0.5, f"no verdict: {found}", required=False)
    low, high = found.low + 0.5, found.high + 0.5
    sentence = f"right in {found.mean + 0.5:.2%} of {len(hits)} rows (95 %: {low:.2%} to {high:.2%})"
    outcome: Outcome = "fail" if high < 0.5 else "pass" if found.p_value < recipe.gates.alpha else "undecided"
    return GateResult(name, outcome, found.mean + 0.5, 0.5, sentence, required=False, low=low, high=high)


def _calibration(recipe: Recipe, oos: OutOfSample, candidate: str, scale: np.ndarray) -> GateResult:
    name = "calibration"
    y, f = oos.y_true / scale, oos.y_pred[candidate] / scale
    power = float((f * f).mean())
    if not power > 0:
        return GateResult(name, "undecided", 0.0, 1.0, "the forecast is zero throughout", required=False)
    slope = float((y * f).mean()) / power
    found = _statistic(lambda: mean_statistic((y - slope * f) * f / power + slope, overlap=recipe.horizon_bars))
    if isinstance(found, str):
        return GateResult(name, "undecided", slope, 1.0, f"no verdict: {found}", required=False)
    outcome: Outcome = "fail" if found.high < 0.5 else "pass" if found.low <= 1 <= found.high else "undecided"
    words = {
        "fail": "its forecasts are far too large",
        "pass": "its forecasts are as large as they should be",
        "undecided": "its forecasts are too large" if found.high < 1 else "its forecasts are timid",
    }
    sentence = (
        f"truth moves by {slope:.2f} per 1 forecast (95 %: {found.low:.2f} to {found.high:.2f}): {words[outcome]}"
    )
    return GateResult(name, outcome, slope, 1.0, sentence, required=False, low=found.low, high=found.high)


def _selection(
    recipe: Recipe, oos: OutOfSample, candidate: str, scale: np.ndarray, earlier: Mapping[str, np.ndarray]
) -> GateResult:
    name, alpha = "not the luck of many tries", recipe.gates.alpha
    looked = [oos.y_pred[candidate], *earlier.values()]
    block = max(recipe.gates.block * recipe.horizon_bars, 5)
    if len(oos.y_true) < FEWEST_BLOCKS * block:
        rows = FEWEST_BLOCKS * block
        return GateResult(name, "undecided", 1.0, alpha, f"no verdict: it takes {rows} rows, there are fewer")
    gains = np.column_stack([2 * oos.y_true * forecast / scale**2 for forecast in looked])
    value = superior_ability(gains, block=block, draws=recipe.gates.bootstrap, seed=recipe.validation.seed)
    passed = value < alpha
    tries = "the only try" if len(looked) == 1 else f"one of {len(looked)} tries"
    sentence = f"{tries} on these rows, {_against(value, alpha)} (superior ability)"
    return GateResult(name, "pass" if passed else "undecided", value, alpha, sentence)


def _stability(recipe: Recipe, oos: OutOfSample, candidate: str, scale: np.ndarray) -> GateResult:
    name, gains = "holds in every regime", 2 * oos.y_true * oos.y_pred[candidate] / scale**2
    parts = {title: rows for make in REGIMES for title, rows in make(oos, scale).items()}
    level = recipe.gates.alpha / max(len(parts), 1)
    worst, worst_p, bad = "", 1.0, []
    for title, rows in parts.items():
        found = _statistic(partial(mean_statistic, -gains[rows], overlap=recipe.horizon_bars))
        if isinstance(found, str):
            continue
        if found.p_value < worst_p:
            worst, worst_p = title, found.p_value
        if found.p_value < level:
            bad.append(title)
    sentence = (
        f"worse than zero in {', '.join(bad)}" if bad
        else f"in none of {len(parts)} regimes worse than zero; the weakest: {worst or 'none'} (p = {worst_p:.2f})"
    )  # fmt: skip
    return GateResult(name, "fail" if bad else "pass", worst_p, level, sentence, required=False)


def _minimum_grade(recipe: Recipe, card: Scorecard) -> GateResult:
    order = list(dict.fromkeys(GRADES))
    passed = order.index(card.grade) >= order.index(recipe.gates.minimum_grade)
    sentence = f"grade {card.grade} ({card.num_passed} of 7), {recipe.gates.minimum_grade} is required"
    needed = GRADES.index(recipe.gates.minimum_grade)
    return GateResult("minimum grade", "pass" if passed else "fail", float(card.num_passed), float(needed), sentence)


def _not_too_good(recipe: Recipe, card: Scorecard) -> GateResult:
    usual = next(level for horizon, level in _TOO_GOOD.items() if recipe.topic.horizon <= horizon)
    level = recipe.gates.too_good or usual
    accuracy = card.metrics["directional_accuracy"]
    passed = accuracy <= level
    sentence = f"direction is right in {accuracy:.2%}, " + (
        f"which is below the alarm level {level:.0%}"
        if passed
        else f"above the alarm level {level:.0%}: look for a leak, or override if you know why"
    )
    return GateResult("not too good to be true", "pass" if passed else "fail", accuracy, level, sentence)
