"""A real PostgreSQL server for one test session, on a loopback port, as an account of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crucible.stack.processes import free_port

_NOBODY = 65534
_SECONDS = 30.0


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [
        Path(path).parent for path in [shutil.which("initdb")] if path
    ]
    if not found or not (found[-1] / "initdb").exists():
        pytest.skip("PostgreSQL's initdb is not on this machine, so this test DID NOT RUN")
    return found[-1]


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start a server with an empty database ``crucible``; yield ``user@host:port/crucible``, stop it afterwards."""
    programs, port = _programs(), free_port(0)
    folder = Path(tempfile.mkdtemp(prefix="crucible-pg-"))
    # the server refuses to run as root
    account = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    if account:
        os.chown(folder, _NOBODY, _NOBODY)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "cwd": folder, **account}
    data = folder / "data"
    initialise = [programs / "initdb", "-D", data, "-U", "crucible", "--auth=trust", "--no-sync"]
    subprocess.run(initialise, check=True, **quiet)
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-k", folder, "-p", str(port), "-c", "listen_addresses=127.0.0.1",
         "-c", "fsync=off"],
        **quiet,
    )  # fmt: skip
    try:
        make = [programs / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "crucible", "crucible"]
        deadline = time.monotonic() + _SECONDS
        while subprocess.run(make, check=False, capture_output=True).returncode:
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.2)
        yield f"crucible@127.0.0.1:{port}/crucible"
    finally:
        server.send_signal(signal.SIGINT)  # which does not wait for clients that stay
        server.communicate(timeout=_SECONDS)
        shutil.rmtree(folder)
