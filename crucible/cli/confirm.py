"""What signs or deploys on mainnet asks first: the word has to be typed, or set as ``CRUCIBLE_CONFIRM``."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from crucible.cli.ask import may_ask

if TYPE_CHECKING:
    from crucible.settings import Settings

SIGNING: dict[tuple[str, ...], str] = {
    ("promote",): "The deploy sensor hands this version to a worker, which signs with real funds",
    ("fleet", "run"): "Its workers sign submissions with real funds",
    ("worker", "run"): "It signs submissions with real funds",
    ("workers", "run"): "They sign submissions with real funds",
    ("workers", "add"): "It will sign submissions with real funds",
    ("workers", "deploy"): "It will sign submissions with real funds",
    ("workers", "start"): "It will sign submissions with real funds",
}
"""Commands that sign or deploy, and what to say about them; those that do not exist are passed over."""

_WORD = "mainnet"


def guard(name: str, command: click.Command) -> None:
    """Have what :data:`SIGNING` names at or below ``command``, which is called ``name``, ask first on mainnet."""
    for path, what in SIGNING.items():
        found = _find(command, path[1:]) if path[0] == name else None
        if found is not None and found.callback is not None and not hasattr(found.callback, "asks_first"):
            found.callback = _asking(found.callback, what)


def confirm_mainnet(settings: Settings, what: str) -> None:
    """Go on only if the network is not mainnet, or a person types its name.

    Parameters
    ----------
    settings : Settings
        Their ``confirm`` may hold the word already: for a service that has nobody to ask.
    what : str
        What is about to happen, one sentence without its full stop.

    Raises
    ------
    SettingsError
        If another word is typed, or there is nobody to ask.
    """
    from crucible.errors import SettingsError

    # a local chain that borrows mainnet's ids holds play money
    host = urlsplit(settings.grpc_url).hostname or ""
    if settings.network != _WORD or settings.confirm == _WORD or host in ("127.0.0.1", "::1", "localhost"):
        return
    if not may_ask():
        raise SettingsError(
            f"{what}, on mainnet, and nobody is there to ask; set CRUCIBLE_CONFIRM=mainnet if it is meant."
        )
    typed = click.prompt(f"{what}, on mainnet. Type {_WORD} to go on", default="", show_default=False, err=True)
    if typed.strip() != _WORD:
        raise SettingsError(f"{typed.strip()!r} is not {_WORD!r}; nothing was done.")
    os.environ["CRUCIBLE_CONFIRM"] = _WORD  # the workers that it starts need not ask again


def _find(command: click.Command, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(command, click.Group) or part not in command.commands:
            return None
        command = command.commands[part]
    return command


def _asking(callback: Any, what: str) -> Any:
    @functools.wraps(callback)
    def asking(*arguments: Any, **options: Any) -> Any:
        from crucible.settings import Settings

        if not options.get("listing"):  # `promote --list` changes nothing
            confirm_mainnet(Settings.load(), what)
        return callback(*arguments, **options)

    asking.asks_first = True  # type: ignore[attr-defined]
    return asking
