"""Earlier versions that were judged on the same rows: each look at them counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from crucible.validation.predictions import OutOfSample, read_predictions

_COMMON = 0.5  # of the rows: below this, another version's windows are other windows


def earlier_looks(folder: Path, oos: OutOfSample) -> dict[str, np.ndarray]:
    """Return what other evaluations of the recipe predicted for the rows of ``oos``, by their folder's name.

    Parameters
    ----------
    folder : pathlib.Path
        The evaluation's own; those beside it are looked through, as far as they have a verdict.
    oos : OutOfSample
        Its predictions.

    Returns
    -------
    dict of str to numpy.ndarray
        Shape (n,): 0 (no opinion) where another version has no prediction for a row. Versions that share fewer than
        half of the rows are left out.
    """
    found = {}
    for other in sorted(folder.parent.iterdir()):
        if other == folder or not (other / "verdict.json").exists():
            continue
        candidate = json.loads((other / "verdict.json").read_text())["candidate"]
        theirs = read_predictions(other / "predictions.parquet")
        common, mine, rows = np.intersect1d(oos.times, theirs.times, return_indices=True)
        if len(common) < _COMMON * len(oos.times) or candidate not in theirs.y_pred:
            continue
        values = np.zeros(len(oos.times))
        values[mine] = theirs.y_pred[candidate][rows]
        found[other.name] = values
    return found
