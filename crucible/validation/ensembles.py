"""Weights of the ensembles, learnt on the inner tests: equal, earned by the loss, or stacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def ensemble_weights(
    name: str, scores: Mapping[str, float], predicted: Mapping[str, Sequence[np.ndarray]], truth: np.ndarray,
    scale: np.ndarray,
) -> dict[str, float]:  # fmt: skip
    """Return the weights of ensemble ``name``.

    Parameters
    ----------
    name : str
        ``mean``: equal. ``weighted``: they fall with the loss beyond the best member's, in units of the members'
        spread. ``stacked``: the non-negative least squares of the truth on the members' predictions (Breiman 1996);
        members that add nothing get 0, and if all do, the mean is taken.
    scores : mapping of str to float
        Of each member, on the inner tests.
    predicted : mapping of str to sequence of numpy.ndarray
        Per member, its predictions of each inner test.
    truth, scale : numpy.ndarray
        Shape (n,): of all inner tests together.
    """
    members = tuple(predicted)
    equal = {member: 1.0 / len(members) for member in members}
    if name == "mean" or len(members) == 1:
        return equal
    if name == "weighted":
        values = np.array([scores[member] for member in members])
        raw = np.exp(-(values - values.min()) / (float(values.std()) or 1.0))
        return dict(zip(members, (raw / raw.sum()).tolist(), strict=True))
    from scipy.optimize import nnls

    matrix = np.column_stack([np.concatenate(predicted[member]) / scale for member in members])
    found, _ = nnls(matrix, truth / scale)
    return dict(zip(members, found.tolist(), strict=True)) if found.sum() > 0 else equal
