"""The feature report: what each feature is, how complete and stable it is, and what it has said about the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import atanh, sqrt, tanh

import numpy as np

from crucible.features.audit.drift import stability
from crucible.features.dataset import Dataset
from crucible.features.engine import recipe_features
from crucible.recipe import Recipe

_Z = 1.959964  # two-sided 95 %


@dataclass(frozen=True)
class Information:
    """The information coefficient of a feature in one year: its rank correlation with the target.

    Attributes
    ----------
    year : int
        Of the prediction times, UTC.
    value : float
        Spearman's rho; NaN where there are too few rows or the feature does not vary.
    low, high : float
        95 % interval, by Fisher's transform of n / H rows: targets that overlap are not counted as independent.
    """

    year: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class FeatureRow:
    """One line of the report.

    Attributes
    ----------
    feature, family, estimates, because : str
        From its declaration.
    windows : str
        Its windows in bars.
    warmup : int
        Bars that it looks back on, the newest included.
    missing : float
        Share of rows in which it is missing.
    drift : float
        Population stability index of the second half of the history against the first.
    information : tuple of Information
        One per year.
    """

    feature: str
    family: str
    estimates: str
    because: str
    windows: str
    warmup: int
    missing: float
    drift: float
    information: tuple[Information, ...]

    def to_record(self) -> dict[str, object]:
        """Return the line as a flat record for tables."""
        return {
            "feature": self.feature, "family": self.family, "estimates": self.estimates, "because": self.because,
            "windows": self.windows, "warm-up": self.warmup, "missing %": round(100 * self.missing, 2),
            "drift": round(self.drift, 3) if np.isfinite(self.drift) else "-",
        } | {f"IC {item.year}": _interval(item) for item in self.information}  # fmt: skip


def feature_report(dataset: Dataset, recipe: Recipe) -> list[FeatureRow]:
    """Return one line per feature of ``recipe``, over ``dataset``."""
    years = dataset.times.astype("datetime64[Y]").astype(int) + 1970
    half = len(dataset.times) // 2
    rows = []
    for index, item in enumerate(recipe_features(recipe).features):
        values = dataset.x[:, index]
        information = tuple(
            _information(int(year), values[years == year], dataset.y[years == year], recipe.horizon_bars)
            for year in np.unique(years)
        )
        bars = item.bars(recipe.horizon_bars)
        rows.append(
            FeatureRow(
                item.name, item.family, item.estimates, item.because,
                ", ".join(f"{name} {count}" for name, count in bars.items()) or "-", item.lookback(recipe.horizon_bars),
                float(np.isnan(values).mean()), stability(values[:half], values[half:]), information,
            )
        )  # fmt: skip
    return rows


def markdown(recipe: Recipe, rows: Sequence[FeatureRow]) -> str:
    """Return the report as a Markdown page."""
    records = [row.to_record() for row in rows]
    keys = list(records[0])
    lines = [
        f"# Features of {recipe.name}, version {recipe.version}",
        "",
        f"Set {recipe.features.set} version {recipe.features.version}, horizon {recipe.horizon_bars} bars. IC: rank "
        "correlation with the target in that year, with a 95 % interval that counts overlapping targets as what they "
        "are. An IC here was seen on all of the history: it describes, and does not prove.",
        "",
        "| " + " | ".join(keys) + " |",
        "|" + "---|" * len(keys),
        *("| " + " | ".join(str(record[key]) for key in keys) + " |" for record in records),
    ]
    return "\n".join(lines) + "\n"


def _information(year: int, values: np.ndarray, target: np.ndarray, horizon_bars: int) -> Information:
    known = np.isfinite(values) & np.isfinite(target)
    x, y = values[known], target[known]
    independent = len(x) / horizon_bars
    if independent < 10 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Information(year, float("nan"), float("nan"), float("nan"))
    rho = float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])
    middle, wide = atanh(max(min(rho, 0.999999), -0.999999)), _Z / sqrt(independent - 3)
    return Information(year, rho, tanh(middle - wide), tanh(middle + wide))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks, ties at their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]


def _interval(item: Information) -> str:
    return f"{item.value:+.3f} [{item.low:+.3f}, {item.high:+.3f}]" if np.isfinite(item.value) else "-"
