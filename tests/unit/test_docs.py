"""The documents name everything that there is to set and to type."""

import re

import click
from click.testing import CliRunner
from reference_pages import reference_pages

from crucible.cli import _COMMANDS, crucible
from crucible.recipe import Recipe


def test_every_recipe_key_is_in_the_reference(pytestconfig):
    text = (pytestconfig.rootpath / "docs" / "reference" / "recipe.md").read_text()
    for section, field in Recipe.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        for key in inner or [""]:
            assert f"`{section}.{key}`" in text if inner else f"`{section}`" in text, f"{section}.{key}"


def test_every_command_has_help_with_what_it_does_and_an_example_runs(pytestconfig):
    listed = CliRunner().invoke(crucible, ["--help"])
    assert listed.exit_code == 0
    names = re.findall(r"^  ([a-z-]+) ", listed.output[listed.output.index("Commands:") :], re.M)
    assert set(names) == set(_COMMANDS)
    for name in names:
        shown = CliRunner().invoke(crucible, [name, "--help"])
        assert shown.exit_code == 0, shown.output
        assert len(shown.output.splitlines()) > 4


def test_no_help_shows_an_escape_and_every_option_says_what_it_is_for():
    seen = 0
    for path, command in _commands(crucible, ()):
        shown = CliRunner().invoke(crucible, [*path, "--help"]).output
        assert "\\b" not in shown, path
        assert [item.name for item in command.params if isinstance(item, click.Option) and not item.help] == [], path
        seen += 1
    assert seen > 60


def _commands(command, path):
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from _commands(command.get_command(context, name), (*path, name))


def test_every_link_in_the_documents_leads_somewhere(pytestconfig):
    root = pytestconfig.rootpath
    made = {(root / "docs" / name).resolve() for name in reference_pages()}  # while the site is built
    pages = [*root.glob("*.md"), *root.glob("docs/**/*.md")]
    assert len(pages) > 40
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("http"):
                found = (page.parent / target).resolve()
                assert found.exists() or found in made, f"{page.name}: {target}"


def test_every_make_target_of_the_readme_exists(pytestconfig):
    targets = set(re.findall(r"^([a-z-]+):", (pytestconfig.rootpath / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`?make ([a-z-]+)", (pytestconfig.rootpath / "README.md").read_text()))
    assert {"demo", "demo-real", "up", "test", "check", "bench", "prove"} <= targets
    assert named <= targets
