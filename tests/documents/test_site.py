"""The docs site builds offline, loads nothing from elsewhere, and leaves nothing out that can be set or typed."""

import importlib
import os
import re
import subprocess
import sys
from dataclasses import fields
from html.parser import HTMLParser

import click
import pytest
from reference_pages import commands_page, recipe_keys, reference_pages, settings_rows, walk_commands

import crucible.errors
from crucible.settings import Settings


def everything(root):
    written = "\n".join(page.read_text() for page in root.glob("docs/**/*.md"))
    return written + "\n".join(reference_pages().values())


class _Loads(HTMLParser):
    """What a browser fetches by itself when it shows a page; links are not."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed", "object"):
            self.found.append(values.get("src") or values.get("data") or "")
        elif tag == "link" and values.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(values.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory, pytestconfig):
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=pytestconfig.rootpath, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_no_page_loads_anything_from_elsewhere(site):
    built = list(site.rglob("*.html"))
    assert len(built) > 25
    for page in built:
        loads = _Loads()
        loads.feed(page.read_text())
        assert [url for url in loads.found if re.match(r"(https?:)?//", url)] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", sheet.read_text()), sheet


def test_the_site_has_what_is_made_of_the_code_and_what_is_written(site, pytestconfig):
    for name in (
        "reference/commands.html",
        "reference/settings.html",
        "reference/recipe-keys.html",
        "tutorial/first-worker.html",
    ):
        assert (site / name).exists()
    home = (site / "index.html").read_text()
    for page in pytestconfig.rootpath.glob("docs/*/*.md"):  # none is left out of the navigation
        assert f'{page.parent.name}/{page.stem}.html"' in home, page


def test_every_command_and_option_says_what_it_does():
    walked = dict(walk_commands())
    assert {"crucible init", "crucible doctor", "crucible status", "crucible backup restore"} <= set(walked)
    page = commands_page()
    for path, command in walked.items():
        assert f"## `{path}`" in page
        assert command.help, path
        for option in command.params:
            if isinstance(option, click.Option) and option.name != "help":
                assert option.help, f"{path} {option.opts}"


def test_every_setting_says_what_it_is():
    rows = settings_rows()
    assert len(rows) == len(fields(Settings))
    assert [name for name, _, meaning in rows if not meaning] == []


def test_every_recipe_key_is_explained(pytestconfig):
    text = (pytestconfig.rootpath / "docs" / "reference" / "recipe.md").read_text()
    missing = []
    for path, _, _ in recipe_keys():
        head, _, key = path.rpartition(".")
        # settings of a model and parts of a table are explained in the row of their table
        told = (
            f"`{path}`" in text or (head and f"`{head}`" in text and f"`{key}`" in text) or head.startswith("models.")
        )
        if not told and any(name.startswith(f"{path}.") for name, _, _ in recipe_keys()):
            continue  # a table whose keys are explained
        if not told:
            missing.append(path)
    assert [path for path in missing if not path.startswith("features.own[]")] == []


def test_every_error_is_drawn_in_the_tree():
    names = {
        name
        for name, value in vars(crucible.errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    tree = reference_pages()["reference/errors.md"]
    assert {name for name in names if not re.search(rf"\b{name}\b", tree)} == set()


def test_every_metric_and_alert_is_documented(pytestconfig):
    text = everything(pytestconfig.rootpath)
    for module, table in (("crucible.worker.metrics", "METRICS"), ("crucible.monitor.alert_rules", "RULES")):
        try:
            found = getattr(importlib.import_module(module), table)
        except ModuleNotFoundError:
            continue  # a home without that part
        names = [item if isinstance(item, str) else item.name for item in found]
        assert names
        assert [name for name in names if name not in text] == [], module
