from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from web_world import make_home, report

from crucible.settings import Settings


@pytest.fixture(scope="session")
def template_home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "home"
    make_home(folder, 6, 40)
    return folder


@pytest.fixture
def home(template_home, tmp_path) -> Settings:
    """Six workers with forty epochs each, all alive, in a folder of its own."""
    folder = tmp_path / "home"
    shutil.copytree(template_home, folder)
    settings = Settings(home=folder, recipes=folder / "recipes")
    for recipe in settings.recipes.glob("*.toml"):
        report(settings, recipe.stem)
    return settings
