"""Runs schemathesis, as a process of its own, against a server on loopback for as long as it is given."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PROVE = os.environ.get("CRUCIBLE_PROVE") == "1"

NONSENSE = (
    b"\x00\xff\r\n\r\n",
    b"G" * 70_000,
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: {host}\r\nhost: evil.example\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: {host}\r\nhost : {host}\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: " + b"a" * 300 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: {host}\r\nx: " + b"x" * 200_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: {host}\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(3000)) + b"\r\n",
    b"GET /../../../../etc/passwd HTTP/1.1\r\nhost: {host}\r\n\r\n",
    b"GET /static/..%2f..%2f..%2fsettings.py HTTP/1.1\r\nhost: {host}\r\n\r\n",
    b"GET /logs/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1\r\nhost: {host}\r\n\r\n",
    b"GET /workers/%00%ff%c0%ae HTTP/1.1\r\nhost: {host}\r\n\r\n",
    b"GET //evil.example/%2e%2e HTTP/1.1\r\nhost: {host}\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nhost: {host}\r\n\r\n",
    b"GET /?\xff\xfe HTTP/1.1\r\nhost: {host}\r\n\r\n",
    b"POST /login HTTP/1.1\r\nhost: {host}\r\ncontent-length: 99999999999999999999\r\n\r\n",
    b"POST /login HTTP/1.1\r\nhost: {host}\r\ncontent-length: -1\r\n\r\nx",
    b"POST /login HTTP/1.1\r\nhost: {host}\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde",
    b"POST /login HTTP/1.1\r\nhost: {host}\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /login HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
    b"POST /login HTTP/1.1\r\nhost: {host}\r\ncontent-length: 400000\r\n\r\n" + b"a" * 400_000,
    b"POST /login HTTP/1.1\r\nhost: {host}\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
    b"POST /api/request HTTP/1.1\r\nhost: {host}\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
    b"POST /login HTTP/1.1\r\nhost: {host}\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nhost: {host}\r\n\r\n",
    b"CONNECT evil.example:443 HTTP/1.1\r\nhost: {host}\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: {host}\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /websocket HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
)
"""What no client sends by accident; ``{host}`` stands for where the server listens."""


@dataclass(frozen=True)
class Fuzzed:
    """What schemathesis says of a run: requests that it made up, and what it holds against the answers."""

    requests: int
    found: list[Any]


def fuzz(spec: dict[str, Any], url: str, folder: Path, *, header: str = "") -> Fuzzed:
    """Send what ``spec`` allows and what it forbids to ``url``; any answer of 500 or more is a failure.

    A few requests for each operation by default, every phase for five minutes under ``CRUCIBLE_PROVE=1``.
    """
    length = ["--max-time", "300"] if PROVE else ["--phases", "fuzzing", "--max-examples", "2"]
    (folder / "spec.json").write_text(json.dumps(spec))
    report = folder / "report.json"
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", "spec.json", "--url", url, "--checks", "not_a_server_error",
        *length, "--request-timeout", "30", "--generation-database", "none", "--continue-on-failure",
        "--no-shrink", "--suppress-health-check", "all", "--warnings", "off", "--no-color", "--report", "json",
        "--report-json-path", str(report), *(["--header", header] if header else []),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=500 if PROVE else 100, check=False
    )
    assert report.exists(), done.stdout + done.stderr
    told = json.loads(report.read_text())
    found = [*told["failures"], *told["errors"]]
    return Fuzzed(told["test_cases"]["generated"], found or ([done.stdout] if done.returncode else []))


def send_raw(url: str, content: bytes, patience: float = 0.3) -> bytes:
    """Send bytes to where ``url`` listens, and return what comes back within ``patience`` seconds, if anything."""
    parts = urlsplit(url)
    said = b""
    connection = socket.create_connection((parts.hostname, parts.port), timeout=10)
    with connection, suppress(ConnectionError, TimeoutError):
        connection.sendall(content.replace(b"{host}", parts.netloc.encode()))
        connection.settimeout(patience)
        while len(said) < 100_000 and (block := connection.recv(65_536)):
            said += block
    return said
