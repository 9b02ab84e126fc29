"""The ends of log files, with what looks like a secret taken out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from crucible.errors import StoreError
from crucible.settings import Settings

HIDDEN = "[hidden]"

_TAIL_BYTES = 131_072
_LONGEST_LINE = 2_000

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
_PATTERNS = (
    # user:password@host in a URL
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,20}://)[^\s/@]{1,400}@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)(['\"]?\s*[:=]\s*)[^\r\n]+"), rf"\1\2{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9+/=._~-]{8,}"), rf"\1 {HIDDEN}"),
    # password=…, "api_key": "…", --token …
    (
        re.compile(
            r"(?i)((?:pass(?:word|phrase|wd)?|secret|token|api[_-]?key|x-api-key|private[_-]?key|priv[_-]?key|mnemonic|"
            r"seed[_-]?phrase|credentials?)['\"]?(?:\s*[:=]\s*|\s+is\s+))(\"[^\"]*\"|'[^']*'|[^\s,;&]+)"
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)(--(?:password|token|secret|api-key|passphrase|mnemonic)\s+)\S+"), rf"\1{HIDDEN}"),
    # twelve or more short lower-case words in a row are a mnemonic, or a sentence that is not worth the risk
    (re.compile(r"\b[a-z]{3,8}(?:[ ,]{1,2}[a-z]{3,8}){11,}\b"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), HIDDEN),
    (re.compile(r"\bUP-[0-9a-fA-F]{16,}"), HIDDEN),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*"), HIDDEN),
)


def hidden(text: str, secrets: Iterable[str] = ()) -> str:
    """Return ``text`` without what is, or looks like, a password, key, token or mnemonic, and without control codes.

    Parameters
    ----------
    text : str
        One line or several.
    secrets : iterable of str
        What must never be shown wherever it stands: the values themselves. Those shorter than four characters are
        not looked for.
    """
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, HIDDEN)
    for pattern, put in _PATTERNS:
        text = pattern.sub(put, text)
    return _CONTROL.sub("", text)


def log_files(settings: Settings) -> dict[str, Path]:
    """Return every log of this home by the name that it has here: ``fleet.btc_usd_5min`` for a worker's."""
    found = {path.stem: path for path in sorted((settings.data / "logs").glob("*.log"))}
    found |= {f"fleet.{path.stem}": path for path in sorted((settings.fleet / "logs").glob("*.log"))}
    root = settings.data.resolve()
    return {name: path for name, path in found.items() if path.resolve().is_relative_to(root) and path.is_file()}


def tail(path: Path, lines: int, secrets: Iterable[str] = ()) -> list[str]:
    """Return the last lines of a log, oldest first, at most those of its last 128 kB, each cut at 2,000 characters.

    Raises
    ------
    StoreError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise StoreError(f"The log {path.name} cannot be read: {error.strerror or error}.") from error
    found = text.splitlines()
    if size > _TAIL_BYTES:
        found = found[1:]  # the first one is cut
    known = list(secrets)
    return [hidden(line[:_LONGEST_LINE], known) for line in found[-lines:]]
