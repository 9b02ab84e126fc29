"""Reference pages that are made of the code: commands, settings, recipe keys, errors, features."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Iterator
from functools import cache
from typing import Any, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import crucible.errors
import crucible.settings
from crucible.cli import _COMMANDS
from crucible.cli import crucible as root
from crucible.features.library import _SETS, ACROSS, LIBRARY
from crucible.recipe import Recipe

_COMMANDS_HEAD = """\
# Commands

Every command, as `--help` prints it. Exit codes: 0 done, 1 refused or failed (one sentence on stderr; `--debug` shows
the traceback), 2 wrong usage, 130 interrupted.
"""

_KEYS_HEAD = """\
# Recipe keys

Every key with its type, bounds and default, from the schema that checks recipes. What each means is told in the
[recipe reference](recipe.md).

| key | type | default |
|---|---|---|"""

_FEATURES_HEAD = """\
# Features

The built-in ones. A window is a look-back in horizons H, with its least number of bars. How to add one:
[add a feature](../how-to/add-a-feature.md).

| set | version | features |
|---|---|---|"""

_SETTINGS_HEAD = """\
`CRUCIBLE_KEYSTORE_PASSPHRASE` opens the wallets; without it the file `.passphrase` beside them does.

| variable | default | meaning |
|---|---|---|"""


@cache
def reference_pages() -> dict[str, str]:
    """Return every generated page, by its name below ``docs/``."""
    return {
        "reference/commands.md": commands_page(),
        "reference/settings.md": settings_page(),
        "reference/recipe-keys.md": recipe_keys_page(),
        "reference/errors.md": errors_page(),
        "reference/features.md": features_page(),
    }


def walk_commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its path, ``crucible bars ls``, groups before what they hold."""

    def inner(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield path, command
        if isinstance(command, click.Group):
            for name in sorted(command.commands):
                yield from inner(f"{path} {name}", command.commands[name])

    yield "crucible", root
    for name in _COMMANDS:
        command = root.get_command(click.Context(root), name)
        assert command is not None
        yield from inner(f"crucible {name}", command)


def commands_page() -> str:
    """Return the page of all commands, as their ``--help`` says."""
    lines = [_COMMANDS_HEAD]
    for path, command in walk_commands():
        context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
        lines += [f"## `{path}`", "", "```text", command.get_help(context), "```", ""]
    return "\n".join(lines)


def settings_rows() -> list[tuple[str, str, str]]:
    """Return variable, default and meaning of every setting, in the order of the code; the meaning may be empty."""
    source = ast.parse(inspect.getsource(crucible.settings))
    body = next(node.body for node in source.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    rows = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and str(after.value.value)
        field = crucible.settings.Settings.__dataclass_fields__[node.target.id]
        default = field.default if isinstance(field.default, str) and field.default else ""
        name = "CRUCIBLE_CLOCK" if field.name == "clock_text" else f"CRUCIBLE_{field.name.upper()}"
        rows.append((name, default, _plain(said or "")))
    return rows


def settings_page() -> str:
    """Return the page of all settings."""
    lines = ["# Settings", "", _plain_paragraphs(crucible.settings.__doc__), "", _SETTINGS_HEAD]
    for name, default, meaning in settings_rows():
        shown = {"CRUCIBLE_HOME": "the present folder", "CRUCIBLE_RECIPES": "`recipes`"}.get(
            name, f"`{default}`" if default else ""
        )
        lines.append(f"| `{name}` | {shown} | {_cell(meaning)} |")
    lines += ["", "## Public endpoints", "", "| network | setting | value |", "|---|---|---|"]
    for network, values in crucible.settings.PUBLIC.items():
        lines += [
            f"| {network} | `CRUCIBLE_{key.upper()}` | {f'`{value}`' if value else 'none'} |"
            for key, value in values.items()
        ]
    return "\n".join(lines) + "\n"


def recipe_keys(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield path, type and default of every key of a recipe, tables before their keys."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        table = _table(field.annotation)
        limits = ", ".join(_limit(item) for item in field.metadata if type(item).__name__ in _LIMITS)
        default = (
            "required" if field.is_required() else "optional" if field.default is None else f"`{_value(field.default)}`"
        )
        yield path, _type(field.annotation) + (f" ({limits})" if limits else ""), default
        if table is not None:
            yield from recipe_keys(table, f"{path}." if table.__name__ != "OwnFeature" else f"{path}[].")


def recipe_keys_page() -> str:
    """Return the page of all recipe keys."""
    lines = [_KEYS_HEAD]
    lines += [f"| `{path}` | {_cell(kind)} | {_cell(default)} |" for path, kind, default in recipe_keys()]
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """Return the page of the errors' tree."""
    doc = inspect.getdoc(crucible.errors) or ""
    first, *rest = doc.split("\n\n")
    tree, last = rest[0], "\n\n".join(rest[1:])
    return f"# Errors\n\n{first}\n\n```text\n{inspect.cleandoc(tree)}\n```\n\n{_plain_paragraphs(last)}\n"


def features_page() -> str:
    """Return the page of all built-in features."""
    lines = [_FEATURES_HEAD]
    lines += [f"| `{name}` | {version} | {len(found.features)} |" for (name, version), found in _SETS.items()]
    families: dict[str, list[Any]] = {}
    for item in (*LIBRARY.values(), *ACROSS.values()):
        families.setdefault(item.family or "other", []).append(item)
    for family, items in families.items():
        lines += ["", f"## {family}", "", "| feature | estimates | because | windows |", "|---|---|---|---|"]
        for item in items:
            windows = ", ".join(
                f"{key}: {window.horizons:g} H, at least {window.least}" for key, window in item.windows.items()
            )
            lines.append(f"| `{item.name}` | {_cell(item.estimates)} | {_cell(item.because)} | {windows} |")
    return "\n".join(lines) + "\n"


_LIMITS = {"Ge": "at least", "Gt": "above", "Le": "at most", "Lt": "below", "MinLen": "length from", "MaxLen": "up to"}


def _limit(item: Any) -> str:
    words = _LIMITS[type(item).__name__]
    value = next(iter(vars(item).values())) if hasattr(item, "__dict__") else getattr(item, item.__slots__[0])
    return f"{words} {value}"


def _table(annotation: Any) -> type[BaseModel] | None:
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel) and part.__name__ != "WindowSection":
            return part
    return None


def _type(annotation: Any) -> str:
    origin, parts = get_origin(annotation), [part for part in get_args(annotation) if part is not type(None)]
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part) for part in parts)
    if origin is not None and str(origin).endswith("Literal"):
        return " | ".join(f"`{part}`" for part in parts)
    if origin is tuple:
        return f"list of {_type(parts[0])}"
    if origin is dict:
        return "table"
    if origin is not None:  # Annotated
        return _type(parts[0])
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "timedelta": "duration"}
    name = getattr(annotation, "__name__", str(annotation))
    return "table" if _table(annotation) else names.get(name, name)


def _value(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "a table of defaults"
    return "none" if value == () or value is PydanticUndefined else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _plain(text: str) -> str:
    """Return a docstring's text as Markdown on one line."""
    return " ".join(text.replace("``", "`").replace(":mod:", "").split())


def _plain_paragraphs(text: str | None) -> str:
    return "\n\n".join(_plain(part) for part in (text or "").split("\n\n"))
