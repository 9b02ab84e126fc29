"""The unattended month's detectors alone, on other seeds: false alarms before the break, delays after it; prints JSON.

``python -m benchmarks.month_seeds`` takes some minutes. Markets, features and model of ``benchmarks.month``, fitted
anew every week, without exchange, chain and worker: what ``crucible.monitor.drift_watch`` would say every six hours.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.sides.month_world import HISTORY, START, SYMBOLS, Calendar, month_market, month_recipe
from crucible.features.dataset import Dataset, build_dataset
from crucible.models.candidates import build_model
from crucible.monitor.cusum import cumulate
from crucible.monitor.drift import Reference
from crucible.monitor.skill import Told, lost_skill
from crucible.practice.simulate import SimulatedMarket
from crucible.validation.fits import known_scale
from crucible.validation.weights import normalised, row_weights

DAY, WEEK, LOOK = 24, 168, 6
JUDGED = 40 * DAY


def main() -> None:
    """Look at every seed, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON (it always does)")
    parser.add_argument("--seeds", type=int, default=60, help="how many")
    parser.add_argument("--first", type=int, default=101, help="the first of them")
    options = parser.parse_args()
    calendar = Calendar(days=35, turns=30)
    found = [
        look(month_market(seed, calendar), name, seed, calendar)
        for seed in range(options.first, options.first + options.seeds)
        for name in SYMBOLS
    ]
    late = [item for item in found if item["noticed_after_days"] is None or item["noticed_after_days"] > 2]
    print(
        json.dumps(
            {
                "topics": len(found),
                "quiet_days": calendar.turns * len(found),
                "false_alarms": [f"{item['seed']} {item['topic']}: {text}" for item in found for text in item["false"]],
                "noticed_within_two_days": len(found) - len(late),
                "later": [(item["seed"], item["topic"], item["noticed_after_days"]) for item in late],
                "median_days": float(np.median([item["noticed_after_days"] or np.inf for item in found])),
            },
            indent=2,
        )
    )


def look(market: SimulatedMarket, name: str, seed: int, calendar: Calendar) -> dict[str, Any]:
    """Return the false alarms of one topic, and after how many days the break is noticed."""
    data, predicted, first = forecasts(market, name, calendar)
    false, noticed = [], None
    turn = first + calendar.turns * DAY
    for begun in range(first, len(data.y), WEEK):
        judge, before = _Judge(data, predicted, first, begun), len(false)
        for end in range(begun + LOOK, min(begun + WEEK, len(data.y)) + 1, LOOK):
            told = judge.alarms(end)
            if told and end <= turn and len(false) == before:  # one that lasts is one alarm of this model
                false.append(f"day {(end - first) / DAY:.1f}: {', '.join(told)}")
            elif told and end > turn and noticed is None:
                noticed = (end - turn) / DAY
    return {"seed": seed, "topic": name, "false": false, "noticed_after_days": noticed}


def forecasts(market: SimulatedMarket, name: str, calendar: Calendar) -> tuple[Dataset, np.ndarray, int]:
    """Return the features, forecasts of a model that is fitted anew each week, and the first row that is served."""
    recipe = month_recipe(name)
    begin, end = ((START - HISTORY).timestamp(), START.timestamp() + calendar.days * 86_400)
    candles = market.candles(recipe.data.symbol, 3_600_000, int(begin * 1000), int(end * 1000))
    columns = {key: getattr(candles, key) for key in ("open", "high", "low", "close", "volume")}
    opened = pa.array(candles.time * 1000, pa.int64()).cast(pa.timestamp("us", "UTC"))
    data = build_dataset(pa.table({"open_time": opened, **columns}), recipe)
    first = int(np.searchsorted(data.times, np.datetime64(START.replace(tzinfo=None))))
    predicted = np.full(len(data.y), np.nan)
    for at in range(first - (JUDGED // WEEK + 1) * WEEK, len(data.y), WEEK):
        known = slice(0, at - 1)
        weight = normalised(row_weights(recipe, data.times[known]), slice(None))
        model = build_model("ridge", recipe, data.names).fit(data.x[known], data.y[known], weight=weight)
        predicted[at : at + WEEK] = model.predict(data.x[at : at + WEEK])
    return data, predicted, first


class _Judge:
    """What the drift monitor knows of one week's model."""

    def __init__(self, data: Dataset, predicted: np.ndarray, first: int, begun: int) -> None:
        judged = slice(first - JUDGED, first)
        self._data, self._predicted, self._judged, self._begun = data, predicted, judged, begun
        self._scale = known_scale(data.y, 1)
        residual = data.y - predicted
        self._now = {
            "features": dict(zip(data.names, data.x.T, strict=True)),
            "predictions": {"prediction": predicted}, "residuals": {"residual": residual},
        }  # fmt: skip
        rows = {"features": slice(0, begun), "predictions": judged, "residuals": judged}
        self._known = {
            kind: Reference({name: column[rows[kind]] for name, column in columns.items()}, DAY)
            for kind, columns in self._now.items()
        }

    def alarms(self, end: int) -> list[str]:
        recent = slice(end - DAY, end)
        found = []
        for kind, columns in self._now.items():
            if kind != "features" and end - self._begun < DAY // 2:
                continue
            since = recent if kind == "features" else slice(max(end - DAY, self._begun), end)
            judged = self._known[kind].judge({name: column[since] for name, column in columns.items()}, kind)
            found += sorted({item.column for item in judged if item.drifted})
        live = slice(self._begun, end)
        if lost_skill(self._told(self._judged), self._told(live), per_day=DAY).drifted:
            found.append("skill")
        loss = (self._data.y - self._predicted) ** 2 - self._data.y**2
        return [*found, "loss"] if cumulate(loss[self._judged], loss[live]).drifted else found

    def _told(self, rows: slice) -> Told:
        return Told(self._predicted[rows], self._data.y[rows], self._scale[rows])


if __name__ == "__main__":
    main()
