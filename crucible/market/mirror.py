"""A copy of the bar store at a URL: months by their content, each named by its manifest, which is written last.

Below the URL lies the layout of :mod:`crucible.market.store`, but for the name of the bars: ``<sha256>.parquet``.
Whoever reads a manifest therefore finds the very bars that it describes, also while another one pushes; a push that is
cut off leaves the old month whole, and the next one goes on where it ended.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crucible.errors import StoreError
from crucible.market import manifest
from crucible.market.lock import exclusive
from crucible.market.manifest import read_manifest
from crucible.market.partition import FILE
from crucible.market.remote import Remote
from crucible.market.series import Series
from crucible.market.store import BarStore
from crucible.process import write_files

_GAPS = "gaps.json"


@dataclass(frozen=True)
class Mirrored:
    """What a push or a pull did.

    Attributes
    ----------
    copied, same : int
        Months that were copied, and those that were there already.
    size : int
        Bytes copied.
    differing : tuple of str
        Months of a pull that are here with other bars, and were left alone.
    """

    copied: int
    same: int
    size: int
    differing: tuple[str, ...] = ()


def push(store: BarStore, url: str) -> Mirrored:
    """Make the folder at ``url`` hold every month of the store; what it holds besides stays.

    Raises
    ------
    StoreError
        If a partition is damaged, or the remote store refuses. Months that were copied before are whole.
    """
    remote = Remote(url)
    there = remote.sizes()
    copied = same = size = 0
    for series in store.series():
        for path in store.files(series):
            place = _place(store.root, path.parent)
            account = read_manifest(path, series.interval, verify=True)
            name = f"{place}/{account.sha256}.parquet"
            if name in there and f"{place}/{manifest.FILE}" in there and _named(remote, place) == account.sha256:
                same += 1
                continue
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != account.sha256:
                raise StoreError(f"{path} was replaced while it was read; push again.")
            if there.get(name) != len(content):
                remote.write(name, content)
            remote.write(f"{place}/{manifest.FILE}", account.to_json())
            for old in there:  # what the manifest before this one named
                if old.startswith(f"{place}/") and old.endswith(".parquet") and old != name:
                    remote.delete(old)
            copied, size = copied + 1, size + len(content)
        _push_notes(store, series, remote, there)
    return Mirrored(copied, same, size)


def pull(store: BarStore, url: str, *, replace: bool = False) -> Mirrored:
    """Bring every month at ``url`` that is not in the store; each is checked, byte by byte, before it is put there.

    Parameters
    ----------
    store : BarStore
        Where to.
    url : str
        As for :func:`push`.
    replace : bool
        Whether months that are here with other bars are replaced; otherwise they are left alone and told.

    Raises
    ------
    StoreError
        If what comes is not what its manifest says, or a store refuses. Months that were copied before are whole.
    """
    remote = Remote(url)
    there = remote.sizes()
    copied = same = size = 0
    differing = []
    for place, series in _months(there):
        path = store.root / place / FILE
        sha256 = _named(remote, place)
        if path.exists():
            if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
                same += 1
                continue
            if not replace:
                differing.append(f"{series} {path.parent.name.removeprefix('month=')}")
                continue
        content = remote.read(f"{place}/{sha256}.parquet")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StoreError(f"{remote.url}/{place} is not what its manifest says; push it again from a whole store.")
        with exclusive(path.parent, f"{series} {path.parent.name}", store.patience):
            write_files({path: content, path.with_name(manifest.FILE): remote.read(f"{place}/{manifest.FILE}")})
        copied, size = copied + 1, size + len(content)
    for place in sorted(there):
        notes = store.root / place
        if place.endswith(f"/{_GAPS}") and Series.of_folder(Path(place).parent) and not notes.exists():
            write_files({notes: remote.read(place)})
    return Mirrored(copied, same, size, tuple(differing))


def _place(root: Path, folder: Path) -> str:
    return folder.relative_to(root).as_posix()


def _months(there: dict[str, int]) -> Iterator[tuple[str, Series]]:
    """Yield folder and series of every month that has a manifest; any other name never becomes a path here."""
    for name in sorted(there):
        place, _, file = name.rpartition("/")
        above, _, month = place.rpartition("/")
        series = Series.of_folder(Path(above))
        if file == manifest.FILE and series and above == _place(Path(), series.folder(Path())) and _is_month(month):
            yield place, series


def _is_month(name: str) -> bool:
    year, _, month = name.removeprefix("month=").partition("-")
    return name.startswith("month=") and len(year) == 4 and len(month) == 2 and (year + month).isdecimal()


def _named(remote: Remote, place: str) -> str:
    try:
        sha256 = json.loads(remote.read(f"{place}/{manifest.FILE}"))["sha256"]
    except (ValueError, KeyError, TypeError):
        return ""
    return sha256 if isinstance(sha256, str) and len(sha256) == 64 and sha256.isalnum() else ""


def _push_notes(store: BarStore, series: Series, remote: Remote, there: dict[str, int]) -> None:
    notes = series.folder(store.root) / _GAPS
    if notes.exists():
        content, name = notes.read_bytes(), f"{_place(store.root, notes.parent)}/{_GAPS}"
        if name not in there or remote.read(name) != content:
            remote.write(name, content)
