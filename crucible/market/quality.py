"""Are these bars right? One Great Expectations suite per month that changed; what fails is put into quarantine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crucible.errors import StoreError
from crucible.market.bars import BAR_SCHEMA, PRICES, open_times
from crucible.market.expectations import Expectation, Outcome, validate
from crucible.market.manifest import read_manifest
from crucible.market.partition import FILE, FILLED_FROM, decode, digest_of
from crucible.market.quarantine import Quarantined, accepted, put_month_aside, quarantined
from crucible.market.series import Series
from crucible.market.store import BarStore
from crucible.process import write_atomic

# A bar is in question when a measure exceeds both limits: so many robust standard deviations of the month, and that
# log return. Over all months of the eight real series that we test on (2018 to 2026, five exchanges' worth of crashes)
# no bar does: their extremes are 0.27 at 19 sigmas for a reversal, 0.51 at 52 for a wick, 0.29 at 60 for a jump.
_LIMITS = {"reversal": (30.0, 0.05), "wick": (60.0, 0.25), "jump": (60.0, 0.4)}
_VOLUME_LIMIT = 10_000.0  # times the month's median; the largest real one is 2,768

SUITE = (
    Expectation("columns", "expect_table_columns_to_match_ordered_list",
                {"column_list": [*BAR_SCHEMA.names, "step_seconds", "off_grid_seconds", "low_side", "high_side",
                                 *(f"{name}_score" for name in (*_LIMITS, "volume")), "zero_volume"]}),
    Expectation("has_rows", "expect_table_row_count_to_be_between", {"min_value": 1}),
    Expectation("one_row_per_time", "expect_column_values_to_be_unique", {"column": "open_time"}),
    Expectation("ascending", "expect_column_values_to_be_between",
                {"column": "step_seconds", "min_value": 0, "strict_min": True}),
    Expectation("on_grid", "expect_column_values_to_be_between",
                {"column": "off_grid_seconds", "min_value": 0, "max_value": 0}),
    *(Expectation(f"{name}_positive", "expect_column_values_to_be_between",
                  {"column": name, "min_value": 0, "strict_min": True}) for name in PRICES),
    *(Expectation(f"{name}_known", "expect_column_values_to_not_be_null", {"column": name})
      for name in (*PRICES, "volume")),
    Expectation("low_is_lowest", "expect_column_pair_values_a_to_be_greater_than_b",
                {"column_A": "low_side", "column_B": "low", "or_equal": True}),
    Expectation("high_is_highest", "expect_column_pair_values_a_to_be_greater_than_b",
                {"column_A": "high", "column_B": "high_side", "or_equal": True}),
    Expectation("volume_not_negative", "expect_column_values_to_be_between", {"column": "volume", "min_value": 0}),
    Expectation("volume_plausible", "expect_column_values_to_be_between", {"column": "volume_score", "max_value": 1}),
    Expectation("mostly_traded", "expect_column_mean_to_be_between", {"column": "zero_volume", "max_value": 0.5}),
    *(Expectation(f"no_{name}", "expect_column_values_to_be_between", {"column": f"{name}_score", "max_value": 1})
      for name in _LIMITS),
)  # fmt: skip
"""On one month of bars; ``step_seconds`` is the distance to the bar before, a score above 1 is beyond both limits."""

_SCORED = {"no_reversal": "reversal", "no_wick": "wick", "no_jump": "jump", "volume_plausible": "volume"}


@dataclass(frozen=True)
class MonthReport:
    """What came of the suite on one month.

    Attributes
    ----------
    series, month : str
        Which one, for people.
    digest : str
        Of the bars that were judged.
    at : str
        When, ISO, UTC.
    passed : bool
        Whether every expectation held.
    outcomes : list of Outcome
        One per expectation, in the suite's order.
    suspects : list of (str, str)
        Bars in question: open time (ISO, UTC) and the expectation that failed there.
    rows, missing, filled : int
        Bars, gaps between the first and the last, and bars of other sources.
    closes : list of float
        At most 120 closes, evenly spaced, for a sparkline.
    """

    series: str
    month: str
    digest: str
    at: str
    passed: bool
    outcomes: list[Outcome]
    suspects: list[tuple[str, str]]
    rows: int
    missing: int
    filled: int
    closes: list[float]

    @property
    def failed(self) -> list[str]:
        """Names of the expectations that did not hold."""
        return [outcome.name for outcome in self.outcomes if not outcome.passed]


def inspect(
    store: BarStore,
    series: Series,
    months: Iterable[str],
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[MonthReport]:
    """Judge ``months`` of ``series``; put those that fail into quarantine, and keep every result as JSON.

    Parameters
    ----------
    store, series
        Which bars.
    months : iterable of str
        Which months, as ``2026-01``: those that were written.
    folder : pathlib.Path
        Where results are kept: ``<folder>/<series>/<month>.json``.
    progress : callable, optional
        Called with (months done, months).

    Raises
    ------
    StoreError, ProcessError
        If a partition is damaged, or the disk refuses.
    """
    known = accepted(store, series)
    wanted = sorted(months)
    reports = []
    for index, month in enumerate(wanted):
        report = judge(store, series, month, known)
        if not report.passed:
            suspects = [(datetime.fromisoformat(at), check) for at, check in report.suspects]
            why = f"{', '.join(report.failed)} failed" + (f" at {report.suspects[0][0]}" if suspects else "")
            put_month_aside(store, series, month, why, suspects)
        write_atomic(_file(folder, series, month), (json.dumps(asdict(report), indent=1) + "\n").encode())
        reports.append(report)
        if progress:
            progress(index + 1, len(wanted))
    return reports


def reports_between(
    store: BarStore, series: Series, start: datetime, end: datetime, folder: Path
) -> tuple[list[MonthReport], list[Quarantined]]:
    """Return the results on what is stored in ``[start, end)``, and what of it is in quarantine.

    Months that were not judged as they are now (imported by an older version, or put there by hand) are judged.
    """
    low, high = f"month={start:%Y-%m}", f"month={end:%Y-%m}"
    months = {}
    for path in store.files(series):
        if low <= path.parent.name <= high:
            months[path.parent.name.removeprefix("month=")] = read_manifest(path, series.interval, verify=True).digest
    found: dict[str, MonthReport] = {}
    for month, digest in months.items():
        report = read_report(folder, series, month)
        if report is not None and report.digest == digest:
            found[month] = report
    for report in inspect(store, series, [month for month in months if month not in found], folder):
        found[report.month] = report
    # what was fetched anew or accepted since is kept, and blocks nothing: the ledger says what is still missing
    blocked = [note for note in store.ledger(series).notes() if note.cause == "quarantined"]
    aside = [
        entry
        for entry in quarantined(store, series)
        if f"{start:%Y-%m}" <= entry.month <= f"{end:%Y-%m}"
        and any(f"{note.start:%Y-%m}" <= entry.month <= f"{note.end - series.interval:%Y-%m}" for note in blocked)
    ]
    return [found[month] for month in sorted(found)], aside


def judge(
    store: BarStore, series: Series, month: str, known: frozenset[tuple[datetime, str]] = frozenset()
) -> MonthReport:
    """Run the suite on one month; nothing is written.

    Parameters
    ----------
    store, series, month
        Which bars.
    known : set of (datetime, str)
        Bars (open time) and expectations that a person has accepted; they are passed over.
    """
    path = series.folder(store.root) / f"month={month}" / FILE
    bars = decode(path, [*BAR_SCHEMA.names, FILLED_FROM])
    account = store.manifests(series)[month]
    frame = bars_frame(bars.select(BAR_SCHEMA.names), series.interval, known)
    outcomes = validate(frame, SUITE)
    suspects = [
        (at.isoformat(), outcome.name)
        for outcome in outcomes
        if not outcome.passed and outcome.name in _SCORED
        for at in frame.loc[frame[f"{_SCORED[outcome.name]}_score"] > 1, "open_time"]
    ]
    closes = bars["close"].to_numpy()
    picked = closes[np.unique(np.linspace(0, len(closes) - 1, 120).astype(int))]
    return MonthReport(
        series=str(series), month=month, digest=digest_of(bars), at=store.clock.now().isoformat(),
        passed=all(outcome.passed for outcome in outcomes), outcomes=outcomes, suspects=suspects, rows=account.rows,
        missing=sum(gap.bars for gap in account.gaps), filled=sum(item.bars for item in account.filled),
        closes=[float(close) for close in picked],
    )  # fmt: skip


def bars_frame(bars: pa.Table, interval: timedelta, known: frozenset[tuple[datetime, str]] = frozenset()) -> Any:
    """Return bars as the pandas frame that :data:`SUITE` speaks of."""
    frame = bars.to_pandas()
    times = open_times(bars)
    frame["step_seconds"] = frame["open_time"].diff() / timedelta(seconds=1)
    frame["off_grid_seconds"] = (times % (interval // timedelta(microseconds=1))) / 1e6
    frame["low_side"] = frame[["open", "close"]].min(axis=1)
    frame["high_side"] = frame[["open", "close"]].max(axis=1)
    for name, score in _scores(frame).items():
        frame[f"{name}_score"] = score
    frame["zero_volume"] = (frame["volume"] == 0).astype(float)
    row_of = {int(at): row for row, at in enumerate(times)} if known else {}
    for at, check in known:
        row = row_of.get(int(at.timestamp() * 1e6))
        if row is not None and check in _SCORED:
            frame.loc[row, f"{_SCORED[check]}_score"] = 0.0
    return frame


def _scores(frame: Any) -> dict[str, np.ndarray]:
    close, volume = frame["close"].to_numpy(), frame["volume"].to_numpy()
    with np.errstate(all="ignore"):  # a price that is no price has a check of its own
        r = np.diff(np.log(close), prepend=np.nan, append=np.nan)  # into each bar; the last is out of the last one
        into, out = np.nan_to_num(r[:-1]), np.nan_to_num(r[1:])
        sigma = max(1.4826 * float(np.median(np.abs(into[1:]))) if len(into) > 1 else 0.0, 1e-6)
        smaller = np.minimum(np.abs(into), np.abs(out))
        # there and back again: a price that nobody paid
        reversal = np.where((into * out < 0) & (np.abs(into + out) < 0.3 * smaller), smaller, 0.0)
        wick = np.nan_to_num(
            np.maximum(
                np.log(frame["high"].to_numpy() / frame["high_side"].to_numpy()),
                np.log(frame["low_side"].to_numpy() / frame["low"].to_numpy()),
            )
        )
        measures = {"reversal": reversal, "wick": wick, "jump": np.abs(into)}
        scores = {
            name: np.minimum(measures[name] / (sigmas * sigma), measures[name] / floor)
            for name, (sigmas, floor) in _LIMITS.items()
        }
        typical = float(np.nanmedian(volume)) if len(volume) else 0.0
        scores["volume"] = volume / (_VOLUME_LIMIT * typical) if typical > 0 else np.zeros(len(volume))
    return scores


def read_report(folder: Path, series: Series, month: str) -> MonthReport | None:
    """Return the newest result on a month, or None where it was never judged.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    path = _file(folder, series, month)
    return _read(path) if path.exists() else None


def all_reports(folder: Path) -> list[MonthReport]:
    """Return every result that is kept, by series and month; raises :class:`StoreError` as :func:`read_report`."""
    return [_read(path) for path in sorted(folder.glob("*/*.json"))]


def _read(path: Path) -> MonthReport:
    try:
        values = json.loads(path.read_bytes())
        values["outcomes"] = [Outcome(**outcome) for outcome in values["outcomes"]]
        values["suspects"] = [(at, check) for at, check in values["suspects"]]
        return MonthReport(**values)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete it, the month is judged anew.") from error


def _file(folder: Path, series: Series, month: str) -> Path:
    return folder / str(series).replace(" ", "-") / f"{month}.json"
