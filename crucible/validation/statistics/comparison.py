"""Which forecast is better: Diebold-Mariano, Clark-West, superior predictive ability, the model confidence set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from crucible.errors import EvaluationError
from crucible.validation.statistics.hac import MeanStatistic, mean_statistic


def diebold_mariano(loss: np.ndarray, other: np.ndarray, *, overlap: int) -> MeanStatistic:
    """Test whether ``loss`` is smaller than ``other`` on average (Diebold and Mariano 1995).

    Parameters
    ----------
    loss, other : numpy.ndarray
        Shape (n,): losses of two forecasts of the same events, in time order.
    overlap : int
        The horizon in rows.
    """
    return mean_statistic(other - loss, overlap=overlap)


def clark_west(truth: np.ndarray, forecast: np.ndarray, scale: np.ndarray, *, overlap: int) -> MeanStatistic:
    """Test whether ``forecast`` knows anything that a forecast of zero does not (Clark and West 2007).

    Under the null the model's extra parameters only add noise, so its squared error is larger than zero's by the
    mean of the squared forecasts; adding that back leaves ``2 * truth * forecast``. The plain difference of losses
    would hide skill of a size that markets have.

    Parameters
    ----------
    truth, forecast : numpy.ndarray
        Shape (n,): log returns.
    scale : numpy.ndarray
        Shape (n,): standard deviation of the target as known before; each event counts in its units.
    overlap : int
        The horizon in rows.
    """
    return mean_statistic(2.0 * truth * forecast / scale**2, overlap=overlap)


def superior_ability(gains: np.ndarray, *, block: int, draws: int, seed: int) -> float:
    """Return the p-value that not one of k candidates is better than the benchmark (Hansen 2005, consistent).

    Parameters
    ----------
    gains : numpy.ndarray
        Shape (n, k): how much better than the benchmark each candidate did, in time order. Every configuration that
        was ever looked at on these rows belongs here.
    block : int
        Rows per bootstrap block.
    draws, seed : int
        Of the circular block bootstrap.

    Raises
    ------
    EvaluationError
        If values are not finite, or there are fewer than 8 blocks.
    """
    from arch.bootstrap import SPA

    if not np.isfinite(gains).all():
        raise EvaluationError("Superior ability cannot be tested where single gains are infinite or not a number.")
    if len(gains) < 8 * block:
        raise EvaluationError(f"{len(gains)} rows are fewer than 8 blocks of {block}.")
    moving = gains[:, gains.std(axis=0) > 0]
    if not moving.shape[1]:
        return 1.0
    test = SPA(np.zeros(len(gains)), -moving, block_size=block, reps=draws, bootstrap="circular", seed=seed)
    test.compute()
    return float(test.pvalues["consistent"])


def confidence_set(
    losses: Mapping[str, np.ndarray], *, size: float, block: int, draws: int, seed: int
) -> tuple[str, ...]:
    """Return the candidates that cannot be told from the best (Hansen, Lunde and Nason 2011).

    Parameters
    ----------
    losses : mapping of str to numpy.ndarray
        Per candidate, shape (n,).
    size : float
        Of the test: the best one is left out with at most this probability.
    block, draws, seed : int
        Of the circular block bootstrap.
    """
    import pandas as pd
    from arch.bootstrap import MCS

    twins: dict[str, str] = {}  # candidates with the very same losses count once
    for name, values in losses.items():
        twins[name] = next((other for other in twins if np.array_equal(losses[other], values)), name)
    distinct = pd.DataFrame({name: losses[name] for name in dict.fromkeys(twins.values())})
    if distinct.shape[1] < 2:
        return tuple(losses)
    test = MCS(distinct, size=size, block_size=block, reps=draws, bootstrap="circular", seed=seed)
    test.compute()
    kept = set(test.included)
    return tuple(name for name in losses if twins[name] in kept)
