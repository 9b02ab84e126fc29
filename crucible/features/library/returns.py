"""Returns and momentum, at several fractions and multiples of H."""

from crucible.features.feature import Feature, Window
from crucible.features.library.windows import HALF, LAST, LONG, MEDIUM, SHORT, SLOW

FAMILY = "returns"

FEATURES = (
    Feature(
        "return_half",
        "return over the last half of H",
        "the newest move, before the horizon's own scale",
        "{n:sum(r)}",
        {"n": HALF},
        FAMILY,
    ),
    Feature(
        "return_1", "return over the last H", "short-term reversal or continuation", "{n:sum(r)}", {"n": LAST}, FAMILY
    ),
    Feature(
        "return_3",
        "return over the last 3 H",
        "momentum at the horizon's own scale",
        "{n:sum(r)}",
        {"n": SHORT},
        FAMILY,
    ),
    Feature("return_6", "return over the last 6 H", "momentum beyond the horizon", "{n:sum(r)}", {"n": MEDIUM}, FAMILY),
    Feature(
        "return_12", "return over the last 12 H", "slow momentum, or its exhaustion", "{n:sum(r)}", {"n": LONG}, FAMILY
    ),
    Feature(
        "return_24",
        "return over the last 24 H",
        "the drift that slower traders follow",
        "{n:sum(r)}",
        {"n": SLOW},
        FAMILY,
    ),
    Feature(
        "fading_return",
        "sum of returns, the weight halved four times within 8 H",
        "recent returns say more than older ones",
        "{n:fade(r, 4)}",
        {"n": Window(8, 12)},
        FAMILY,
    ),
    Feature(
        "shock",
        "the last return in units of recent volatility",
        "an unusual move is followed differently from a usual one",
        "ratio(r, {n:stddev_samp(r)})",
        {"n": LONG},
        FAMILY,
    ),
    Feature(
        "sharpe_6",
        "mean return per unit of volatility, medium window",
        "a smooth move continues where a rough one reverts",
        "ratio({n:avg(r)}, {n:stddev_samp(r)})",
        {"n": MEDIUM},
        FAMILY,
    ),
    Feature(
        "acceleration",
        "return over the last 3 H less that over the 3 H before",
        "a move that speeds up has not been absorbed",
        "{n:sum(r)} - ({m:sum(r)} - {n:sum(r)})",
        {"n": SHORT, "m": Window(6, 6)},
        FAMILY,
    ),
    Feature(
        "up_share",
        "fraction of rising bars",
        "persistence of sign, undisturbed by single large moves",
        "{n:avg((r > 0)::INT)}",
        {"n": MEDIUM},
        FAMILY,
        low=0,
        high=1,
    ),
    Feature(
        "up_share_long",
        "fraction of rising bars, long window",
        "a slow imbalance of buyers and sellers",
        "{n:avg((r > 0)::INT)}",
        {"n": LONG},
        FAMILY,
        low=0,
        high=1,
    ),
)
"""Declarations."""
