"""What the monitor has measured, as far as it has. The only file here that knows ``data/monitor``.

It reads ``monitor.db`` and ``alerts.json``. Nothing is estimated here; a number that the monitor has not written is not
shown. It keeps forecasts with facts about them by name (``score_ema``, ``rank``, ``reward``, ``loss``,
``network_loss``), balances of wallets, and events, among them the beginning and the end of a drift.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from crucible.settings import Settings
from crucible.web.remembered import Remembered, database_stamp, stamp_of
from crucible.web.values import instant, number, words_of

SERIES = ("score_ema", "rank", "reward", "loss", "network_loss")
"""Facts that are drawn or summed up, by the monitor's names."""

_CONDITIONS = {"drift": "features, predictions, residuals", "decay": "loss"}
_SPENDING = timedelta(days=7)
_MOST_ROWS = 200
_EPOCHS = 1000

_BALANCES = """SELECT address, at, uallo FROM balance
WHERE at >= strftime('%Y-%m-%dT%H:%M:%S', (SELECT max(at) FROM balance), '-8 days') ORDER BY at"""

_remembered = Remembered()


@dataclass(frozen=True)
class Monitored:
    """What was measured of one recipe.

    Attributes
    ----------
    balances : tuple of (datetime, float)
        What its wallet held in the last week, uallo, oldest first.
    series : dict of str to dict of int to float
        By name of :data:`SERIES`, values by nonce, the newest thousand.
    rewards : float or None
        All rewards together, uallo.
    drift : tuple of dict
        Rows ``what, outcome, sentence, at``, one per condition that ever began.
    alerts : tuple of str
        What is being told at present.
    trouble : str
        Why nothing could be read, where that is so.
    """

    balances: tuple[tuple[datetime, float], ...] = ()
    series: dict[str, dict[int, float]] = field(default_factory=dict)
    rewards: float | None = None
    drift: tuple[dict[str, Any], ...] = ()
    alerts: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def balance(self) -> float | None:
        """The newest balance, uallo."""
        return self.balances[-1][1] if self.balances else None

    @property
    def runway(self) -> timedelta | None:
        """How long the balance lasts at what was spent in the last week; ``None`` where that is not known."""
        spent = sum(max(before[1] - after[1], 0.0) for before, after in pairwise(self.balances))
        if spent <= 0:
            return None
        took = self.balances[-1][0] - self.balances[0][0]
        return timedelta(days=min(self.balances[-1][1] / spent * (took / timedelta(days=1)), 36_500.0))

    @property
    def against_network(self) -> str:
        """The mean loss beside the network's over the epochs that have both, for a person; empty where none has."""
        mine, theirs = self.series.get("loss", {}), self.series.get("network_loss", {})
        both = mine.keys() & theirs.keys()
        ours, other = sum(mine[nonce] for nonce in both), sum(theirs[nonce] for nonce in both)
        if not both or other <= 0:
            return ""
        less = 100 * (1 - ours / other)
        epochs = f"over {len(both):,} epoch{'s' if len(both) > 1 else ''}"
        return f"{abs(less):.1f} % {'lower' if less >= 0 else 'higher'} than the network's {epochs}"


def monitor_database(settings: Settings) -> Path:
    """Return where the monitor keeps what it knows."""
    return settings.data / "monitor" / "monitor.db"


def alerts_file(settings: Settings) -> Path:
    """Return where the watch keeps what it is telling."""
    return settings.data / "monitor" / "alerts.json"


class Monitor:
    """What the monitor knew at one instant: made anew for every page, so that its files are looked at once for each.

    Parameters
    ----------
    settings : Settings
        The home.
    """

    def __init__(self, settings: Settings) -> None:
        self._path, self._alerts = monitor_database(settings), alerts_file(settings)
        self._stamp = database_stamp(self._path)
        self.trouble = ""
        self._balances: dict[str, tuple[tuple[datetime, float], ...]] = {}
        self._drift: dict[str, list[dict[str, Any]]] = {}
        path = self._alerts
        self._open: dict[str, str] = _remembered.get(path, stamp_of(path), lambda: _open_alerts(path))
        try:
            found = _remembered.get(self._path, self._stamp, lambda: _overview(self._path))
            self._balances, self._drift = found
        except sqlite3.Error as error:
            self.trouble = f"The monitor's store cannot be read: {error}."

    def of(self, name: str, address: str = "", *, series: bool = False) -> Monitored:
        """Return what was measured of the recipe ``name``, whose wallet has ``address``; empty where nothing was.

        With ``series`` the facts of single epochs are read too.
        """
        facts: dict[str, dict[int, float]] = {}
        rewards, trouble = None, self.trouble
        if series and not trouble:
            try:
                key = (self._path, name)
                facts, rewards = _remembered.get(key, self._stamp, lambda: _facts(self._path, name))
            except sqlite3.Error as error:
                trouble = f"The monitor's store cannot be read: {error}."
        drift = tuple(self._drift.get(name, ())[:_MOST_ROWS])
        return Monitored(self._balances.get(address, ()), facts, rewards, drift, self.alerts(name), trouble)

    def alerts(self, name: str = "") -> tuple[str, ...]:
        """Return the sentences of the alerts that are open, of one recipe or of all."""
        about = [sentence for key, sentence in self._open.items() if not name or name in key.replace(":", " ").split()]
        return tuple(about[:_MOST_ROWS])


def _overview(path: Path) -> tuple[dict[str, tuple[tuple[datetime, float], ...]], dict[str, list[dict[str, Any]]]]:
    balances: dict[str, list[tuple[datetime, float]]] = {}
    for address, at, uallo in _rows(path, _BALANCES):
        time, held = instant(at), number(uallo)
        if time is not None and held is not None:
            balances.setdefault(address, []).append((time, held))
    drift: dict[str, list[dict[str, Any]]] = {}
    marks = ", ".join("?" * len(_CONDITIONS))
    # with max() SQLite takes the other columns from the row that has the maximum
    newest = f"SELECT recipe, kind, max(at), detail FROM event WHERE kind IN ({marks}) GROUP BY recipe, kind"
    for recipe, kind, at, detail in _rows(path, newest, *_CONDITIONS):
        try:
            told = json.loads(detail)
        except ValueError:
            told = {}
        told = told if isinstance(told, dict) else {}
        outcome, sentence = ("fail", words_of(told.get("what"))) if told.get("holds") else ("pass", "over")
        row = {"what": _CONDITIONS[kind], "outcome": outcome, "sentence": sentence, "at": instant(at)}
        drift.setdefault(recipe, []).append(row)
    recent = {
        address: tuple(item for item in items if item[0] >= items[-1][0] - _SPENDING)
        for address, items in balances.items()
    }
    return recent, drift


def _facts(path: Path, name: str) -> tuple[dict[str, dict[int, float]], float | None]:
    joined = "FROM forecast JOIN fact ON fact.forecast = forecast.id WHERE recipe = ? AND source = 'worker'"
    marks = ", ".join("?" * len(SERIES))
    query = (
        "SELECT fact.name, nonce, fact.value FROM (SELECT id, nonce FROM forecast WHERE recipe = ? "
        f"AND source = 'worker' ORDER BY predicted_for DESC LIMIT {_EPOCHS}) "
        f"JOIN fact ON fact.forecast = id WHERE fact.name IN ({marks})"
    )
    found: dict[str, dict[int, float]] = {}
    for fact, nonce, value in _rows(path, query, name, *SERIES):
        known = number(value)
        if known is not None:
            found.setdefault(fact, {})[nonce] = known
    summed = _rows(path, f"SELECT sum(fact.value) {joined} AND fact.name = 'reward'", name)
    return found, number(summed[0][0]) if summed else None


def _rows(path: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2.0)) as connection:
            return connection.execute(query, values).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []  # the monitor has made the file and not yet the tables
        raise


def _open_alerts(path: Path) -> dict[str, str]:
    try:
        active = json.loads(path.read_bytes())["active"]
        return {key: words_of(item["sentence"]) for key, item in active.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {"": "The open alerts cannot be read: alerts.json of the monitor is damaged."}
