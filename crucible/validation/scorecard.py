"""The seven-metric Forge scorecard, exactly as the network's own kit computes it.

It is shown because builders know it; it is not calibrated (overlapping targets, see the gates for the verdict).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crucible.errors import SchemaError

GRADES = ("F", "F", "D", "C", "B", "B+", "A", "A+")
"""Grade by number of passes, 0 to 7."""

_MINUTES_PER_YEAR = 365.24 * 24 * 60

PRIMARY: dict[str, tuple[str, Callable[[float], bool], str]] = {
    "directional_accuracy": ("da_pass", lambda value: value >= 0.52, "≥ 0.52"),
    "da_ci_lower": ("da_ci_pass", lambda value: value >= 0.50, "≥ 0.50"),
    "da_pvalue": ("da_pvalue_pass", lambda value: value < 0.05, "< 0.05"),
    "pearson_r": ("pearson_r_pass", lambda value: value >= 0.05, "≥ 0.05"),
    "pearson_pvalue": ("pearson_pvalue_pass", lambda value: value < 0.05, "< 0.05"),
    "wrmse_improvement": ("wrmse_improvement_pass", lambda value: value >= 0.05, "≥ 0.05"),
    "czar_improvement": ("czar_improvement_pass", lambda value: value >= 0.10, "≥ 0.10"),
}
"""The scored metrics: the name of the pass flag, the rule, and the rule in words."""


@dataclass(frozen=True)
class Scorecard:
    """The scorecard of one set of predictions.

    Attributes
    ----------
    metrics : dict
        Every reported metric by name; plain ``float`` and ``int``.
    passed : dict of str to bool
        The seven pass flags.
    temporal_coverage_pass : bool or None
        Whether at least half of the expected epochs have a prediction; ``None`` where none were stated.
    """

    metrics: dict[str, float]
    passed: dict[str, bool]
    temporal_coverage_pass: bool | None

    @property
    def num_passed(self) -> int:
        """How many of the seven metrics pass."""
        return sum(self.passed.values())

    @property
    def score(self) -> float:
        """Passes divided by seven."""
        return self.num_passed / len(PRIMARY)

    @property
    def grade(self) -> str:
        """A+ to F."""
        return GRADES[self.num_passed]


def scorecard(
    y_true: np.ndarray, y_pred: np.ndarray, *, epoch_minutes: float = 5, expected_epochs: int | None = None
) -> Scorecard:
    """Grade predicted log returns against actual ones.

    Parameters
    ----------
    y_true, y_pred : numpy.ndarray
        Shape (n,), finite.
    epoch_minutes : float
        Length of an epoch, for the annualised return.
    expected_epochs : int, optional
        How many predictions there should be, for temporal coverage.

    Raises
    ------
    SchemaError
        If the arrays are empty, of unequal length, or not finite.
    """
    y, p = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
    if y.ndim != 1 or y.shape != p.shape or not len(y):
        raise SchemaError(f"A scorecard needs two equally long lists of numbers, not shapes {y.shape} and {p.shape}.")
    if not (np.isfinite(y).all() and np.isfinite(p).all()):
        raise SchemaError("A scorecard needs finite numbers; a missing prediction cannot be graded.")
    # extreme inputs overflow to inf or nan in single metrics, as they do in the reference; that is no fault
    with np.errstate(all="ignore"):
        metrics = {
            **_direction(y, p),
            **_correlations(y, p),
            **_improvements(y, p),
            **_returns(y, p, epoch_minutes),
            **_errors(y, p),
            **_confusion(y, p),
        }
    passed = {flag: bool(rule(metrics[name])) for name, (flag, rule, _) in PRIMARY.items()}
    coverage = len(y) / expected_epochs >= 0.5 if expected_epochs else None
    return Scorecard(metrics, passed, coverage)


def _direction(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    from scipy.special import ndtr

    moved = y != 0
    hit = (np.sign(y[moved]) == np.sign(p[moved])).astype(np.float64)
    n = len(hit)
    if n == 0:
        return {"directional_accuracy": 0.5, "da_ci_lower": 0.0, "da_ci_upper": 1.0, "da_pvalue": 1.0,
                "da_n_samples": 0, "da_n_effective": 0.0, "da_n_correct": 0, "da_autocorrelation": 0.0}  # fmt: skip
    accuracy = float(hit.mean())
    rho = max(_pearson(hit[:-1], hit[1:]), 0.0) if n > 2 else 0.0
    effective = max(n * (1 - rho) / (1 + rho), 2.0) if n > 2 else float(n)
    z = (accuracy - 0.5 - 0.5 / effective) / math.sqrt(0.25 / effective)
    low, high = _wilson(accuracy, effective)
    return {
        "directional_accuracy": accuracy,
        "da_ci_lower": low,
        "da_ci_upper": high,
        "da_pvalue": float(1 - ndtr(max(z, 0.0))),
        "da_n_samples": n,
        "da_n_effective": float(effective),
        "da_n_correct": int(hit.sum()),
        "da_autocorrelation": rho,
    }


def _wilson(share: float, n: float, z: float = 1.96) -> tuple[float, float]:
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _correlations(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    # rounding leaves a trace of variation in a constant, and with it a meaningless correlation of 1
    defined = _varies(y) and _varies(p)
    r = _pearson(p, y) if defined else 0.0
    rank = _pearson(_ranks(p), _ranks(y)) if defined else 0.0
    return {
        "pearson_r": r,
        "pearson_pvalue": _correlation_pvalue(r, len(y), defined),
        "spearman_r": rank,
        "spearman_pvalue": _correlation_pvalue(rank, len(y), defined),
    }


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 1, ties sharing their mean; several times faster than scipy's on a million values."""
    order = np.argsort(values)
    ordered = values[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    length = np.diff(np.append(first, len(values)))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(first + (length + 1) / 2, length)
    return ranks


def _varies(values: np.ndarray) -> bool:
    return bool((values != values[0]).any())


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    # scaled first, so that squares of tiny or huge numbers neither vanish nor overflow
    size_a, size_b = np.abs(a).max(), np.abs(b).max()
    if not (size_a > 0 and size_b > 0):
        return 0.0
    a, b = a / size_a, b / size_b
    r = float(a @ b / math.sqrt((a @ a) * (b @ b)))
    return min(max(r, -1.0), 1.0) if math.isfinite(r) else 0.0


def _correlation_pvalue(r: float, n: int, defined: bool) -> float:
    from scipy.special import betainc

    if not defined or n <= 2:
        return 1.0
    # r is Beta(n/2 - 1, n/2 - 1) on [-1, 1] where there is no correlation
    half = n / 2 - 1
    return float(min(2 * betainc(half, half, 0.5 * (1 - abs(r))), 1.0))


def _improvements(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    weight = np.abs(y)
    total = float(weight.sum())
    model = math.sqrt(float((weight * (y - p) ** 2).sum()) / total) if total else 0.0
    baseline = math.sqrt(float((weight * y**2).sum()) / total) if total else 0.0
    sigma = float(y.std())
    agree = np.where(np.sign(y) == np.sign(p), 1.0, -1.0)
    z = y / sigma if sigma else np.zeros_like(y)
    czar, oracle = float((agree * np.abs(z)).sum()), float(np.abs(z).sum())
    squashed = _squash(p / sigma if sigma else np.zeros_like(p))
    zptae = float((weight * np.abs(_squash(z) - squashed)).sum()) / total if total else 0.0
    zero = float((weight * np.abs(_squash(z))).sum()) / total if total else 0.0
    return {
        "wrmse_model": model,
        "wrmse_baseline": baseline,
        "wrmse_improvement": (baseline - model) / baseline if baseline else 0.0,
        "czar_model": czar,
        "czar_oracle": oracle,
        "czar_improvement": czar / oracle if oracle else 0.0,
        "zptae_model": zptae,
        "zptae_baseline": zero,
        "zptae_improvement": (zero - zptae) / zero if zero else 0.0,
    }


def _squash(z: np.ndarray) -> np.ndarray:
    return np.tanh(z * z * z)  # tanh and cube are odd, so the sign takes care of itself


def _returns(y: np.ndarray, p: np.ndarray, epoch_minutes: float) -> dict[str, float]:
    naive = float(np.where(np.sign(y) == np.sign(p), np.abs(y), -np.abs(y)).sum())
    true, predicted = float(y.std()), float(p.std())
    return {
        "std_true": true,
        "std_pred": predicted,
        "log_aspect_ratio": math.log10(predicted / true) if true > 0 and predicted > 0 else 0.0,
        "naive_return": naive,
        "naive_annualized_return": naive * _MINUTES_PER_YEAR / epoch_minutes / len(y),
        "n_samples": len(y),
        "epoch_length_minutes": epoch_minutes,
    }


def _errors(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    error = y - p
    mse = float((error**2).mean())
    spread = float(((y - y.mean()) ** 2).sum())
    moved = y != 0
    return {
        "mae": float(np.abs(error).mean()),
        "mse": mse,
        "rmse": math.sqrt(mse),
        "r2": 1 - float((error**2).sum()) / spread if spread else 0.0,
        "mape": float(np.abs(error[moved] / y[moved]).mean()) * 100 if moved.any() else math.inf,
    }


def _confusion(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    up, says_up = y > 0, p > 0
    tp, tn = int((up & says_up).sum()), int((~up & ~says_up).sum())
    fp, fn = int((~up & says_up).sum()), int((up & ~says_up).sum())
    precision, recall = _ratio(tp, tp + fp), _ratio(tp, tp + fn)
    return {
        "precision": precision,
        "recall": recall,
        "f1_score": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "specificity": _ratio(tn, tn + fp),
        "true_positives": tp,
        "true_negatives": tn,
        "false_positives": fp,
        "false_negatives": fn,
    }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
