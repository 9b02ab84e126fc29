"""Every library feature once more, slowly and obviously: one bar at a time, with Python lists."""

from __future__ import annotations

import itertools
import math
import statistics as st
from datetime import UTC, datetime


class Bars:
    """Bars up to and including the newest; ``None`` where one is missing."""

    def __init__(self, rows):
        self.rows = rows

    def last(self, n, shift=0):
        end = len(self.rows) - shift
        if end - n < 0:
            raise Missing
        found = self.rows[end - n : end]
        if any(row is None for row in found):
            raise Missing
        return found

    def column(self, name, n, shift=0):
        return [row[name] for row in self.last(n, shift)]

    def r(self, n, shift=0):
        closes = self.column("close", n + 1, shift)
        return [math.log(b / a) for a, b in itertools.pairwise(closes)]

    @property
    def t(self):
        return datetime.fromtimestamp(self.rows[-1]["t"], UTC)


class Missing(Exception):
    pass


def mean(values):
    return math.fsum(values) / len(values)


def ratio(a, b):
    if b == 0:
        raise Missing
    return a / b


def square(values):
    return [value * value for value in values]


def rogers(row):
    o, h, low, c = (row[name] for name in ("open", "high", "low", "close"))
    return math.log(h / c) * math.log(h / o) + math.log(low / c) * math.log(low / o)


def garman(row):
    return (
        0.5 * math.log(row["high"] / row["low"]) ** 2
        - (2 * math.log(2) - 1) * math.log(row["close"] / row["open"]) ** 2
    )


def moment(values, k):
    middle = mean(values)
    return mean([(value - middle) ** k for value in values])


def corr(x, y):
    return ratio(
        mean([a * b for a, b in zip(x, y, strict=True)]) - mean(x) * mean(y), math.sqrt(moment(x, 2) * moment(y, 2))
    )


def slope_on(y, x):
    return ratio(mean([a * b for a, b in zip(x, y, strict=True)]) - mean(x) * mean(y), moment(x, 2))


def fading(values, n):
    return math.fsum(value * 0.5 ** (4 * (len(values) - 1 - i) / n) for i, value in enumerate(values))


def path_slope(steps):
    path = [0.0]
    for step in steps:
        path.append(path[-1] + step)
    xs = list(range(len(path)))
    return slope_on(path, xs)


def up(values):
    return [value if value > 0 else 0.0 for value in values]


def body(row):
    wide = row["high"] - row["low"]
    return (row["close"] - row["open"]) / wide if wide else 0.0


def wick(row):
    wide = row["high"] - row["low"]
    return (
        (row["high"] + row["low"] - max(row["open"], row["close"]) - min(row["open"], row["close"])) / wide
        if wide
        else 0.0
    )


def flow(row):
    wide = row["high"] - row["low"]
    return ((2 * row["close"] - row["high"] - row["low"]) / wide if wide else 0.0) * row["volume"]


def day(b):
    return (b.t.hour * 3600 + b.t.minute * 60 + b.t.second) / 86400


def week(b):
    return (b.t.weekday() * 86400 + b.t.hour * 3600 + b.t.minute * 60) / 604800


def sign(value):
    return (value > 0) - (value < 0)


def yang_zhang(b, n):
    rows, before = b.last(n), b.column("close", n + 1)
    gap = [math.log(row["open"] / close) for row, close in zip(rows, before[:-1], strict=True)]
    inside = [math.log(row["close"] / row["open"]) for row in rows]
    k = 0.34 / (1.34 + (n + 1) / (n - 1))
    return math.sqrt(st.variance(gap) + k * st.variance(inside) + (1 - k) * mean([rogers(row) for row in rows]))


def skewness(x):
    n = len(x)
    return ratio(moment(x, 3), moment(x, 2) ** 1.5) * math.sqrt(n * (n - 1)) / (n - 2)


def kurtosis(x):
    n = len(x)
    return ((n + 1) * (ratio(moment(x, 4), moment(x, 2) ** 2) - 3) + 6) * (n - 1) / ((n - 2) * (n - 3))


def lr(a, b):
    if a <= 0 or b <= 0:
        raise Missing
    return math.log(a / b)


def rms(values):
    return math.sqrt(mean(square(values)))


def reach(b, n):
    return max(b.column("high", n)), min(b.column("low", n))


def position(b, n):
    top, bottom = reach(b, n)
    return ratio(b.column("close", 1)[0] - bottom, top - bottom)


def distance(b, n):
    return math.log(b.column("close", 1)[0] / mean(b.column("close", n)))


def volumes(b, n):
    return b.column("volume", n)


def weighted(b, n, value):
    return ratio(math.fsum(value(row) for row in b.last(n)), math.fsum(volumes(b, n)))


ORACLE = {
    "return_half": lambda b, w: math.fsum(b.r(w["n"])),
    "return_1": lambda b, w: math.fsum(b.r(w["n"])),
    "return_3": lambda b, w: math.fsum(b.r(w["n"])),
    "return_6": lambda b, w: math.fsum(b.r(w["n"])),
    "return_12": lambda b, w: math.fsum(b.r(w["n"])),
    "return_24": lambda b, w: math.fsum(b.r(w["n"])),
    "fading_return": lambda b, w: fading(b.r(w["n"]), w["n"]),
    "shock": lambda b, w: ratio(b.r(1)[0], st.stdev(b.r(w["n"]))),
    "sharpe_6": lambda b, w: ratio(mean(b.r(w["n"])), st.stdev(b.r(w["n"]))),
    "acceleration": lambda b, w: math.fsum(b.r(w["n"])) - (math.fsum(b.r(w["m"])) - math.fsum(b.r(w["n"]))),
    "up_share": lambda b, w: mean([float(x > 0) for x in b.r(w["n"])]),
    "up_share_long": lambda b, w: mean([float(x > 0) for x in b.r(w["n"])]),
    "volatility_3": lambda b, w: rms(b.r(w["n"])),
    "volatility_6": lambda b, w: rms(b.r(w["n"])),
    "volatility_12": lambda b, w: rms(b.r(w["n"])),
    "volatility_change": lambda b, w: lr(rms(b.r(w["m"])), rms(b.r(w["n"]))),
    "volatility_slope": lambda b, w: lr(rms(b.r(w["m"])), rms(b.r(w["n"]))),
    "parkinson": lambda b, w: math.sqrt(mean([math.log(x["high"] / x["low"]) ** 2 for x in b.last(w["n"])]) / (4 * math.log(2))),
    "garman_klass": lambda b, w: math.sqrt(max(mean([garman(x) for x in b.last(w["n"])]), 0)),
    "rogers_satchell": lambda b, w: math.sqrt(mean([rogers(x) for x in b.last(w["n"])])),
    "yang_zhang": lambda b, w: yang_zhang(b, w["n"]),
    "range_efficiency": lambda b, w: 0.5 * lr(
        mean([math.log(x["high"] / x["low"]) ** 2 for x in b.last(w["n"])]) / (4 * math.log(2)), mean(square(b.r(w["n"])))
    ),
    "vol_of_vol": lambda b, w: ratio(st.stdev(square(b.r(w["n"]))), mean(square(b.r(w["n"])))),
    "downside_share": lambda b, w: ratio(math.fsum(x * x for x in b.r(w["n"]) if x < 0), math.fsum(square(b.r(w["n"])))),
    "jump_share": lambda b, w: 1 - min(ratio(
        mean([abs(x * y) for x, y in zip(b.r(w["n"]), b.r(w["n"], 1), strict=True)]) * math.pi / 2, mean(square(b.r(w["n"])))
    ), 1),
    "largest_move": lambda b, w: ratio(max(abs(x) for x in b.r(w["n"])), rms(b.r(w["n"]))),
    "distance_6": lambda b, w: distance(b, w["n"]),
    "distance_12": lambda b, w: distance(b, w["n"]),
    "distance_24": lambda b, w: distance(b, w["n"]),
    "macd": lambda b, w: math.log(
        fading(b.column("close", w["m"]), w["m"]) / fading([1.0] * w["m"], w["m"])
        / (fading(b.column("close", w["n"]), w["n"]) / fading([1.0] * w["n"], w["n"]))
    ),
    "rsi": lambda b, w: ratio(math.fsum(up(b.r(w["n"]))), math.fsum(abs(x) for x in b.r(w["n"]))),
    "rsi_long": lambda b, w: ratio(math.fsum(up(b.r(w["n"]))), math.fsum(abs(x) for x in b.r(w["n"]))),
    "bollinger": lambda b, w: ratio(
        b.column("close", 1)[0] - mean(b.column("close", w["n"])), st.stdev(b.column("close", w["n"]))
    ),
    "range_position": lambda b, w: position(b, w["n"]),
    "range_position_short": lambda b, w: position(b, w["n"]),
    "slope_6": lambda b, w: ratio(path_slope(b.r(w["n"])), st.stdev(b.r(w["n"]))),
    "slope_12": lambda b, w: ratio(path_slope(b.r(w["n"])), st.stdev(b.r(w["n"]))),
    "efficiency": lambda b, w: ratio(abs(math.fsum(b.r(w["n"]))), math.fsum(abs(x) for x in b.r(w["n"]))),
    "variance_ratio": lambda b, w: ratio(
        mean([(x + y) ** 2 for x, y in zip(b.r(w["n"]), b.r(w["n"], 1), strict=True)]), 2 * mean(square(b.r(w["n"])))
    ) - 1,
    "autocorrelation": lambda b, w: corr(b.r(w["n"]), b.r(w["n"], 1)),
    "hurst": lambda b, w: lr(math.log(reach(b, w["n"])[0] / reach(b, w["n"])[1]), math.log(reach(b, w["m"])[0] / reach(b, w["m"])[1]))
    / math.log(w["n"] / w["m"]),
    "volume_change": lambda b, w: lr(mean(volumes(b, w["m"])), mean(volumes(b, w["n"]))),
    "volume_shock": lambda b, w: ratio(volumes(b, 1)[0] - mean(volumes(b, w["n"])), st.stdev(volumes(b, w["n"]))),
    "volume_trend": lambda b, w: lr(mean(volumes(b, w["m"])), mean(volumes(b, w["n"]))),
    "vwap_distance": lambda b, w: math.log(b.column("close", 1)[0] / weighted(b, w["n"], lambda x: x["close"] * x["volume"])),
    "signed_volume": lambda b, w: ratio(
        math.fsum(sign(x) * v for x, v in zip(b.r(w["n"]), volumes(b, w["n"]), strict=True)), math.fsum(volumes(b, w["n"]))
    ),
    "money_flow": lambda b, w: weighted(b, w["n"], flow),
    "illiquidity": lambda b, w: lr(
        math.fsum(abs(x) for x in b.r(w["n"])), math.fsum(x["close"] * x["volume"] for x in b.last(w["n"]))
    ),
    "impact": lambda b, w: slope_on(
        b.r(w["n"]), [sign(x) * math.sqrt(v) for x, v in zip(b.r(w["n"]), volumes(b, w["n"]), strict=True)]
    ),
    "volume_return_corr": lambda b, w: corr([abs(x) for x in b.r(w["n"])], volumes(b, w["n"])),
    "body": lambda b, w: ratio(b.last(1)[0]["close"] - b.last(1)[0]["open"], b.last(1)[0]["high"] - b.last(1)[0]["low"]),
    "upper_wick": lambda b, w: ratio(
        b.last(1)[0]["high"] - max(b.last(1)[0]["open"], b.last(1)[0]["close"]), b.last(1)[0]["high"] - b.last(1)[0]["low"]
    ),
    "lower_wick": lambda b, w: ratio(
        min(b.last(1)[0]["open"], b.last(1)[0]["close"]) - b.last(1)[0]["low"], b.last(1)[0]["high"] - b.last(1)[0]["low"]
    ),
    "body_mean": lambda b, w: mean([body(x) for x in b.last(w["n"])]),
    "wick_balance": lambda b, w: mean([wick(x) for x in b.last(w["n"])]),
    "range_shock": lambda b, w: ratio(
        math.log(b.last(1)[0]["high"] / b.last(1)[0]["low"]), mean([math.log(x["high"] / x["low"]) for x in b.last(w["n"])])
    ),
    "skew": lambda b, w: skewness(b.r(w["n"])),
    "kurtosis": lambda b, w: kurtosis(b.r(w["n"])),
    "drawdown": lambda b, w: math.log(b.column("close", 1)[0] / reach(b, w["n"])[0]),
    "rally": lambda b, w: math.log(b.column("close", 1)[0] / reach(b, w["n"])[1]),
    "drawdown_slow": lambda b, w: math.log(b.column("close", 1)[0] / reach(b, w["n"])[0]),
    "hour_sin": lambda b, w: math.sin(2 * math.pi * day(b)),
    "hour_cos": lambda b, w: math.cos(2 * math.pi * day(b)),
    "week_sin": lambda b, w: math.sin(2 * math.pi * week(b)),
    "week_cos": lambda b, w: math.cos(2 * math.pi * week(b)),
    "funding_phase": lambda b, w: (day(b) * 3) % 1,
    "us_session": lambda b, w: float(b.t.weekday() < 5 and 13.5 / 24 <= day(b) <= 20 / 24),
}  # fmt: skip


def peer(b, name, n, shift=0):
    """Return a column of the peer over the last n bars; missing where it, or the own bar, is."""
    found = b.column(f"eth_{name}", n, shift)
    if any(value is None for value in found):
        raise Missing
    return found


def peer_r(b, n, shift=0, name="eth"):
    closes = b.column(f"{name}_close", n + 1, shift)
    if any(value is None for value in closes):
        raise Missing
    return [math.log(y / x) for x, y in itertools.pairwise(closes)]


def everyone(b, n):
    return list(zip(peer_r(b, n), peer_r(b, n, name="sol"), strict=True))


def middle(b, n):
    return [mean(pair) for pair in everyone(b, n)]


def spread(b, n):
    return [st.pstdev([own, *pair]) for own, pair in zip(b.r(n), everyone(b, n), strict=True)]


ORACLE_ACROSS = {
    "lead_eth": lambda b, w: peer_r(b, 1)[0],
    "gap_eth": lambda b, w: math.fsum(peer_r(b, w["n"])) - math.fsum(b.r(w["n"])),
    "strength_eth": lambda b, w: math.fsum(b.r(w["n"])) - math.fsum(peer_r(b, w["n"])),
    "beta_eth": lambda b, w: slope_on(b.r(w["n"]), peer_r(b, w["n"])),
    "residual_eth": lambda b, w: (
        math.fsum(b.r(w["m"])) - slope_on(b.r(w["n"]), peer_r(b, w["n"])) * math.fsum(peer_r(b, w["m"]))
    ),
    "correlation_eth": lambda b, w: corr(b.r(w["n"]), peer_r(b, w["n"])),
    "lag_eth": lambda b, w: corr(b.r(w["n"]), peer_r(b, w["n"], 1)),
    "volume_eth": lambda b, w: math.log(peer(b, "volume", 1)[0] / mean(peer(b, "volume", w["n"]))),
    "market_return": lambda b, w: math.fsum(middle(b, w["n"])),
    "market_trend": lambda b, w: math.fsum(middle(b, w["n"])) / st.stdev(middle(b, w["n"])),
    "market_residual": lambda b, w: (
        math.fsum(b.r(w["m"])) - slope_on(b.r(w["n"]), middle(b, w["n"])) * math.fsum(middle(b, w["m"]))
    ),
    "breadth": lambda b, w: mean([sum(r > 0 for r in pair) / 2 for pair in everyone(b, w["n"])]),
    "dispersion": lambda b, w: mean(spread(b, w["n"])),
    "dispersion_change": lambda b, w: math.log(mean(spread(b, w["m"])) / mean(spread(b, w["n"]))),
}
"""Those that look across, for peers ``eth`` and ``sol``."""
