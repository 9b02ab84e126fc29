"""Volume and liquidity: who pays for a move, and how much it takes."""

from crucible.features.feature import Feature
from crucible.features.library.windows import LONG, MEDIUM, SHORT, SLOW

FAMILY = "volume"

FEATURES = (
    Feature(
        "volume_change",
        "log ratio of short to long mean volume",
        "news arrives with volume",
        "log_ratio({m:avg(volume)}, {n:avg(volume)})",
        {"m": SHORT, "n": LONG},
        FAMILY,
    ),
    Feature(
        "volume_shock",
        "the last bar's volume in units of its variation",
        "a burst marks an event",
        "ratio(volume - {n:avg(volume)}, {n:stddev_samp(volume)})",
        {"n": LONG},
        FAMILY,
    ),
    Feature(
        "volume_trend",
        "log ratio of medium to slow mean volume",
        "interest that builds up or fades",
        "log_ratio({m:avg(volume)}, {n:avg(volume)})",
        {"m": MEDIUM, "n": SLOW},
        FAMILY,
    ),
    Feature(
        "vwap_distance",
        "log distance of the close from the volume-weighted mean price",
        "what the average buyer of the window has gained",
        "ln(close / ratio({n:sum(close * volume)}, {n:sum(volume)}))",
        {"n": LONG},
        FAMILY,
    ),
    Feature(
        "signed_volume",
        "volume of rising less that of falling bars, as a share of all",
        "order-flow imbalance moves the price further",
        "ratio({n:sum(sign(r) * volume)}, {n:sum(volume)})",
        {"n": MEDIUM},
        FAMILY,
        low=-1,
        high=1,
    ),
    Feature(
        "money_flow",
        "volume weighted by where the close lies in its bar, as a share of all (Chaikin)",
        "closes near the high on volume are accumulation",
        "ratio({n:sum(share(2 * close - high - low, high - low) * volume)}, {n:sum(volume)})",
        {"n": MEDIUM},
        FAMILY,
        low=-1,
        high=1,
    ),
    Feature(
        "illiquidity",
        "log of absolute movement per unit of money traded (after Amihud 2002)",
        "the same order moves a thin market further",
        "log_ratio({n:sum(abs(r))}, {n:sum(close * volume)})",
        {"n": LONG},
        FAMILY,
    ),
    Feature(
        "impact",
        "return per unit of signed relative volume (after Kyle 1985)",
        "how far an imbalance moves the price at present",
        "{n:regr_slope(r, sign(r) * root(volume))}",
        {"n": LONG},
        FAMILY,
    ),
    Feature(
        "volume_return_corr",
        "correlation of volume with absolute returns",
        "whether volume brings movement",
        "{n:corr(abs(r), volume)}",
        {"n": LONG},
        FAMILY,
        low=-1,
        high=1,
    ),
)
"""Declarations."""
