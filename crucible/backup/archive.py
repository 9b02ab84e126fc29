"""Makes the archive: a tar of the home's files and a manifest of their hashes, last, so that a cut-off one has none."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal

import crucible
from crucible.clock import SystemClock
from crucible.errors import StoreError
from crucible.settings import Settings

MANIFEST = "manifest.json"
FORMAT = 1

Part = Literal["bars", "features", "runs"]
"""What may be left out: bars can be fetched again, features computed; runs are Dagster's history."""

_FOLDERS: dict[str, str] = {"bars": "bars", "features": "features", "runs": "dagster"}
# what only lives while processes do, and what a start makes anew
_TRANSIENT = frozenset({"logs", "run", ".running", "endpoints.json"})
_SQLITE = b"SQLite format 3\x00"


@dataclass(frozen=True)
class Manifest:
    """What an archive holds.

    Attributes
    ----------
    format : int
        Of the archive; this version reads 1.
    crucible : str
        The version that wrote it.
    made_at : str
        ISO, UTC.
    home : str
        The folder that it was made of: paths that begin with it are moved on restoring.
    without : tuple of str
        Parts that were left out.
    keystore : bool
        Whether the encrypted wallets, and the passphrase file if there was one, are inside.
    files : dict
        Archive name -> SHA-256 (hex) and number of bytes.
    """

    format: int
    crucible: str
    made_at: str
    home: str
    without: tuple[str, ...]
    keystore: bool
    files: dict[str, tuple[str, int]]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(count for _, count in self.files.values())


def create(settings: Settings, path: Path, *, without: Sequence[Part] = (), keystore: bool = False) -> Manifest:
    """Write all state of the home to ``path``, while it may be running, and return the manifest.

    SQLite files (journals, the fleet's state, MLflow's store, Dagster's) are copied by SQLite's own backup, so that
    each is as it was at one instant. Logs, sockets and locks are left out. The file is readable by its owner only.

    Parameters
    ----------
    settings : Settings
        The home.
    path : pathlib.Path
        A new file; compressed if its name ends in ``.gz`` or ``.tgz``.
    without : sequence of str
        Parts to leave out.
    keystore : bool
        Whether to take the encrypted wallets along.

    Raises
    ------
    StoreError
        If ``path`` exists, the home is empty, or the disk refuses.
    """
    found = list(_state(settings, without, keystore))
    if not found:
        raise StoreError(f"There is nothing to back up in {settings.home}; CRUCIBLE_HOME names another home.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
            with _archive(file, path) as archive:
                manifest = Manifest(
                    FORMAT, crucible.__version__, SystemClock().now().isoformat(), str(settings.home), tuple(without),
                    keystore, _add_files(archive, found),
                )  # fmt: skip
                content = json.dumps(asdict(manifest), indent=1).encode()
                info = tarfile.TarInfo(MANIFEST)
                info.size, info.mode = len(content), 0o600
                archive.addfile(info, io.BytesIO(content))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike a rename, this refuses to replace a file
    except FileExistsError:
        raise StoreError(f"{path} exists already; backups are never overwritten.") from None
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return manifest


def is_sqlite(path: Path) -> bool:
    """Return whether ``path`` is an SQLite database, by its first bytes."""
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _state(settings: Settings, without: Sequence[Part], keystore: bool) -> Iterator[tuple[str, Path]]:
    """Yield archive name and path of everything that is kept."""
    left_out = {_FOLDERS[part] for part in without} | _TRANSIENT
    for folder, name in ((settings.data, "data"), (settings.mlruns, "mlruns")):
        for path in sorted(folder.rglob("*")):
            inner = path.relative_to(folder)
            # a home inside this one (`make demo-real` makes data/real) is another home's state, keys included
            nested = len(inner.parts) > 1 and (folder / inner.parts[0] / "data").is_dir()
            secret = "keystore" in inner.parts and not keystore
            # which features the newest evaluation was made of: a few bytes, without which no verdict is found
            pointer = inner.parts[0] == "features" and inner.name == "current.json"
            if nested or secret or (inner.parts[0] in left_out and not pointer):
                continue
            if path.is_file() and not path.is_symlink() and not _is_passing(path.name):
                yield f"{name}/{inner.as_posix()}", path
    for path in sorted(settings.recipes.glob("*")):
        if path.suffix in (".toml", ".py") and path.is_file():
            yield f"recipes/{path.name}", path


def _is_passing(name: str) -> bool:
    return name == ".gitignore" or name.endswith(("-wal", "-shm", "-journal", ".tmp", ".lock"))


def _archive(file: IO[bytes], path: Path) -> tarfile.TarFile:
    if path.suffix in (".gz", ".tgz"):
        return tarfile.open(fileobj=file, mode="w:gz", compresslevel=3)
    return tarfile.open(fileobj=file, mode="w")


def _add_files(archive: tarfile.TarFile, found: list[tuple[str, Path]]) -> dict[str, tuple[str, int]]:
    files: dict[str, tuple[str, int]] = {}
    with tempfile.TemporaryDirectory(prefix="crucible-backup-") as folder:
        for name, source in found:
            try:
                taken = _snapshot(source, Path(folder)) if is_sqlite(source) else source
                with taken.open("rb") as content:
                    files[name] = _add(archive, name, content)
            except FileNotFoundError:
                continue  # a running home replaces and deletes files; what is gone was not state any more
    return files


def _snapshot(source: Path, folder: Path) -> Path:
    target = folder / "snapshot.db"
    target.unlink(missing_ok=True)
    origin = sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=10.0)
    with closing(origin), closing(sqlite3.connect(target)) as copy:
        origin.backup(copy)
    return target


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes]) -> tuple[str, int]:
    info = tarfile.TarInfo(name)
    info.size = os.fstat(content.fileno()).st_size
    info.mode = 0o600
    reader = _Hashing(content)
    archive.addfile(info, reader)
    return reader.digest.hexdigest(), info.size


class _Hashing(io.RawIOBase):
    """Reads through, and hashes what was read."""

    def __init__(self, inner: IO[bytes]) -> None:
        self._inner = inner
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._inner.read(size)
        self.digest.update(block)
        return block
