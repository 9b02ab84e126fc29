"""Brings an archive back: into an empty home, every byte checked before the first is put in place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from crucible.backup.archive import FORMAT, MANIFEST, Manifest, is_sqlite
from crucible.errors import StoreError
from crucible.settings import Settings

_ROOTS = ("data", "mlruns", "recipes")


@dataclass(frozen=True)
class Restored:
    """What a restore did.

    Attributes
    ----------
    manifest : Manifest
        Of the archive.
    moved : int
        Stored absolute paths that now name the new home.
    differing : tuple of pathlib.Path
        Recipes that are there already with other content; the archive's lie beside them under these names.
    """

    manifest: Manifest
    moved: int
    differing: tuple[Path, ...]


def verify(path: Path) -> Manifest:
    """Check every file of an archive against its manifest, write nothing, and return the manifest.

    Raises
    ------
    StoreError
        If the archive cannot be read, is cut off, or holds a byte that the manifest does not vouch for.
    """
    return _unpack(path, None)


def restore(settings: Settings, path: Path) -> Restored:
    """Put the archive at ``path`` into the home, which must be empty.

    Everything is unpacked and checked beside the home first; only then is it moved into place, so that an archive that
    fails leaves nothing behind. Paths that name the old home are rewritten, in MLflow's store too. Recipes go into the
    recipe folder and never replace one that differs.

    Raises
    ------
    StoreError
        If the home holds anything, or as :func:`verify`.
    """
    for folder in (settings.data, settings.mlruns):
        if _holds_anything(folder):
            raise StoreError(
                f"{folder} is not empty; a backup is restored into an empty home only: CRUCIBLE_HOME names another one."
            )
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=settings.home) as scratch:
            staging = Path(scratch)
            manifest = _unpack(path, staging)
            moved = _relocate(staging, manifest.home, str(settings.home)) if manifest.home != str(settings.home) else 0
            for root, target in (("data", settings.data), ("mlruns", settings.mlruns)):
                target.mkdir(parents=True, exist_ok=True)
                for item in (staging / root).iterdir() if (staging / root).is_dir() else ():
                    _make_room(target / item.name)
                    item.replace(target / item.name)
            differing = _place_recipes(staging / "recipes", settings.recipes)
    except OSError as error:
        raise StoreError(f"{settings.home} cannot be written: {error.strerror or error}.") from error
    return Restored(manifest, moved, differing)


def _holds_anything(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() and path.name != ".gitignore" for path in folder.rglob("*"))


def _make_room(path: Path) -> None:
    if path.is_dir():  # of an empty home: folders without files
        shutil.rmtree(path)


def _unpack(path: Path, target: Path | None) -> Manifest:
    found: dict[str, tuple[str, int]] = {}
    manifest: Manifest | None = None
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                content = archive.extractfile(member)
                if not member.isreg() or content is None or manifest is not None:
                    raise StoreError(f"{path}: {member.name!r} does not belong into a backup.")
                if member.name == MANIFEST:
                    manifest = _read_manifest(path, content.read())
                else:
                    found[member.name] = _copy(content, _place(path, member.name, target))
    except FileNotFoundError:
        raise StoreError(f"There is no backup {path}.") from None
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise StoreError(f"{path} is no backup, or is damaged: {error}.") from error
    if manifest is None:
        raise StoreError(f"{path} has no manifest; it is cut off, or no backup.")
    wrong = sorted(name for name in found.keys() | manifest.files if found.get(name) != manifest.files.get(name))
    if wrong:
        raise StoreError(f"{path}: {wrong[0]} is not what the manifest says ({len(wrong)} such files).")
    return manifest


def _read_manifest(path: Path, content: bytes) -> Manifest:
    try:
        values: dict[str, Any] = json.loads(content)
        if values["format"] != FORMAT:
            raise StoreError(f"{path} has format {values['format']}; this version of Crucible reads {FORMAT}.")
        values["files"] = {name: (str(digest), int(size)) for name, (digest, size) in values["files"].items()}
        return Manifest(**{**values, "without": tuple(values["without"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} has a damaged manifest ({error}).") from error


def _place(path: Path, name: str, target: Path | None) -> Path | None:
    parts = PurePosixPath(name).parts
    # an archive may come from anywhere: nothing is written outside the three folders
    if len(parts) < 2 or parts[0] not in _ROOTS or ".." in parts or "/".join(parts) != name:
        raise StoreError(f"{path}: {name!r} does not belong into a backup.")
    return target / name if target else None


def _copy(content: IO[bytes], target: Path | None) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    if target:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if target.parent.name == "keystore" else 0o777)
        secret = "keystore" in target.parts
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o666)
    else:
        handle = os.open(os.devnull, os.O_WRONLY)
    with os.fdopen(handle, "wb") as file:
        while block := content.read(1 << 20):
            digest.update(block)
            size += file.write(block)
        if target:
            file.flush()
            os.fsync(file.fileno())
    return digest.hexdigest(), size


def _relocate(staging: Path, old: str, new: str) -> int:
    """Rewrite text that names a path below ``old``: in every SQLite file, and in the fleet's JSON files."""
    moved = 0
    for path in sorted(staging.rglob("*")):
        if not path.is_file():
            continue
        if is_sqlite(path):
            moved += _relocate_database(path, old, new)
        elif path.suffix == ".json" and path.is_relative_to(staging / "data" / "fleet"):
            values = json.loads(path.read_text())
            changed = {key: _moved(value, old, new) for key, value in values.items()}
            moved += sum(changed[key] != values[key] for key in values)
            path.write_text(json.dumps(changed, indent=2, sort_keys=True) + "\n")
    return moved


def _moved(value: Any, old: str, new: str) -> Any:
    return new + value[len(old) :] if isinstance(value, str) and value.startswith(f"{old}/") else value


def _relocate_database(path: Path, old: str, new: str) -> int:
    moved = 0
    try:
        with closing(sqlite3.connect(path)) as database, database:
            tables = database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'"
            )
            for (table,) in tables.fetchall():
                for _, column, *_rest in database.execute(f"PRAGMA table_info({_quoted(table)})").fetchall():
                    for before, after in ((f"{old}/", f"{new}/"), (f"file://{old}/", f"file://{new}/")):
                        name = _quoted(column)
                        change = f"UPDATE {_quoted(table)} SET {name} = ? || substr({name}, ?)"  # noqa: S608 - quoted
                        where = f"typeof({name}) = 'text' AND substr({name}, 1, ?) = ?"
                        done = database.execute(
                            f"{change} WHERE {where}", (after, len(before) + 1, len(before), before)
                        )
                        moved += done.rowcount
    except sqlite3.Error as error:
        raise StoreError(f"{path.name} of the backup cannot be moved to the new home: {error}.") from error
    return moved


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _place_recipes(source: Path, folder: Path) -> tuple[Path, ...]:
    differing = []
    for item in sorted(source.glob("*")):
        target = folder / item.name
        if target.exists() and target.read_bytes() == item.read_bytes():
            continue
        if target.exists():
            target = folder / f"{item.name}.from-backup"
            differing.append(target)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(item, target)
    return tuple(differing)
