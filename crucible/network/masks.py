"""Questions to arrays that are asked hundreds of times an epoch; NumPy's own methods take several times as long."""

from __future__ import annotations

import numpy as np


def some(mask: np.ndarray) -> bool:
    """Return whether any element of ``mask``, of any shape, is true."""
    return bool(np.count_nonzero(mask))


def every(mask: np.ndarray) -> bool:
    """Return whether all elements of ``mask``, of any shape, are true."""
    return np.count_nonzero(mask) == mask.size


def has_nan(values: np.ndarray) -> bool:
    """Return whether ``values``, of any shape, contain NaN."""
    if values.ndim == 1:
        total = np.dot(values, values)  # squares never cancel, so only NaN makes it NaN
        return bool(total != total)
    return bool(np.count_nonzero(np.isnan(values)))
