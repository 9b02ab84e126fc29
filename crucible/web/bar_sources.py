"""What is read of bars: which are stored, how fresh they are, what the checks found, what is in quarantine."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from markupsafe import Markup

from crucible.bar_stages import bar_store
from crucible.errors import DataError
from crucible.market.quality import MonthReport, all_reports
from crucible.market.quality_page import sparkline
from crucible.market.quarantine import Quarantined, quarantined
from crucible.market.series import Coverage, Series
from crucible.settings import Settings
from crucible.web.remembered import Remembered, Stamp, stamp_of

STALE = 3.0
"""Bar lengths after which the newest bar is old: one that closes now has opened one length ago."""

_remembered = Remembered()


@dataclass(frozen=True)
class Stored:
    """One series: what is there, what its checks say, and what of it cannot be read."""

    series: Series
    coverage: Coverage | None
    reports: tuple[MonthReport, ...] = ()
    trouble: str = ""

    @property
    def failed(self) -> list[MonthReport]:
        """Months whose checks did not all hold."""
        return [report for report in self.reports if not report.passed]

    @property
    def spark(self) -> Markup:
        """The closes of the newest judged month as a line."""
        newest = max(self.reports, key=lambda report: report.month, default=None)
        return Markup(sparkline([value for value in newest.closes if math.isfinite(value)]) if newest else "")  # noqa: S704

    def age(self, now: datetime) -> timedelta | None:
        """Return the time since the newest bar closed."""
        if self.coverage is None or self.coverage.last is None:
            return None
        return now - self.coverage.last - self.series.interval

    def stale(self, now: datetime) -> bool:
        """Return whether a newer bar should be there."""
        age = self.age(now)
        return age is None or age > STALE * self.series.interval


def stored(settings: Settings) -> list[Stored]:
    """Return every stored series."""
    store = bar_store(settings)
    found = []
    try:
        reports = all_reports(settings.quality)
        trouble = ""
    except DataError as error:
        reports, trouble = [], str(error)
    for series in store.series():
        mine = tuple(report for report in reports if report.series == str(series))
        folder = series.folder(settings.bars)
        try:
            coverage = _remembered.get(folder, _stamp(str(folder)), lambda series=series: store.coverage(series))  # type: ignore[misc]
            found.append(Stored(series, coverage, mine, trouble))
        except DataError as error:
            found.append(Stored(series, None, mine, str(error)))
    return found


def aside(settings: Settings) -> list[Quarantined]:
    """Return what is in quarantine.

    Raises
    ------
    DataError
        If an entry is damaged.
    """
    return quarantined(bar_store(settings))


def _stamp(folder: str) -> Stamp:
    """Return what changes with any partition: they are replaced by renames, which a month's folder shows."""
    try:
        with os.scandir(folder) as entries:
            months = sorted(entry.path for entry in entries)
    except OSError:
        return ()
    return stamp_of(*(Path(month) for month in months), *(Path(month) / "manifest.json" for month in months))
