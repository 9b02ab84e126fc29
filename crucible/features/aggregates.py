"""The aggregates that a feature may take over a window, by the names that DuckDB gives them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from crucible.errors import RecipeError
from crucible.features.rolling import Array, Rolling, moments


@dataclass(frozen=True)
class Term:
    """One aggregate in a feature: ``avg(r * r)`` over 12 bars.

    Attributes
    ----------
    aggregate : str
        One of :data:`AGGREGATES`.
    columns : tuple of str
        Elementwise SQL expressions that are aggregated.
    numbers : tuple of float
        Further arguments.
    bars : int
        Length of the window.
    """

    aggregate: str
    columns: tuple[str, ...]
    numbers: tuple[float, ...]
    bars: int

    def __str__(self) -> str:
        arguments = ", ".join([*self.columns, *(f"{number:g}" for number in self.numbers)])
        return f"{self.aggregate}({arguments}) over {self.bars} bars"

    def compute(self, rolling: Rolling, values: Sequence[Array]) -> Array:
        """Return the aggregate at every bar of the frame, shape (rows,); NaN where a value in the window is missing."""
        return AGGREGATES[self.aggregate].function(rolling, self, values)


@dataclass(frozen=True)
class Aggregate:
    """How an aggregate is computed.

    Attributes
    ----------
    columns, numbers : int
        How many arguments of either kind it takes.
    function : callable
        (rolling, term, values of the columns) to an array of shape (rows,).
    """

    columns: int
    numbers: int
    function: Callable[[Rolling, Term, Sequence[Array]], Array]


def _sum(rolling: Rolling, term: Term, values: Sequence[Array]) -> Array:
    return rolling.sum(term.columns[0], values[0], term.bars)


def _avg(rolling: Rolling, term: Term, values: Sequence[Array]) -> Array:
    return _sum(rolling, term, values) / term.bars


def _min(rolling: Rolling, term: Term, values: Sequence[Array]) -> Array:
    return rolling.extreme(values[0], term.bars, np.minimum)


def _max(rolling: Rolling, term: Term, values: Sequence[Array]) -> Array:
    return rolling.extreme(values[0], term.bars, np.maximum)


def _variance(rolling: Rolling, term: Term, values: Sequence[Array]) -> Array:
    variance = moments(rolling, term.columns[0], values[0], term.bars, 2)[1]
    return variance * (term.bars / (term.bars - 1)) if term.bars > 1 else np.full_like(variance, np.nan)


def _stddev(rolling: Rolling, term: Term, values: Sequence[Array]) -> Array:
    return np.sqrt(_variance(rolling, term, values))


def _skewness(rolling: Rolling, term: Term, values: Sequence[Array]) -> Array:
    n = term.bars
    _, second, third = moments(rolling, term.columns[0], values[0], n, 3)
    plain = _ratio(third, second**1.5)
    return plain * np.sqrt(n * (n - 1)) / (n - 2) if n > 2 else np.full_like(plain, np.nan)


def _kurtosis(rolling: Rolling, term: Term, values: Sequence[Array]) -> Array:
    n = term.bars
    _, second, _, fourth = moments(rolling, term.columns[0], values[0], n, 4)
    excess = _ratio(fourth, second**2) - 3
    return ((n + 1) * excess + 6) * (n - 1) / ((n - 2) * (n - 3)) if n > 3 else np.full_like(excess, np.nan)


def _covariance(rolling: Rolling, term: Term, values: Sequence[Array]) -> Array:
    (x_name, y_name), (x, y), n = term.columns, values, term.bars
    product = rolling.sum(f"({x_name})*({y_name})", x * y, n) / n
    return product - rolling.sum(x_name, x, n) / n * (rolling.sum(y_name, y, n) / n)


def _corr(rolling: Rolling, term: Term, values: Sequence[Array]) -> Array:
    x_variance, y_variance = (
        moments(rolling, name, column, term.bars, 2)[1] for name, column in zip(term.columns, values, strict=True)
    )
    both = np.sqrt(x_variance * y_variance)
    return np.clip(_ratio(_covariance(rolling, term, values), both), -1.0, 1.0)


def _slope(rolling: Rolling, term: Term, values: Sequence[Array]) -> Array:
    """Slope of the first column on the second, as regr_slope(y, x)."""
    x_variance = moments(rolling, term.columns[1], values[1], term.bars, 2)[1]
    return _ratio(_covariance(rolling, term, values), x_variance)


def _fade(rolling: Rolling, term: Term, values: Sequence[Array]) -> Array:
    return rolling.fade(values[0], term.bars, term.numbers[0])


def _trend(rolling: Rolling, term: Term, values: Sequence[Array]) -> Array:
    """Least-squares slope per bar of the path whose steps are the column: no level enters, so none cancels."""
    n, name = term.bars, term.columns[0]
    plain, by_age, by_square = (rolling.ranked(values[0], n, power, name) for power in range(3))
    return 6.0 * (n * plain + (n - 1) * by_age - by_square) / (n * (n + 1) * (n + 2))


def _ago(rolling: Rolling, term: Term, values: Sequence[Array]) -> Array:
    return rolling.ago(values[0], term.bars)


def _ratio(over: Array, under: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(under > 0, over / under, np.nan)


AGGREGATES: dict[str, Aggregate] = {
    "sum": Aggregate(1, 0, _sum),
    "avg": Aggregate(1, 0, _avg),
    "min": Aggregate(1, 0, _min),
    "max": Aggregate(1, 0, _max),
    "var_samp": Aggregate(1, 0, _variance),
    "stddev_samp": Aggregate(1, 0, _stddev),
    "skewness": Aggregate(1, 0, _skewness),
    "kurtosis": Aggregate(1, 0, _kurtosis),
    "covar_pop": Aggregate(2, 0, _covariance),
    "corr": Aggregate(2, 0, _corr),
    "regr_slope": Aggregate(2, 0, _slope),
    "fade": Aggregate(1, 1, _fade),
    "trend": Aggregate(1, 0, _trend),
    "ago": Aggregate(1, 0, _ago),
}
"""Those of DuckDB's names have DuckDB's definitions. ``fade(x, k)`` sums x with weights that halve k times within the
window; ``trend(r)`` is the slope of the path with steps r; ``ago(x)`` is the value n bars ago."""


def parse_term(feature: str, text: str, bars: int) -> Term:
    """Return the aggregate in ``text``, for example ``corr(r, r_before)``.

    Raises
    ------
    RecipeError
        If it is none; with the feature's name and the nearest aggregate.
    """
    name, opening, rest = text.strip().partition("(")
    if not opening or not rest.endswith(")"):
        raise RecipeError(f"Feature {feature}: {text!r} is no aggregate; write for example avg(r * r).")
    aggregate = AGGREGATES.get(name.strip())
    if aggregate is None:
        near = difflib.get_close_matches(name.strip(), AGGREGATES, n=1, cutoff=0.0)[0]
        raise RecipeError(f"Feature {feature}: there is no aggregate {name.strip()!r}; the nearest is {near!r}.")
    arguments = _split(rest[:-1])
    if len(arguments) != aggregate.columns + aggregate.numbers:
        raise RecipeError(
            f"Feature {feature}: {name} takes {aggregate.columns + aggregate.numbers} arguments, not {len(arguments)}."
        )
    try:
        numbers = tuple(float(item) for item in arguments[aggregate.columns :])
    except ValueError as error:
        raise RecipeError(f"Feature {feature}: {text!r} needs a number: {error}.") from error
    return Term(name.strip(), tuple(arguments[: aggregate.columns]), numbers, bars)


def _split(text: str) -> list[str]:
    """Return the arguments between top-level commas, with single spaces."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [" ".join(part.split()) for part in parts]
