from __future__ import annotations

from pathlib import Path

import pytest
from web_world import make_home

from crucible.settings import Settings


@pytest.fixture(scope="session")
def journals(tmp_path_factory) -> dict[str, Path]:
    """A journal of each kind, forty epochs long, to be copied."""
    known: dict[str, Path] = {}
    make_home(tmp_path_factory.mktemp("journals") / "home", 6, 40, known)
    return known


@pytest.fixture
def home(journals, tmp_path) -> Settings:
    """Six workers with forty epochs each, all alive."""
    return make_home(tmp_path / "home", 6, 40, journals)
