"""Whether there is a person to ask."""

from __future__ import annotations

import sys


def may_ask() -> bool:
    """Return whether standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()
