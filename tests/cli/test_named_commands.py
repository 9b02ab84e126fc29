"""A command that a message, a page or a document tells people to type is one that there is."""

import re
from pathlib import Path

import click

from crucible.cli import crucible

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("crucible", "assets", "pipelines", "resources", "deploy", "docs", "recipes", "README.md")
KINDS = (".py", ".html", ".toml", ".md", ".yml", ".yaml", ".service")


def named():
    """Every `crucible ...` between back-ticks or code tags, with the file that names it."""
    for place in PLACES:
        folder = ROOT / place
        for path in folder.rglob("*") if folder.is_dir() else [folder]:
            if path.suffix in KINDS and path.is_file():
                for found in re.finditer(r"(?:`|<code>)crucible ([a-z][^`<]*)", path.read_text()):
                    yield found[1], path.relative_to(ROOT)


def unknown(words):
    """The first word that names no command, if there is one; options, arguments and alternatives (a|b) may follow."""
    command, context = crucible, click.Context(crucible)
    for word in words.split():
        if not isinstance(command, click.Group) or not re.fullmatch(r"[a-z-]+", word) or word.startswith("-"):
            return None
        following = command.get_command(context, word)
        if following is None:
            return word
        command = following
    return None


def test_every_command_that_people_are_told_to_type_exists():
    found = list(named())
    assert len(found) > 150
    assert unknown("bars ls --json") is None
    assert unknown("bars fetch btc") == "fetch"
    wrong = {(words, str(path)) for words, path in found if unknown(words)}
    assert wrong == set()
