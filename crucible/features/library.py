"""The built-in feature sets. Adding a feature is adding one declaration here; see :class:`Feature` for the notation."""

from __future__ import annotations

import difflib

from crucible.errors import RecipeError
from crucible.features.feature import Feature, FeatureSet, Window

# every look-back is a multiple of the horizon H; the floors keep statistics meaningful where H is a single bar
_LAST = Window(1, 1)
_SHORT = Window(3, 3)
_MEDIUM = Window(6, 12)
_LONG = Window(12, 48)

CORE = FeatureSet(
    "core",
    1,
    (
        Feature(
            "return_1", "return over the last H", "short-term reversal or continuation", "{n:sum(r)}", {"n": _LAST}
        ),
        Feature(
            "return_3", "return over the last 3 H", "momentum at the horizon's own scale", "{n:sum(r)}", {"n": _SHORT}
        ),
        Feature("return_6", "return over the last 6 H", "momentum beyond the horizon", "{n:sum(r)}", {"n": _MEDIUM}),
        Feature(
            "return_12", "return over the last 12 H", "slow momentum, or its exhaustion", "{n:sum(r)}", {"n": _LONG}
        ),
        Feature(
            "fading_return",
            "sum of returns, the weight halved every 2 H",
            "recent returns say more than older ones",
            "list_sum(list_transform({n:list(r)}, lambda v, i: v * pow(0.5, ({n} - i) / (2.0 * {h}))))",
            {"h": _LAST, "n": Window(8, 12)},
        ),
        Feature(
            "shock",
            "the last return in units of recent volatility",
            "an unusual move is followed differently from a usual one",
            "r / nullif({n:stddev_samp(r)}, 0)",
            {"n": _LONG},
        ),
        Feature(
            "volatility_6",
            "realised volatility, medium window",
            "scales every forecast of a return",
            "sqrt({n:avg(r * r)})",
            {"n": _MEDIUM},
        ),
        Feature(
            "volatility_12",
            "realised volatility, long window",
            "the regime that the market is in",
            "sqrt({n:avg(r * r)})",
            {"n": _LONG},
        ),
        Feature(
            "volatility_change",
            "log ratio of medium to long volatility",
            "rising volatility changes the sign of autocorrelation",
            "0.5 * ln({m:avg(r * r)} / nullif({n:avg(r * r)}, 0))",
            {"m": _MEDIUM, "n": _LONG},
        ),
        Feature(
            "parkinson",
            "volatility from the high-low range (Parkinson 1980)",
            "about five times as efficient as close to close",
            "sqrt({n:avg(pow(ln(high / low), 2))} / (4 * ln(2)))",
            {"n": _MEDIUM},
        ),
        Feature(
            "range_position",
            "where the close lies between the lowest low and the highest high",
            "break-outs continue; the middle of a range says nothing",
            "(close - {n:min(low)}) / nullif({n:max(high)} - {n:min(low)}, 0)",
            {"n": _LONG},
        ),
        Feature(
            "distance_6",
            "log distance of the close from its medium mean",
            "reversion towards a recent fair price",
            "ln(close / {n:avg(close)})",
            {"n": _MEDIUM},
        ),
        Feature(
            "distance_12",
            "log distance of the close from its long mean",
            "reversion towards a slower fair price",
            "ln(close / {n:avg(close)})",
            {"n": _LONG},
        ),
        Feature(
            "rsi",
            "share of upward movement in all movement (Wilder's index, flat window)",
            "over-bought and over-sold states revert",
            "{n:sum(greatest(r, 0))} / nullif({n:sum(abs(r))}, 0)",
            {"n": _MEDIUM},
        ),
        Feature(
            "up_share",
            "fraction of rising bars",
            "persistence of sign, undisturbed by single large moves",
            "{n:avg((r > 0)::INT)}",
            {"n": _MEDIUM},
        ),
        Feature("skew", "skewness of returns", "asymmetric risk is paid for", "{n:skewness(r)}", {"n": _LONG}),
        Feature(
            "autocorrelation",
            "lag-one autocorrelation of returns",
            "whether momentum or reversal rules at present",
            "CASE WHEN {n:count(r_before)} = {n} THEN {n:corr(r, r_before)} END",
            {"n": _LONG},
        ),
        Feature(
            "volume_change",
            "log ratio of short to long mean volume",
            "news arrives with volume",
            "ln(nullif({m:avg(volume)}, 0) / nullif({n:avg(volume)}, 0))",
            {"m": _SHORT, "n": _LONG},
        ),
        Feature(
            "signed_volume",
            "volume of rising less that of falling bars, as a share of all",
            "order-flow imbalance moves the price further",
            "{n:sum(sign(r) * volume)} / nullif({n:sum(volume)}, 0)",
            {"n": _MEDIUM},
        ),
        Feature(
            "illiquidity",
            "log mean absolute return per unit of money traded (Amihud 2002)",
            "the same order moves a thin market further",
            "ln(nullif({n:avg(abs(r) / nullif(close * volume, 0))}, 0))",
            {"n": _LONG},
        ),
        Feature(
            "body",
            "the last bar's body as a signed share of its range",
            "a close near the extreme shows who was in control",
            "(close - open) / nullif(high - low, 0)",
            {},
        ),
        Feature(
            "hour_sin",
            "time of day, sine",
            "volume and drift differ by session",
            "sin(2 * pi() * (extract('hour' FROM t) * 60 + extract('minute' FROM t)) / 1440)",
            {},
        ),
        Feature(
            "hour_cos",
            "time of day, cosine",
            "volume and drift differ by session",
            "cos(2 * pi() * (extract('hour' FROM t) * 60 + extract('minute' FROM t)) / 1440)",
            {},
        ),
    ),
)

_SETS = {(item.name, item.version): item for item in (CORE,)}


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
