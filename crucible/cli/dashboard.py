"""``crucible dashboard``: watch the workers in a browser."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen; others than loopback need a token."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8050, show_default=True, help="0 for a free one.")
@click.option(
    "--token-file", type=click.Path(path_type=Path, dir_okay=False),
    help="Ask visitors for the token in this file; made, readable by you alone, if it is not there.",
)  # fmt: skip
@click.option("--read-only", is_flag=True, help="Show everything and change nothing: no promotion, no roll-back.")
@click.option(
    "--allow-host", "names", multiple=True, metavar="NAME",
    help="A host name that the dashboard is called by, for example behind a proxy; may be repeated.",
)  # fmt: skip
@click.option(
    "--home", type=click.Path(path_type=Path, file_okay=False), help="Folder with data/ and mlruns/ (default: here)."
)
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written once it listens: url.")
def dashboard(
    host: str,
    port: int,
    token_file: Path | None,
    read_only: bool,
    names: tuple[str, ...],
    home: Path | None,
    ready_file: Path | None,
) -> None:
    """Serve the dashboard, until Ctrl-C: the fleet at a glance, every worker, model, series of bars and log.

    It reads what is on disk, and needs neither the network nor a running `crucible up`. Pages work without script; with
    it they stay up to date by themselves.

    On this machine alone nothing is asked. Anything else needs a token: in CRUCIBLE_DASHBOARD_TOKEN, or in a file. Put
    a proxy with HTTPS before it then, since the token and what you see travel as they are.

    \b
    Examples:
      crucible dashboard
      crucible dashboard --read-only --port 0
      crucible dashboard --host 0.0.0.0 --token-file data/dashboard.token
      ssh -L 8050:127.0.0.1:8050 my-server      # and then http://127.0.0.1:8050
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    import os

    from crucible.settings import Settings
    from crucible.web.access import Access
    from crucible.web.serve import read_token, run
    from crucible.worker.log import log_to_stderr

    environ = dict(os.environ)
    if home is not None:
        environ["CRUCIBLE_HOME"] = str(home)
    # out of the environment, so that no child process and no page can come by it
    token = read_token(os.environ.pop("CRUCIBLE_DASHBOARD_TOKEN", ""), token_file)
    environ.pop("CRUCIBLE_DASHBOARD_TOKEN", None)
    settings = Settings.load(environ)
    log_to_stderr(settings.clock)

    def announce(url: str) -> None:
        asked = f"; it asks for the token{f' in {token_file}' if token_file else ''}" if token else ""
        click.echo(f"dashboard: {url}{' (read-only)' if read_only else ''}{asked}; Ctrl-C ends it")

    run(
        lambda: Settings.load(environ),
        Access(token, read_only, tuple(name.lower() for name in names)),
        host=host, port=port, ready_file=ready_file, announce=announce,
    )  # fmt: skip
