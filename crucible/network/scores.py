"""Scores of workers: how much worse the network would have been without them, in orders of magnitude of its loss."""

from __future__ import annotations

import numpy as np


def inferer_scores(combined: np.ndarray | float, without: np.ndarray) -> np.ndarray:
    """Return inferers' scores (..., n): how much the log10 loss would rise without each.

    Parameters
    ----------
    combined : numpy.ndarray or float
        Shape (...,) or one number: the combined network's loss.
    without : numpy.ndarray
        Shape (..., n): the losses of the networks without each inferer. Source: ``scores.go:162-335``.
    """
    return without - np.asarray(combined)[..., None]


def unique_share(forecasters: np.ndarray | int) -> np.ndarray:
    """Return f = 2^{−(K − 1)}, the share of the one-in score, for K forecasters."""
    return 2.0 ** (1.0 - np.asarray(forecasters, dtype=float))


def combined_forecaster_score(one_in: np.ndarray, one_out: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """Return ``share·one_in + (1 − share)·one_out``; shapes broadcast."""
    return share * one_in + (1 - share) * one_out


def forecaster_scores(combined: np.ndarray, naive: np.ndarray, one_out: np.ndarray, one_in: np.ndarray) -> np.ndarray:
    """Return forecasters' scores (..., K) from log10 losses.

    Parameters
    ----------
    combined, naive : numpy.ndarray
        Shape (...,): losses of the combined and of the naive network.
    one_out, one_in : numpy.ndarray
        Shape (..., K): losses without, and with only, each forecaster; NaN for one that took no part.

    Returns
    -------
    numpy.ndarray
        NaN where a loss is. K counts the forecasters that have one-out losses. Source: ``scores.go:162-335``.
    """
    share = unique_share((~np.isnan(one_out)).sum(-1))[..., None]
    gained = np.asarray(naive)[..., None] - one_in
    return combined_forecaster_score(gained, inferer_scores(combined, one_out), share)


def task_score(naive: np.ndarray | float, combined: np.ndarray | float) -> np.ndarray:
    """Return T_f = naive − combined loss: what forecasters bring to the network; shapes broadcast."""
    return np.asarray(naive) - np.asarray(combined)
