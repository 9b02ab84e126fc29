"""The library's features in polars, from the same plan; run by ``benchmarks.features`` in an environment of its own.

``python polars_features.py BARS.parquet PLAN.json``: each aggregate becomes polars' own rolling expression, and each
elementwise expression is the plan's text with functions of the same names. Prints the seconds of the
faster of two runs.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl


def main() -> None:
    """Measure, and print JSON."""
    plan = json.loads(Path(sys.argv[2]).read_text())
    bars = pl.read_parquet(sys.argv[1])
    best, rows = math.inf, 0
    for _ in range(2):
        started = time.perf_counter()
        rows = compute(bars, plan).height
        best = min(best, time.perf_counter() - started)
    print(
        json.dumps({"polars": pl.__version__, "seconds": round(best, 2), "rows": rows, "features": len(plan["outer"])})
    )


def compute(bars: pl.DataFrame, plan: dict[str, Any]) -> pl.DataFrame:
    """Return the features as a frame."""
    close = pl.col("close")
    frame = bars.lazy().with_columns(close_before=close.shift(1), t=pl.col("open_time") + pl.duration(minutes=1))
    frame = frame.with_columns(r=(close / pl.col("close_before")).log())
    frame = frame.with_columns(r_before=pl.col("r").shift(1))
    names = ("open", "high", "low", "close", "volume", "r", "r_before", "close_before", "t")
    columns = {name: pl.col(name) for name in names}
    inner = {name.strip('"'): evaluate(text, columns) for name, text in plan["inner"].items()}
    windows = {}
    for name, term in plan["terms"].items():
        arguments = [columns.get(text, inner.get(text)) for text in term["columns"]]
        windows[name] = rolling(term["aggregate"], arguments, term["numbers"], term["bars"]).alias(name)
    frame = frame.with_columns(**windows)
    known = columns | {name: pl.col(name) for name in windows}
    return frame.select(**{name: evaluate(text, known) for name, text in plan["outer"].items()}).collect()


def rolling(aggregate: str, x: list[pl.Expr], numbers: list[float], n: int) -> pl.Expr:
    """Return polars' expression of an aggregate over n rows."""
    a = x[0]
    if aggregate in ("sum", "min", "max"):
        return getattr(a, f"rolling_{aggregate}")(n)
    if aggregate == "avg":
        return a.rolling_mean(n)
    if aggregate == "var_samp":
        return a.rolling_var(n)
    if aggregate == "stddev_samp":
        return a.rolling_std(n)
    if aggregate == "skewness":
        return a.rolling_skew(n, bias=False)
    if aggregate == "kurtosis":
        return a.rolling_kurtosis(n, bias=False)
    if aggregate == "corr":
        return pl.rolling_corr(x[0], x[1], window_size=n)
    if aggregate == "regr_slope":
        return pl.rolling_cov(x[0], x[1], window_size=n) / x[1].rolling_var(n)
    if aggregate == "fade":
        weights = [0.5 ** (numbers[0] * (n - 1 - k) / n) for k in range(n)]
        return a.fill_null(0.0).rolling_sum(n, weights=weights)
    if aggregate == "trend":
        weights = [6.0 * (age + 1) * (n - age) / (n * (n + 1) * (n + 2)) for age in range(n - 1, -1, -1)]
        return a.fill_null(0.0).rolling_sum(n, weights=weights)
    raise ValueError(aggregate)


def day(t: pl.Expr) -> pl.Expr:
    """Return the share of the day that is over."""
    return (t.dt.hour().cast(pl.Float64) * 3600 + t.dt.minute().cast(pl.Float64) * 60) / 86400


def week(t: pl.Expr) -> pl.Expr:
    """Return the share of the week that is over."""
    return ((t.dt.weekday().cast(pl.Float64) - 1) + day(t)) / 7


FUNCTIONS: dict[str, Any] = {
    "ln": lambda a: a.log() if isinstance(a, pl.Expr) else math.log(a),
    "sqrt": lambda a: a.sqrt(),
    "abs": lambda a: a.abs(),
    "sign": lambda a: a.sign(),
    "sin": lambda a: a.sin(),
    "cos": lambda a: a.cos(),
    "pow": lambda a, b: a**b,
    "pi": lambda: math.pi,
    "greatest": pl.max_horizontal,
    "least": pl.min_horizontal,
    "sq": lambda a: a * a,
    "ratio": lambda a, b: a / b,
    "share": lambda a, b: pl.when(b == 0).then(0.0).otherwise(a / b),
    "positive": lambda a: pl.when(a > 0).then(a).otherwise(0.0),
    "negative": lambda a: pl.when(a < 0).then(a).otherwise(0.0),
    "at_most": lambda a, b: pl.when(a > b).then(b).otherwise(a),
    "log_ratio": lambda a, b: a.log() - b.log(),
    "root": lambda a: a.clip(0).sqrt(),
    "garman_klass": lambda o, h, low, c: 0.5 * (h / low).log() ** 2 - (2 * math.log(2) - 1) * (c / o).log() ** 2,
    "rogers_satchell": lambda o, h, low, c: (h / c).log() * (h / o).log() + (low / c).log() * (low / o).log(),
}


def evaluate(text: str, columns: dict[str, pl.Expr]) -> pl.Expr:
    """Return the polars expression of an elementwise SQL expression."""
    if "BETWEEN" in text:  # the one expression with SQL of its own: the American session
        t = columns["t"]
        return ((t.dt.weekday() <= 5) & day(t).is_between(13.5 / 24, 20 / 24)).cast(pl.Float64)
    columns = {**columns, "day_share": day(columns["t"]), "week_share": week(columns["t"])}
    text = re.sub(r"\(([^()]*)\)::INT", r"((\1).cast(pl.Float64))", text)
    found = eval(text, {"pl": pl, **FUNCTIONS}, columns)  # noqa: S307 -- our own plan, in a benchmark
    return found if isinstance(found, pl.Expr) else pl.lit(found)


if __name__ == "__main__":
    main()
