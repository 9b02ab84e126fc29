"""Bars that were put aside: kept, listed, and never served until a person accepts them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crucible.errors import DataError, StoreError
from crucible.market import manifest
from crucible.market.bars import BAR_SCHEMA
from crucible.market.ledger import Note
from crucible.market.lock import exclusive
from crucible.market.manifest import read_manifest
from crucible.market.partition import FILE, FILLED_FROM, STORED_SCHEMA, as_own, decode, digest_of, encode
from crucible.market.series import Series
from crucible.market.store import BarStore
from crucible.process import write_files

_REASON = "reason.json"
_ACCEPTED = "accepted.json"


@dataclass(frozen=True)
class Quarantined:
    """Bars that were put aside.

    Attributes
    ----------
    series : Series
        Of which series.
    month : str
        Of which month, as ``2026-01``.
    bars : int
        How many.
    why : str
        One sentence.
    suspects : tuple of (datetime, str)
        The bars in question by open time, each with the name of the check that it failed.
    at : datetime
        When, UTC.
    folder : pathlib.Path
        Where ``bars.parquet`` and ``reason.json`` are.
    """

    series: Series
    month: str
    bars: int
    why: str
    suspects: tuple[tuple[datetime, str], ...]
    at: datetime
    folder: Path


def put_month_aside(
    store: BarStore, series: Series, month: str, why: str, suspects: Sequence[tuple[datetime, str]] = ()
) -> Quarantined:
    """Move a partition out of the store; what reads the store then sees its bars as missing.

    Raises
    ------
    DataError
        If there is no such partition.
    StoreError, ProcessError
        If the disk refuses, the partition is damaged, or another process writes it.
    """
    home = series.folder(store.root) / f"month={month}"
    with exclusive(home, f"{series} {month}", store.patience):
        path = home / FILE
        if not path.exists():
            raise DataError(f"There is no partition {month} of {series}.")
        account = read_manifest(path, series.interval)
        entry = _write(store, series, month, decode(path, STORED_SCHEMA.names), why, suspects)
        # the copy is on the disk: a crash here leaves both, and putting it aside again gives the same copy
        path.unlink()
        (home / manifest.FILE).unlink(missing_ok=True)
    span = account.first, account.last + series.interval
    store.ledger(series).add([Note(*span, "quarantined", series.source, entry.at, why)])
    return entry


def put_bars_aside(store: BarStore, series: Series, bars: pa.Table, why: str) -> Quarantined:
    """Keep bars that were fetched and not believed; the store is not touched."""
    month = f"{bars['open_time'][0].as_py():%Y-%m}"
    return _write(store, series, month, as_own(bars.cast(BAR_SCHEMA)), why, ())


def quarantined(store: BarStore, series: Series | None = None) -> list[Quarantined]:
    """Return what was put aside, by series and month.

    Raises
    ------
    StoreError
        If an entry is damaged.
    """
    root = store.root / "quarantine"
    found = []
    for path in sorted(root.glob(f"source=*/symbol=*/interval=*/month=*/*/{_REASON}")):
        owner = Series.of_folder(path.parents[2])
        if owner is not None and series in (None, owner):
            found.append(_read(path, owner))
    return found


def accept(store: BarStore, entry: Quarantined, reason: str) -> None:
    """Put quarantined bars back into the store; the checks pass over the bars in question from then on.

    Raises
    ------
    DataError
        If no reason is given.
    StoreError, ProcessError
        If the disk refuses, or another process writes the month.
    """
    if not reason.strip():
        raise DataError("Say why these bars are right: --reason.")
    folder = entry.series.folder(store.root)
    rows = [
        *_accepted_rows(folder),
        *(
            {"open_time": at.isoformat(), "check": check, "reason": reason, "at": store.clock.now().isoformat()}
            for at, check in entry.suspects
        ),
    ]
    write_files({folder / _ACCEPTED: (json.dumps(rows, indent=1) + "\n").encode()})
    bars = decode(entry.folder / FILE, STORED_SCHEMA.names)
    for name in sorted(set(bars[FILLED_FROM].to_pylist()), key=str):
        mine = pc.is_null(bars[FILLED_FROM]) if name is None else pc.equal(bars[FILLED_FROM], name)
        store.write(entry.series, bars.filter(mine).select(BAR_SCHEMA.names), filled_from=name)
    first, last = bars["open_time"][0].as_py(), bars["open_time"][-1].as_py()
    store.ledger(entry.series).forget([(first, last + entry.series.interval)])
    shutil.rmtree(entry.folder)


def accepted(store: BarStore, series: Series) -> frozenset[tuple[datetime, str]]:
    """Return the bars (open time, check) that a person has accepted."""
    rows = _accepted_rows(series.folder(store.root))
    return frozenset((datetime.fromisoformat(row["open_time"]), row["check"]) for row in rows)


def _write(
    store: BarStore, series: Series, month: str, bars: pa.Table, why: str, suspects: Sequence[tuple[datetime, str]]
) -> Quarantined:
    folder = series.folder(store.root / "quarantine") / f"month={month}" / digest_of(bars)[:12]
    entry = Quarantined(series, month, bars.num_rows, why, tuple(suspects), store.clock.now(), folder)
    reason = {
        "bars": entry.bars,
        "why": why,
        "suspects": [[at.astimezone(UTC).isoformat(), check] for at, check in suspects],
        "at": entry.at.isoformat(),
    }
    write_files({folder / FILE: encode(bars), folder / _REASON: (json.dumps(reason, indent=1) + "\n").encode()})
    return entry


def _read(path: Path, series: Series) -> Quarantined:
    try:
        row = json.loads(path.read_bytes())
        suspects = tuple((datetime.fromisoformat(at), str(check)) for at, check in row["suspects"])
        at = datetime.fromisoformat(row["at"])
        month = path.parents[1].name.removeprefix("month=")
        return Quarantined(series, month, int(row["bars"]), str(row["why"]), suspects, at, path.parent)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{path} is damaged ({error}); the bars beside it are kept.") from error


def _accepted_rows(folder: Path) -> list[dict[str, Any]]:
    path = folder / _ACCEPTED
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_bytes()) if path.exists() else []
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete it and accept again.") from error
    return rows
