"""Child processes that say when they are ready and never outlive the one who started them.

A server takes ``--port 0`` and ``--ready-file PATH``; once it listens it writes its endpoints there as JSON,
atomically. Whoever started it waits for that file.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from crucible.child_log import last_line
from crucible.errors import ProcessError, StoreError


def write_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader, or a crash, sees the old file or the new one.

    Raises
    ------
    StoreError
        If the disk refuses; ``path`` is then as it was.
    """
    write_files({path: content})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write several files: all are on the disk under temporary names before the first is renamed into place.

    A disk that fills up therefore changes none of them. A crash between the renames leaves each file old or new.

    Raises
    ------
    StoreError
        If the disk refuses; every file is then as it was.
    """
    staged: dict[Path, Path] = {}
    path = Path()
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            staged[path] = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            with staged[path].open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path in contents:
            staged[path].replace(path)
        for path in {item.parent for item in contents}:
            _sync_directory(path)
    except OSError as error:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error


def _sync_directory(path: Path) -> None:
    # a rename is durable only once its directory is
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` as JSON, atomically; see :func:`write_atomic`."""
    write_atomic(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


@dataclass
class Child:
    """A process of ours, started in a session of its own so that it can be ended with all its descendants."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path) -> Child:
        """Start ``command`` with its output appended to ``log``.

        Raises
        ------
        ProcessError
            If it cannot be started.
        """
        stream: IO[bytes]
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as stream:
                popen = subprocess.Popen(
                    list(command),
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, **env},
                    cwd=cwd,
                    start_new_session=True,
                )
        except OSError as error:  # also a disk that has no room for the log
            raise ProcessError(f"{name} cannot be started: {error}.") from error
        return cls(name, popen, log)

    @classmethod
    def crucible(cls, name: str, arguments: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path) -> Child:
        """Start ``crucible <arguments>`` with this interpreter."""
        return cls.start(name, [sys.executable, "-m", "crucible", *arguments], log=log, env=env, cwd=cwd)

    def check(self) -> None:
        """Raise :class:`ProcessError`, with the last words of the log, if the process has ended."""
        code = self.popen.poll()
        if code is not None:
            raise ProcessError(f"{self.name} ended with code {code}: {last_line(self.log)} (log: {self.log})")

    def wait_ready(self, ready_file: Path, timeout: float) -> dict[str, Any]:
        """Wait until ``ready_file`` is there, and return its contents.

        Raises
        ------
        ProcessError
            If the process ends first, or ``timeout`` seconds pass.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if ready_file.exists():
                content: dict[str, Any] = json.loads(ready_file.read_text())
                return content
            self.check()
            time.sleep(0.05)
        raise ProcessError(f"{self.name} was not ready after {timeout:.0f} s; see {self.log}")


def end_leftovers(name: str, value: str) -> None:
    """Kill every process of this user whose environment says ``name=value``, but for our own and its ancestors.

    Whoever starts children gives them such a mark, so that the next start finds those that outlived a killed one,
    wherever in the process tree they have ended up by then.
    """
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in ours and process.environ().get(name) == value:
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=3.0)


def stop_all(children: Sequence[Child], *, grace: float = 3.0) -> None:
    """End every child and all descendants: SIGINT, ``grace`` seconds, then SIGKILL for what is left."""
    trees = [process for child in children for process in _tree(child.popen.pid)]
    for child in children:
        if child.popen.poll() is None:
            child.popen.send_signal(signal.SIGINT)
    trees += [process for child in children for process in _tree(child.popen.pid) if process not in trees]
    _, alive = psutil.wait_procs(trees, timeout=grace)
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive, timeout=1.0)
    for child in children:
        child.popen.poll()


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
