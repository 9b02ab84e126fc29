"""The mechanism's state as plain values, so that a chain can be saved and restored to the last digit."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from crucible.network.actors import Actors
from crucible.network.state import TopicState

KINDS = ("inferer", "forecaster", "reputer")


def state_to_json(state: TopicState) -> dict[str, Any]:
    """Return ``state`` as plain values; NaN becomes ``None``."""
    return {item.name: _plain(getattr(state, item.name)) for item in fields(state)}


def state_from_json(values: dict[str, Any]) -> TopicState:
    """Return the state that :func:`state_to_json` described."""
    return TopicState(**{name: _restored(value) for name, value in values.items()})


def with_score_average(state: TopicState, kind: str, name: str, average: float) -> TopicState:
    """Return ``state`` in which actor ``name`` of ``kind`` has another score average, enrolled if it is new."""
    newcomers = tuple((name,) if kind == each else () for each in KINDS)
    state = state.enrolled(*newcomers)
    actors: Actors = getattr(state, f"{kind}s")
    averages = actors.score_ema.copy()
    averages[actors.names.index(name)] = average
    changed: dict[str, Any] = {f"{kind}s": replace(actors, score_ema=averages)}
    return replace(state, **changed)


def _plain(value: Any) -> Any:
    if isinstance(value, Actors):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple):
        return list(value)
    array = np.asarray(value)  # of one scenario, arithmetic makes numbers out of arrays without axes
    return {"shape": list(array.shape), "numbers": [None if item != item else item for item in array.ravel().tolist()]}


def _restored(value: Any) -> Any:
    if isinstance(value, dict) and "names" in value:
        return Actors(**{name: _restored(item) for name, item in value.items()})
    if isinstance(value, dict):
        numbers = [np.nan if item is None else item for item in value["numbers"]]
        return np.array(numbers, dtype=float).reshape(value["shape"])
    return tuple(value)
