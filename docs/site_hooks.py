"""What mkdocs calls while it builds the site: adds the generated reference, and lists what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from reference_pages import reference_pages

SECTIONS = (
    ("Tutorial", "tutorial"),
    ("How to", "how-to"),
    ("Reference", "reference"),
    ("Explanation", "explanation"),
    ("Decisions", "adr"),
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the navigation: one section per folder, pages by file name, so that no new page can be forgotten."""
    docs = Path(config.docs_dir)
    nav: list[Any] = [{"Crucible": "index.md"}]
    for title, folder in SECTIONS:
        written = {
            path.relative_to(docs).as_posix(): path.read_text(encoding="utf-8") for path in docs.glob(f"{folder}/*.md")
        }
        made = {name: text for name, text in reference_pages().items() if name.startswith(f"{folder}/")}
        pages = sorted({**written, **made}.items())
        if pages:
            nav.append({title: [{_title(text): name} for name, text in pages]})
    config.nav = nav
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of the code."""
    for name, text in reference_pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def _title(text: str) -> str:
    found = re.search(r"^# (.+)$", text, re.M)
    return found[1].replace("`", "") if found else "untitled"
