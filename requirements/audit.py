"""Look up every locked package in a database of known vulnerabilities, with pip-audit: ``make audit``.

Asks PyPI's own, then OSV. Ends with 0 if nothing is known against the locks, 1 if something is, and 3, with one
sentence, if no database could be asked: no answer is not good news. Not part of ``make test``, which runs offline.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
LOCKS = ("dev.txt", "server.txt", "bootstrap.txt")
"""Every package of the other locks is in one of these, in the same version."""

CLEAN, FOUND, UNKNOWN = 0, 1, 3

_TOOL = "pip-audit>=2.10,<3"
_SECONDS = 900


def main() -> int:
    """Print what is known, and return the exit code."""
    for service in ("pypi", "osv"):
        answered = _ask(service)
        if answered is None:
            continue
        looked_up = [item for item in answered if "version" in item]
        left_out = sorted(item["name"] for item in answered if "version" not in item)
        if not looked_up:  # a mirror without the database knows no package at all, and pip-audit calls that clean
            continue
        found = list(_known(looked_up))
        _say(f"{len(looked_up)} packages looked up at {service}, {len(found)} vulnerabilities known.")
        if left_out:
            _say(f"Not known there: {', '.join(left_out)}.")
        for line in found:
            _say(line)
        return FOUND if found else CLEAN
    _say("No database of vulnerabilities can be reached from here, so the locks were NOT audited.")
    return UNKNOWN


def _ask(service: str) -> list[dict[str, Any]] | None:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            _uv(), "tool", "run", "--quiet", "--from", _TOOL, "pip-audit", "--disable-pip", "--require-hashes",
            "--vulnerability-service", service, "--progress-spinner", "off", "--format", "json",
            "--output", str(report),
            *(part for lock in LOCKS for part in ("--requirement", str(FOLDER / lock))),
        ]  # fmt: skip
        try:
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_SECONDS, check=False)
            answer: list[dict[str, Any]] = json.loads(report.read_text())["dependencies"]
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired):
            return None
        return answer


def _known(looked_up: list[dict[str, Any]]) -> Iterator[str]:
    for item in sorted(looked_up, key=lambda item: item["name"]):
        for fault in item["vulns"]:
            mended = ", ".join(fault["fix_versions"]) or "no version yet"
            names = " ".join([fault["id"], *fault["aliases"]])
            yield f"{item['name']} {item['version']}: {names}; mended in {mended}"


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    return os.environ.get("UV") or (str(beside) if beside.exists() else shutil.which("uv") or "uv")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
