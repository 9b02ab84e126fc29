"""The built-in features, one file per family, and the sets that recipes name. Adding a feature is one declaration."""

from __future__ import annotations

import difflib

from crucible.errors import RecipeError
from crucible.features.feature import Feature, FeatureSet
from crucible.features.library import peers, returns, seasons, shape, trend, volatility, volume

FAMILIES = (returns, volatility, trend, volume, shape, seasons)

LIBRARY: dict[str, Feature] = {item.name: item for family in FAMILIES for item in family.FEATURES}
"""Every built-in feature of one symbol, by name."""

ACROSS: dict[str, Feature] = {item.name: item for item in peers.FEATURES}
"""Every built-in feature that looks at other symbols, by name; ``{peer}`` stands for each of them."""


def _pick(*names: str) -> tuple[Feature, ...]:
    return tuple(LIBRARY[name] for name in names)


CORE = FeatureSet(
    "core",
    2,
    _pick(
        "return_1", "return_3", "return_6", "return_12", "fading_return", "shock", "volatility_6", "volatility_12",
        "volatility_change", "parkinson", "range_position", "distance_6", "distance_12", "rsi", "up_share", "skew",
        "autocorrelation", "volume_change", "signed_volume", "illiquidity", "body", "hour_sin", "hour_cos",
    ),
)  # fmt: skip
"""A small set that trains in seconds."""

MOMENTUM = FeatureSet("momentum", 1, _pick("return_half", "return_1", "shock", "body"))
"""A handful: with little data, each feature that says nothing costs as much as one that does brings."""

WIDE = FeatureSet("wide", 1, tuple(LIBRARY.values()))
"""Everything that one symbol's bars can say."""

CROSS = FeatureSet("cross", 1, (*LIBRARY.values(), *ACROSS.values()))
"""The same, and what the recipe's ``data.peers`` say."""

_SETS = {(item.name, item.version): item for item in (CORE, MOMENTUM, WIDE, CROSS)}


def feature_set(name: str, version: int) -> FeatureSet:
    """Return the feature set with this name and version.

    Raises
    ------
    RecipeError
        If there is none; the nearest one is named.
    """
    found = _SETS.get((name, version))
    if found is None:
        known = [f"{known_name} version {known_version}" for known_name, known_version in _SETS]
        near = difflib.get_close_matches(f"{name} version {version}", known, n=1, cutoff=0.0)
        raise RecipeError(f"There is no feature set {name!r} version {version}; the nearest is {near[0]}.")
    return found
