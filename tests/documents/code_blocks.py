"""The code blocks of a Markdown page, in order, with the marks that stand before them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_PIECE = re.compile(
    r"^(?:<!-- runs: (?P<test>\S+) -->\n)?```(?P<language>[a-z]*)\n(?P<text>.*?)^```$"
    r"|^<!-- by hand: (?P<hand>[a-z ]+) -->$",
    re.M | re.S,
)


@dataclass(frozen=True)
class Piece:
    """A code block, or something that a person does by hand.

    ``test`` names the test that runs a block which takes too long here; ``hand`` what is done by hand.
    """

    page: str
    language: str = ""
    text: str = ""
    test: str = ""
    hand: str = ""


def pieces(path: Path) -> list[Piece]:
    """Return what is to be done on a page, in its order."""
    return [
        Piece(path.name, match["language"] or "", match["text"] or "", match["test"] or "", match["hand"] or "")
        for match in _PIECE.finditer(path.read_text())
    ]


def commands(text: str) -> list[str]:
    """Return the lines of a shell block that run ``crucible``, without what stands before it."""
    joined = text.replace("\\\n", " ")
    return [
        match[1].strip()
        for line in joined.splitlines()
        if (match := re.match(r"^(?:[A-Z_]+=\S+ )*crucible\b(.*)$", line))
    ]
