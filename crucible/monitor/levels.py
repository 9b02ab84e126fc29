"""From which p-value, or height, drift counts: printed by ``python -m benchmarks.drift_null``, not chosen by taste."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """A level, and what it was measured to cost.

    Attributes
    ----------
    value : float
        The adjusted p-value below which, or for a sum the height above which, something counts as drift.
    days : float
        Simulated days without any break on which it was measured.
    alarms : int
        How many separate alarms it gave on these.
    source : str
        The script that printed it.
    """

    value: float
    days: float
    alarms: int
    source: str = "benchmarks/drift_null.py"


LEVELS: dict[str, Level] = {
    "features": Level(5e-4, 9960, 1),
    "predictions": Level(3e-5, 9960, 0),
    "residuals": Level(5e-4, 9960, 0),
    "loss": Level(65.0, 9960, 2),
    # a base, to which the logarithm of independent epochs in a day is added
    "skill": Level(6.1, 120_000, 10, "benchmarks/skill_null.py"),
}
"""By kind."""
