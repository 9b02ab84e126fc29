"""From which height a loss of skill counts: alarms where nothing is lost, and delays where all of it is; prints JSON.

``python -m benchmarks.skill_null --days 10000``. A forecaster of constant skill on markets of constant volatility, of a
wandering and of a switching one, with noise from Student's t (5 degrees), 40 days to be judged by and 60 to serve; its
forecasts are of constant size on half of the markets, and move with the volatility on the others. Printed per number of
epochs in a day: the base of the level that gives one alarm in 10,000 days, the alarms at the level in use, and how many
breaks are noticed within two days, a signal that vanishes and one that turns.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from benchmarks.drift_null import ONE_IN, tail
from crucible.monitor.levels import LEVELS
from crucible.monitor.skill import Told, lost_skill

KNOWN, SERVED = 40, 60
SKILLS = {24: (0.3, 0.4, 0.6), 288: (0.1, 0.2, 0.35, 0.6)}
"""By epochs in a day: of an hourly topic's 40 days, a tenth is too little for the monitor to say anything."""


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON (it always does)")
    parser.add_argument("--days", type=int, default=3000, help="days without a break, per number of epochs in a day")
    parser.add_argument("--breaks", type=int, default=40, help="breaks per skill and kind")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for per_day, skills in SKILLS.items():
        null = [
            path(index, options.seed, per_day, skills[index % len(skills)], 1.0)
            for index in range(max(options.days // SERVED, 4))
        ]
        found[str(per_day)] = {**alarms(null, per_day), "noticed": noticed(options.breaks, options.seed, per_day)}
    print(json.dumps(found, indent=2))


def path(index: int, seed: int, per_day: int, skill: float, left: float) -> np.ndarray:
    """Return the sum over the days of service, on which the forecasts have ``left`` of their skill (-1 for turned)."""
    generator = np.random.default_rng([seed, index, per_day])
    n = (KNOWN + SERVED) * per_day
    size = _volatility(index % 3, n, per_day, generator)
    signal = generator.normal(size=n)
    share = np.where(np.arange(n) < KNOWN * per_day, 1.0, left)
    noise = generator.standard_t(5, n) / np.sqrt(5 / 3)
    truth = size * (skill * share * signal + np.sqrt(1 - skill**2) * noise)
    predicted = skill * signal * (size if index % 2 else 1.0)
    # what is known of the volatility at t is an average over days
    slow = np.sqrt(np.convolve(size**2, np.ones(20 * per_day) / (20 * per_day), mode="full")[:n] + 1e-3)
    told = Told(predicted, truth, slow)
    before, after = (Told(*(column[part] for column in (told.predicted, told.truth, told.scale))) for part in (
        slice(0, KNOWN * per_day), slice(KNOWN * per_day, n)))  # fmt: skip
    return lost_skill(before, after, per_day=per_day, threshold=1e9).path


def alarms(null: list[np.ndarray], per_day: int) -> dict[str, Any]:
    """Return the base of the level for one alarm in :data:`ONE_IN` days, and the alarms at the level in use."""
    width = 5 * per_day
    highest = np.sort(np.concatenate([item.reshape(-1, width).max(axis=1) for item in null]))
    level = LEVELS["skill"].value + np.log(per_day)
    return {
        "days": len(null) * SERVED,
        "base_one_in_10000_days": tail(highest, len(highest) * 5 / ONE_IN) - float(np.log(per_day)),
        "in_use": LEVELS["skill"].value,
        "alarms": int((highest > level).sum()),
        "largest": float(highest[-1]),
    }


def noticed(count: int, seed: int, per_day: int) -> dict[str, Any]:
    """Return by kind of break and skill how many of ``count`` are noticed within two days."""
    level = LEVELS["skill"].value + np.log(per_day)
    return {
        name: {
            str(skill): sum(
                bool((path(10_000 + index, seed, per_day, skill, left)[: 2 * per_day] > level).any())
                for index in range(count)
            )
            for skill in SKILLS[per_day]
        }
        for name, left in (("turns", -1.0), ("vanishes", 0.0))
    }


def _volatility(kind: int, n: int, per_day: int, generator: np.random.Generator) -> np.ndarray:
    """Return a constant, a slowly wandering or a switching volatility, shape (n,), about 1."""
    if kind == 0:
        return np.ones(n)
    if kind == 1:
        from scipy.signal import lfilter

        fade = 0.5 ** (2.0 / per_day)  # it forgets by half in half a day
        return np.asarray(np.exp(0.3 * lfilter([np.sqrt(1 - fade**2)], [1, -fade], generator.normal(size=n))))
    turns = np.cumsum(generator.random(n) < 1.0 / per_day)
    return np.where(turns % 2, 1.7, 0.8)


if __name__ == "__main__":
    main()
