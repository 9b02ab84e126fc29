"""A signed transaction, taken apart for a reader; what cannot be taken apart is said to be so."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from crucible.chain.reading import read_transaction
from crucible.errors import ChainError


@dataclass(frozen=True)
class Shown:
    """What a page shows of a transaction: its hash and size, and lines of name and value."""

    hash: str
    size: int
    lines: tuple[tuple[str, str], ...]
    trouble: str = ""


def transaction_of(content: bytes) -> Shown:
    """Return what signed bytes say; their hash is computed from them and not taken from anywhere."""
    digest = hashlib.sha256(content).hexdigest().upper()
    try:
        return Shown(digest, len(content), read_transaction(content))
    except ChainError as error:
        return Shown(digest, len(content), (), str(error))
