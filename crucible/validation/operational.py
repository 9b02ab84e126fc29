"""The operational gate: whether a model that is good enough is also light and quick enough to be at work."""

from __future__ import annotations

from dataclasses import dataclass

from crucible.duration import format_duration
from crucible.recipe import Recipe
from crucible.validation.verdict import GateResult, Outcome


@dataclass(frozen=True)
class Operation:
    """What a bundle costs at work, as measured.

    Attributes
    ----------
    seconds : float
        From bars in memory to a prediction, the median of several.
    megabytes : float
        Of the bundle's files.
    warmup_bars : int
        Stored bars that have to be there before the first prediction.
    """

    seconds: float
    megabytes: float
    warmup_bars: int


def operational(recipe: Recipe, measured: Operation) -> GateResult:
    """Hold what was measured against ``gates.operation``; also that bars of an honest feed are never called stale.

    Parameters
    ----------
    recipe : Recipe
        Its limits.
    measured : Operation
        Of the bundle that would be deployed.
    """
    limits, staleness = recipe.gates.operation, recipe.deploy.max_staleness
    faults = [
        text
        for text, wrong in (
            (f"a prediction takes {measured.seconds:.3f} s, {limits.seconds:g} s are allowed",
             measured.seconds > limits.seconds),
            (f"its files take {measured.megabytes:.1f} MB, {limits.megabytes:g} MB are allowed",
             measured.megabytes > limits.megabytes),
            (f"it needs {measured.warmup_bars:,} stored bars before it can predict, {limits.warmup_bars:,} are allowed",
             measured.warmup_bars > limits.warmup_bars),
            (f"max_staleness ({format_duration(staleness)}) is shorter than a bar, so every bar would be stale",
             staleness < recipe.data.interval),
        )
        if wrong
    ]  # fmt: skip
    sentence = "; ".join(faults) or (
        f"a prediction takes {1e3 * measured.seconds:.0f} ms, its files {measured.megabytes:.1f} MB, and it warms up "
        f"on {measured.warmup_bars:,} stored bars"
    )
    outcome: Outcome = "fail" if faults else "pass"
    return GateResult("fit for work", outcome, measured.seconds, limits.seconds, sentence)
