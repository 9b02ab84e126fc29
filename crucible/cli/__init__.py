"""The command line: ``crucible …``, one file per command group, imported only when it is used."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from crucible import __version__
from crucible.errors import CrucibleError

# command -> the module of this package that defines it under the same name, and its one-line help;
# the help stands here so that `crucible --help` imports nothing
_COMMANDS = {
    "demo": ("demo", "Bars to scored submissions, from nothing, in one command."),
    "up": ("up", "Run everything until Ctrl-C: Dagster, MLflow, exchange, localnet, fleet."),
    "recipe": ("recipe", "Check and show recipes."),
    "topics": ("topics", "The network's topic catalogue."),
    "bars": ("bars", "Fetch, mend, import, export and inspect bars."),
    "features": ("features", "List the features, show what computes them, and report on them."),
    "audit": ("audit", "Prove a recipe's features: look-ahead, warm-up, parity, drift, near-copies."),
    "evaluate": ("evaluate", "Run a recipe's walk-forward and print the verdict."),
    "score": ("score", "The seven-metric Forge scorecard of a predictions file."),
    "promote": ("promote", "Move @champion to a model version."),
    "sql": ("sql", "Query every stored dataset with DuckDB."),
    "wallet": ("wallet", "Create and list encrypted wallets."),
    "fleet": ("fleet", "Run and watch the workers."),
    "dashboard": ("dashboard", "Watch workers, models, bars and logs in a browser."),
    "worker": ("worker", "Run one worker (the fleet starts these)."),
    "practice": ("practice", "Serve a simulated or replayed exchange on loopback."),
    "network": ("network", "The network's topic mechanism: check it against vectors."),
    "localnet": ("localnet", "Serve a local Allora network on loopback."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"crucible.cli.{_COMMANDS[name][0]}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
@click.pass_context
def crucible(ctx: click.Context, debug: bool) -> None:
    """Build, prove, promote and run machine-learning workers for the Allora Network."""
    ctx.obj = {"debug": debug}


def main(argv: list[str] | None = None) -> int:
    """Run the command line and exit.

    Exit codes: 0 done, 1 refused or failed (one sentence on stderr), 2 wrong usage, 130 interrupted.
    """
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    code: Any = 0
    try:
        code = crucible.main(args=[item for item in arguments if item != "--debug"], standalone_mode=False)
    except CrucibleError as error:
        if debug:
            raise
        click.echo(f"crucible: {error}", err=True)
        code = 1
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("crucible: interrupted", err=True)
        code = 130
    except Exception as error:
        if debug:
            raise
        code = _unexpected(error)
    sys.exit(code if isinstance(code, int) else 0)


def _unexpected(error: Exception) -> int:
    cause: BaseException | None = error
    while cause is not None:
        # Ctrl-C during an import can arrive wrapped in whatever that import was doing
        if isinstance(cause, KeyboardInterrupt):
            click.echo("crucible: interrupted", err=True)
            return 130
        cause = cause.__cause__ or cause.__context__
    words = str(error).splitlines()[0] if str(error) else "no message"
    click.echo(
        f"crucible: unexpected {type(error).__name__}: {words} (--debug shows where; please report it)", err=True
    )
    return 1
