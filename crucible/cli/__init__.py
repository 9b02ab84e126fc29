"""The command line: ``crucible …``, one file per command group, imported only when it is used."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

from crucible import __version__
from crucible.cli.completion import complete_recipes
from crucible.cli.confirm import guard
from crucible.errors import CrucibleError

# command -> the module of this package that defines it under the same name (with _ for -), and its one-line help;
# the help stands here so that `crucible --help` imports nothing
_COMMANDS = {
    "init": ("init", "Write a recipe: which topic, how much history, which wallet."),
    "doctor": ("doctor", "Check everything, and say how to mend what is broken."),
    "status": ("status", "Every recipe at one look: bars, verdict, champion, worker, score."),
    "demo": ("demo", "Bars to scored submissions, from nothing, in one command."),
    "up": ("up", "Run everything until Ctrl-C: Dagster, MLflow, exchange, localnet, fleet, dashboard."),
    "recipe": ("recipe", "Check and show recipes."),
    "topics": ("topics", "The network's topic catalogue."),
    "bars": ("bars", "Fetch, mend, import, export and inspect bars."),
    "features": ("features", "List the features, show what computes them, and report on them."),
    "audit": ("audit", "Prove a recipe's features: look-ahead, warm-up, parity, drift, near-copies."),
    "evaluate": ("evaluate", "Run a recipe's walk-forward and print the verdict."),
    "backtest-reward": ("reward", "What a recipe's predictions would have earned on the network."),
    "score": ("score", "The seven-metric Forge scorecard of a predictions file."),
    "promote": ("promote", "Move @champion to a model version."),
    "sql": ("sql", "Query every stored dataset with DuckDB."),
    "wallet": ("wallet", "Make, import, export and list encrypted wallets."),
    "workers": ("workers", "Deploy, watch and steer workers: ls, deploy, start, stop, rollback, logs, …"),
    "fleet": ("fleet", "Run the fleet: keep the deployed workers alive."),
    "dashboard": ("dashboard", "Watch workers, models, bars and logs in a browser."),
    "monitor": ("monitor", "Watch what is live: scores, drift, lineage, the topic's contract."),
    "alerts": ("alerts", "Where alerts go, what holds, and whether they arrive."),
    "worker": ("worker", "Run one worker (the fleet starts these)."),
    "practice": ("practice", "Serve a simulated or replayed exchange on loopback."),
    "network": ("network", "The network's topic mechanism: check it against vectors."),
    "localnet": ("localnet", "Serve a local Allora network on loopback."),
    "backup": ("backup", "Save all state as one file, and bring it back."),
    "dagster-home": ("dagster_home", "Write Dagster's instance file and print its folder, for servers run one by one."),
    "completion": ("completion", "Print the completion script of a shell."),
}


_NETWORK = "CRUCIBLE_NETWORK"


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"crucible.cli.{_COMMANDS[name][0]}")
        command: click.Command = getattr(module, name.replace("-", "_"))
        guard(name, command)
        complete_recipes(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
        if near and args[0] not in _COMMANDS and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # click's own would import every command to read its help
        names = [
            CompletionItem(name, help=text) for name, (_, text) in _COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
@click.option(
    "--network", type=click.Choice(["local", "testnet", "mainnet"]),
    help="Which network is meant; by default what `crucible up` runs here, else testnet. What signs or deploys on "
    "mainnet asks first.",
)  # fmt: skip
@click.pass_context
def crucible(ctx: click.Context, debug: bool, network: str | None) -> None:
    """Build, prove, promote and run machine-learning workers for the Allora Network."""
    ctx.obj = {"debug": debug}
    if network is not None:
        # the environment is where settings come from, here and in child processes
        before = os.environ.get(_NETWORK)
        os.environ[_NETWORK] = network
        ctx.call_on_close(lambda: _put_back(before))


def _put_back(before: str | None) -> None:
    if before is None:
        os.environ.pop(_NETWORK, None)
    else:
        os.environ[_NETWORK] = before


def main(argv: list[str] | None = None) -> int:
    """Run the command line and exit.

    Exit codes: 0 done, 1 refused or failed (one sentence on stderr), 2 wrong usage, 130 interrupted.
    """
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    code: Any = 0
    try:
        wanted = [item for item in arguments if item != "--debug"]
        code = crucible.main(args=wanted, prog_name="crucible", standalone_mode=False)
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
    if isinstance(error, OSError) and error.filename:  # a folder that is not there or may not be written, a full disk
        click.echo(f"crucible: {error.filename}: {error.strerror} (--debug shows where)", err=True)
        return 1
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("crucible"):
        where = "`make install`, or pip install 'allora-crucible[lab]'"  # a worker's installation has no laboratory
        click.echo(f"crucible: This needs {error.name}, which is not installed here: {where}.", err=True)
        return 1
    words = str(error).splitlines()[0] if str(error) else "no message"
    click.echo(
        f"crucible: unexpected {type(error).__name__}: {words} (--debug shows where; please report it)", err=True
    )
    return 1
