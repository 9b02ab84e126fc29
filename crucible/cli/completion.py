"""``crucible completion``: the script by which a shell completes commands, options and recipe names."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class
from click.types import StringParamType

_RECIPE_ARGUMENTS = frozenset({"recipe", "target"})


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    Examples:
      eval "$(crucible completion bash)"                                        # this terminal
      crucible completion bash >> ~/.bash_completion                            # every terminal
      crucible completion zsh > "${fpath[1]}/_crucible"
      crucible completion fish > ~/.config/fish/completions/crucible.fish
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    from crucible.cli import crucible

    found = get_completion_class(shell)
    assert found is not None  # the choices are click's own
    click.echo(found(crucible, {}, "crucible", "_CRUCIBLE_COMPLETE").source())


class RecipeName(StringParamType):
    """A text that a shell completes with the names of the recipes."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the recipes whose names begin with ``incomplete``; none where the settings make no sense."""
        from crucible.errors import SettingsError
        from crucible.settings import Settings

        try:
            found = sorted(path.stem for path in Settings.load().recipes.glob("*.toml"))
        except SettingsError:
            return []
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def complete_recipes(command: click.Command) -> None:
    """Let every argument of ``command``, and of the commands below it, that names a recipe be completed."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            complete_recipes(inner)
    for param in command.params:
        named = param.name in _RECIPE_ARGUMENTS or (param.name == "name" and "recipe NAME" in (command.help or ""))
        if named and isinstance(param, click.Argument) and isinstance(param.type, StringParamType):
            param.type = RecipeName()
