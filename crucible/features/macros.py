"""Building blocks for feature expressions: DuckDB macros that keep what is missing missing.

DuckDB's ``greatest``, ``least`` and ``coalesce`` turn a missing bar into a number; these do not.
"""

from __future__ import annotations

MACROS: dict[str, str] = {
    "sq(a)": "(a) * (a)",
    "ratio(a, b)": "a / nullif(b, 0)",
    "share(a, b)": "CASE WHEN b = 0 THEN 0 ELSE a / b END",
    "positive(a)": "CASE WHEN a > 0 THEN a WHEN a <= 0 THEN 0 END",
    "negative(a)": "CASE WHEN a < 0 THEN a WHEN a >= 0 THEN 0 END",
    "at_most(a, b)": "CASE WHEN a > b THEN b ELSE a END",
    "safe_ln(a)": "ln(CASE WHEN a > 0 THEN a END)",
    "log_ratio(a, b)": "ln(CASE WHEN a > 0 THEN a END) - ln(CASE WHEN b > 0 THEN b END)",
    "root(a)": "sqrt(CASE WHEN a < 0 THEN 0 ELSE a END)",
    # per bar, each an unbiased estimate of the variance under its own assumptions
    "garman_klass(open, high, low, close)": "0.5 * sq(ln(high / low)) - (2 * ln(2) - 1) * sq(ln(close / open))",
    "rogers_satchell(open, high, low, close)": "ln(high / close) * ln(high / open) + ln(low / close) * ln(low / open)",
}
"""Name with arguments to expression."""
