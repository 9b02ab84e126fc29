"""Files at a URL: ``s3://bucket/prefix``, ``gs://…`` or ``file:///…``, by pyarrow's own clients.

Credentials and endpoint come from the variables that every S3 client reads: ``AWS_ACCESS_KEY_ID``,
``AWS_SHARED_CREDENTIALS_FILE``, ``AWS_ENDPOINT_URL`` and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
from pyarrow import fs

from crucible.errors import StoreError

_BLOCK = 1 << 20


class Remote:
    """A folder at ``url``; paths are relative to it, with slashes.

    Raises
    ------
    StoreError
        If the URL names no store that is known; every method if the store refuses or cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        if "://" not in url:
            raise StoreError(f"{url!r} is no URL; s3://bucket/folder and file:///folder are.")
        with self._told():
            self._store, self._base = fs.FileSystem.from_uri(self.url)

    def sizes(self) -> dict[str, int]:
        """Return every file below, with its bytes."""
        with self._told():
            found = self._store.get_file_info(fs.FileSelector(self._base, recursive=True, allow_not_found=True))
        return {item.path[len(self._base) + 1 :]: item.size for item in found if item.is_file}

    def read(self, path: str) -> bytes:
        """Return the content of one file."""
        with self._told(path), self._store.open_input_stream(f"{self._base}/{path}", compression=None) as stream:
            content: bytes = stream.read()
            return content

    def write(self, path: str, content: bytes) -> None:
        """Write one file; it is there when this returns, and in an object store not before it is whole."""
        with self._writing(path) as stream:
            stream.write(content)

    def upload(self, path: str, source: Path) -> None:
        """Write one file from the disk, block by block."""
        with source.open("rb") as file, self._writing(path) as stream:
            while block := file.read(_BLOCK):
                stream.write(block)

    def download(self, path: str, target: IO[bytes]) -> None:
        """Copy one file into ``target``, block by block."""
        with self._told(path), self._store.open_input_stream(f"{self._base}/{path}", compression=None) as stream:
            while block := stream.read(_BLOCK):
                target.write(block)

    def delete(self, path: str) -> None:
        """Delete one file."""
        with self._told(path):
            self._store.delete_file(f"{self._base}/{path}")

    # without `compression=None` a name that ends in .gz would be compressed once more on the way

    @contextmanager
    def _writing(self, path: str) -> Iterator[pa.NativeFile]:
        whole = f"{self._base}/{path}"
        with self._told(path):
            if isinstance(self._store, fs.LocalFileSystem):  # object stores have no folders
                self._store.create_dir(whole.rpartition("/")[0], recursive=True)
            with self._store.open_output_stream(whole, compression=None) as stream:
                yield stream

    @contextmanager
    def _told(self, path: str = "") -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            where = f"{self.url}/{path}".rstrip("/")
            raise StoreError(f"{where} cannot be used: {str(error).splitlines()[0]}") from error
