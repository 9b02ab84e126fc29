"""The clock: sessions, week days and funding times, all UTC."""

from crucible.features.feature import Feature

FAMILY = "seasons"
_DAILY = "volume and drift differ by session"
_WEEKLY = "week-ends trade thinner and differently"
_FUNDING = "perpetuals pay funding every eight hours from midnight, and positions are adjusted before"

FEATURES = (
    Feature("hour_sin", "time of day, sine", _DAILY, "sin(2 * pi() * day_share)", {}, FAMILY, low=-1, high=1),
    Feature("hour_cos", "time of day, cosine", _DAILY, "cos(2 * pi() * day_share)", {}, FAMILY, low=-1, high=1),
    Feature("week_sin", "time of week, sine", _WEEKLY, "sin(2 * pi() * week_share)", {}, FAMILY, low=-1, high=1),
    Feature("week_cos", "time of week, cosine", _WEEKLY, "cos(2 * pi() * week_share)", {}, FAMILY, low=-1, high=1),
    Feature(
        "funding_phase",
        "how much of the eight hours between funding times is over",
        _FUNDING,
        "(day_share * 3) % 1",
        {},
        FAMILY,
        low=0,
        high=1,
    ),
    Feature(
        "us_session",
        "whether New York trades (13:30 to 20:00 UTC, Monday to Friday)",
        "macro news and flows of funds arrive then",
        "(week_share < 5.0 / 7 AND day_share BETWEEN 13.5 / 24 AND 20.0 / 24)::INT",
        {},
        FAMILY,
        low=0,
        high=1,
    ),
)
"""Declarations."""
