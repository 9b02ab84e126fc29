"""Other versions that were judged on the same rows: each look at them counts, and the champion's is to be beaten."""

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
        if other != folder and (theirs := predictions_of(other, oos)) is not None:
            found[other.name] = np.nan_to_num(theirs, nan=0.0)
    return found


def predictions_of(folder: Path, oos: OutOfSample) -> np.ndarray | None:
    """Return what the evaluation in ``folder`` predicted for the rows of ``oos``, shape (n,); NaN where nothing.

    None if it has no verdict, or shares fewer than half of the rows.
    """
    if not (folder / "verdict.json").exists():
        return None
    candidate = json.loads((folder / "verdict.json").read_text())["candidate"]
    theirs = read_predictions(folder / "predictions.parquet")
    common, mine, rows = np.intersect1d(oos.times, theirs.times, return_indices=True)
    if len(common) < _COMMON * len(oos.times) or candidate not in theirs.y_pred:
        return None
    values = np.full(len(oos.times), np.nan)
    values[mine] = theirs.y_pred[candidate][rows]
    return values
