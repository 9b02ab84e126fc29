"""Archives at a URL: made here and then copied there, or fetched from there before they are read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crucible.errors import StoreError
from crucible.market.remote import Remote
from crucible.settings import Settings


@contextmanager
def to_be_stored(settings: Settings, place: str) -> Iterator[Path]:
    """Yield where to write the archive that is to be at ``place``, a path or a URL; at the end it is there.

    Raises
    ------
    StoreError
        If there is one at that URL already, or the store refuses.
    """
    if "://" not in place:
        yield Path(place)
        return
    folder, name = _parted(place)
    remote = Remote(folder)
    if name in remote.sizes():
        raise StoreError(f"{place} exists already; backups are never overwritten.")
    with _scratch(settings) as scratch:
        made = Path(scratch) / name
        yield made
        remote.upload(name, made)
        if remote.sizes().get(name) != made.stat().st_size:
            raise StoreError(f"{place} is not as long as what was sent; make another backup.")


@contextmanager
def fetched(settings: Settings, place: str) -> Iterator[Path]:
    """Yield where the archive at ``place``, a path or a URL, can be read.

    Raises
    ------
    StoreError
        If the store refuses, or has no such file.
    """
    if "://" not in place:
        yield Path(place)
        return
    folder, name = _parted(place)
    with _scratch(settings) as scratch:
        copy = Path(scratch) / name
        with copy.open("wb") as file:
            Remote(folder).download(name, file)
        yield copy


def _scratch(settings: Settings) -> tempfile.TemporaryDirectory[str]:
    # beside the home, where there is room for it; readable by its owner only
    settings.home.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=".backup-", dir=settings.home)


def _parted(place: str) -> tuple[str, str]:
    folder, _, name = place.rpartition("/")
    if not name or folder.endswith((":/", "/")):
        raise StoreError(f"{place} names no file; s3://bucket/name.tar.gz does.")
    return folder, name
