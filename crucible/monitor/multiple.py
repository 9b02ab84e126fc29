"""Many tests at once: adjusted p-values by Holm, and by Benjamini and Hochberg."""

from __future__ import annotations

import numpy as np


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values adjusted so that any false rejection at all is as rare as the level (Holm 1979).

    Parameters
    ----------
    p_values : numpy.ndarray
        Shape (n,), in any order; NaN is a test that could not be made, stays NaN and is not counted.

    Returns
    -------
    numpy.ndarray
        Shape (n,), none smaller than before and none above 1.
    """
    return _adjust(p_values, step_down=True)


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Return p-values adjusted so that the share of false ones among the rejected is the level (1995).

    It holds for independent tests and for those that are positively dependent, as features of one market are. Where
    nothing has moved every rejection is a false one, so that the level is then the rate of false alarms (Simes).
    Arguments and result as for :func:`holm`.
    """
    return _adjust(p_values, step_down=False)


def _adjust(p_values: np.ndarray, *, step_down: bool) -> np.ndarray:
    found = np.full(len(p_values), np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    n = len(order)
    ranks = np.arange(n)
    if step_down:
        found[order] = np.maximum.accumulate(p_values[order] * (n - ranks))
    else:
        found[order] = np.minimum.accumulate((p_values[order] * n / (ranks + 1))[::-1])[::-1]
    return np.where(np.isfinite(found), np.minimum(found, 1.0), np.nan)
